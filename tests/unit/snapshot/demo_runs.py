"""Real runs for tests: a demo microscope in its own process, the journal read back, the files identified."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from agent.acquisition import Acquisition, FoundBy, SourceFile, State
from agent.contract.ids import uuid7
from agent.formats import registry
from agent.formats.port import Metadata
from agent.snapshot import Profile, load_profile
from agent.sources.capture import RunCapture
from agent.sources.events import FinishReason, RunFinished, RunStarted
from agent.sources.journal import JournalSource, read_run

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PROFILE = ROOT / "agent" / "snapshot" / "demo_instrument.toml"
SEQUENCE = {
    "stage_positions": [{"x": 0, "y": 0, "z": 0, "name": "A1"}, {"x": 100, "y": 50, "z": 5}],
    "channels": [{"config": "DAPI", "exposure": 10}, {"config": "FITC", "exposure": 20}],
    "time_plan": {"interval": 0, "loops": 2},
    "z_plan": {"range": 2, "step": 1},
    "axis_order": "tpcz",
    "metadata": {"user": "Ada Lovelace", "sample": "slide 7"},
}


@dataclass(frozen=True)
class Recorded:
    """A finished run as the pipeline would hand it over."""

    acquisition: Acquisition
    capture: RunCapture
    metadata: Metadata | None
    profile: Profile


def record(folder: Path, output: str, sequence: dict | None = None, settings: list | None = None) -> Recorded:
    """Acquire for real with the demo profile; `output` is a file name below `folder`, empty for no files."""
    spool = folder / "spool"
    spool.mkdir(parents=True)
    arguments = [str(spool), str(folder / output) if output else "", json.dumps(sequence or SEQUENCE)]
    done = subprocess.run(
        [sys.executable, str(HERE / "record_demo_run.py"), *arguments, json.dumps(settings or [])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = JournalSource(spool).poll()
    started = next(event for event in events if isinstance(event, RunStarted))
    finished = next(event for event in events if isinstance(event, RunFinished))
    data = [path for path in folder.iterdir() if path != spool] if output else []
    files, metadata, name = [], None, None
    if data:
        found = registry.datasets_in(data[0])
        dataset = found[0]
        known = registry.by_name(dataset.format)
        metadata, name = known.metadata(dataset), dataset.format
        files = [source_file(path, dataset.root) for path in dataset.files]
    acquisition = Acquisition(
        id=str(uuid7(started.at_ns, bytes(10))),
        origin=started.origin,
        found_by=FoundBy.BOTH,
        name=started.name,
        state=State.COMPLETE,
        started_ns=started.at_ns,
        plan=started.plan,
        frames=finished.frames,
        finished_ns=finished.at_ns,
        reason=FinishReason(finished.reason),
        software=started.software,
        marks=started.marks,
        span=finished.span,
        format=name,
        files=tuple(files),
        lost=finished.lost,
    )
    return Recorded(acquisition, read_run(finished.span), metadata, load_profile(PROFILE))


def source_file(path: Path, root: Path) -> SourceFile:
    stat = path.stat()
    return SourceFile(str(path), path.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns, f"0:{stat.st_ino}")


def of_files(path: Path) -> tuple[Acquisition, Metadata]:
    """An acquisition of which only files were seen."""
    dataset = registry.datasets_in(path)[0]
    known = registry.by_name(dataset.format)
    files = tuple(source_file(one, dataset.root) for one in dataset.files)
    acquisition = Acquisition(
        id="0198b1e0-0000-7000-8000-000000000001",
        origin=f"watch:{path.name}",
        found_by=FoundBy.WATCH,
        name=path.stem,
        state=State.COMPLETE,
        started_ns=1_700_000_000_000_000_000,
        finished_ns=1_700_000_060_000_000_000,
        format=dataset.format,
        main=str(dataset.main),
        files=files,
    )
    return acquisition, known.metadata(dataset)
