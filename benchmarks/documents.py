"""What documents and annotation cost: time from the last frame to documents ready, memory, time of streaming.

    python benchmarks/documents.py [--pairs 15] [--mib 256]

10,000 frames: a real run of the demo microscope (hardware-sequenced) writes its journal; then `read_run`, `take` and
`build` are timed as the agent does them. 100,000 planes: the same journal's frames repeated. Streaming: pairs of
deliveries of one OME-TIFF to a SHA-256, with and without annotation, in turn; each reads the file once.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 10_000
_RUN = """
import sys, useq
from pymmcore_plus import CMMCorePlus
from agent.hook import attach, wiring
core = CMMCorePlus()
core.loadSystemConfiguration()
core.setProperty("Camera", "OnCameraCCDXSize", 64)
core.setProperty("Camera", "OnCameraCCDYSize", 64)
core.setProperty("Camera", "FastImage", 1)
core.setExposure(1)
attach(core, __import__("pathlib").Path(sys.argv[1]))
core.mda.run(useq.MDASequence(
    axis_order="tpcz",
    channels=[{"config": "DAPI", "exposure": 1}, {"config": "FITC", "exposure": 1}],
    z_plan={"range": 49, "step": 1}, time_plan={"interval": 0, "loops": int(sys.argv[2]) // 100},
))
wiring._recorders[core.mda].journal.close()
"""


def recorded(folder: Path, frames: int) -> tuple[object, object]:
    """(acquisition, span) of a real run of so many frames."""
    from agent.acquisition import Acquisition, FoundBy, State
    from agent.contract.ids import uuid7
    from agent.sources.events import RunFinished, RunStarted
    from agent.sources.journal import JournalSource

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYMM_LOG_LEVEL": "ERROR"}
    subprocess.run([sys.executable, "-c", _RUN, str(folder), str(frames)], check=True, env=environment)
    events = JournalSource(folder).poll()
    began = next(event for event in events if isinstance(event, RunStarted))
    ended = next(event for event in events if isinstance(event, RunFinished))
    acquisition = Acquisition(
        str(uuid7(began.at_ns)), began.origin, FoundBy.HOOK, began.name, State.COMPLETE, began.at_ns,
        plan=began.plan, frames=ended.frames, finished_ns=ended.at_ns, reason=ended.reason, software=began.software,
    )  # fmt: skip
    return acquisition, ended.span


def context():
    from agent.document import Context

    return Context("lab", "demo", "0.1.0", "0" * 64)


def ready(folder: Path) -> None:
    """From the last frame to documents ready, as agent.steps.describe does it."""
    from agent.document import build
    from agent.snapshot import load_profile, take
    from agent.sources.journal import read_run
    from agent.steps import workspace

    acquisition, span = recorded(folder / "spool", FRAMES)
    profile = load_profile(ROOT / "agent" / "snapshot" / "demo_instrument.toml")
    laps: list[dict[str, float]] = []
    for number in range(6):
        marks = [time.perf_counter()]
        capture = read_run(span)
        marks.append(time.perf_counter())
        snapshot = take(acquisition, profile, capture, None)
        marks.append(time.perf_counter())
        documents = build(context(), acquisition, snapshot)
        marks.append(time.perf_counter())
        workspace.write(folder / f"work{number}", documents)
        marks.append(time.perf_counter())
        names = ("read_run", "take", "build", "write")
        laps.append(dict(zip(names, (b - a for a, b in pairwise(marks)), strict=True)))
    planes = documents.ome_xml.count(b"<Plane ")
    first, rest = laps[0], laps[1:]
    print(f"{planes} planes, last frame to documents ready (bar: < 1 s for 10,000)")
    for name in first:
        print(f"  {name:9} first {first[name]:.3f} s, then median {statistics.median(lap[name] for lap in rest):.3f} s")
    total = statistics.median(sum(lap.values()) for lap in rest)
    print(f"  total     first {sum(first.values()):.3f} s (imports included), then median {total:.3f} s")
    many(folder, acquisition, span, profile)


def many(folder: Path, acquisition, span, profile) -> None:
    """100,000 planes, in a process of its own so that the peak is theirs alone."""
    import pickle

    from agent.sources.journal import read_run

    capture = read_run(span)
    frames = capture.frames
    total, own = 100_000, len(frames)
    columns = ("at_ns", "runner_ms", "exposure_ms", "x_um", "y_um", "z_um", "channel", "camera", "position", "state")
    for name in columns:
        column = getattr(frames, name)
        times = total // own
        made = array(column.typecode, column.tobytes() * times) if isinstance(column, array) else list(column) * times
        setattr(frames, name, made)
    t = frames.axes.index("t")
    loops = max(index[t] for index in frames.index) + 1
    frames.index = [
        (*index[:t], index[t] + loops * n, *index[t + 1 :]) for n in range(total // own) for index in frames.index
    ]
    frames.camera_metadata = []
    whole = dataclasses.replace(capture, frames=frames)
    path = folder / "many.pickle"
    path.write_bytes(pickle.dumps((acquisition, whole, profile)))
    program = (
        "import sys, pickle, time, resource\n"
        "from benchmarks.documents import context\n"
        "from agent.document import build\n"
        "from agent.snapshot import take\n"
        "import lxml.etree, numpy\n"
        "acquisition, capture, profile = pickle.loads(open(sys.argv[1], 'rb').read())\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "began = time.perf_counter()\n"
        "made = build(context(), acquisition, take(acquisition, profile, capture, None))\n"
        "took = time.perf_counter() - began\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(made.ome_xml.count(b'<Plane '), took, before, after, len(made.ome_xml))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    times, peaks = [], []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], check=True, env=environment, capture_output=True, text=True
        )
        planes, took, before, after, size = map(float, done.stdout.split())
        times.append(took)
        peaks.append((after / 1024, (after - before) / 1024))
    print(f"{planes:.0f} planes, take and build (bars: < 3 s, < 300 MB)")
    print(f"  {min(times):.2f} to {max(times):.2f} s; {size / 1e6:.1f} MB of OME-XML")
    whole, own = max(p for p, _ in peaks), max(d for _, d in peaks)
    print(f"  peak of the process {whole:.0f} MiB, of which documents {own:.0f} MiB")


def streaming(folder: Path, pairs: int, mib: int) -> None:
    """Interleaved: the file as it is, and annotated."""
    import numpy as np
    import tifffile

    from agent.document.annotate import blocks, plan

    path = folder / "large.ome.tif"
    planes = mib * 2
    data = np.random.default_rng(0).integers(0, 4096, (planes, 512, 512), dtype=np.uint16)
    tifffile.imwrite(path, data, metadata={"axes": "TYX"}, bigtiff=True)
    text = b'<?xml version="1.0" encoding="UTF-8"?><OME>' + b"<Plane/>" * 40_000 + b"</OME>"

    def deliver(*, annotated: bool) -> float:
        began = time.perf_counter()
        patch = plan(path, text) if annotated else None
        source, sent = hashlib.sha256(), hashlib.sha256()
        for block, out in blocks(path, patch, 1 << 20):
            source.update(block)
            sent.update(out)
        return time.perf_counter() - began

    deliver(annotated=True)
    ratios, plain = [], []
    for number in range(pairs):
        order = (False, True) if number % 2 else (True, False)
        took = {annotated: deliver(annotated=annotated) for annotated in order}
        ratios.append(took[True] / took[False])
        plain.append(took[False])
    middle = sorted(ratios)
    low, high = middle[len(middle) // 10], middle[-1 - len(middle) // 10]
    print(f"streaming {path.stat().st_size / 1e6:.0f} MB with both hashes (bar: annotating adds at most 5 %)")
    print(f"  {statistics.median(plain):.3f} s as it is; annotated : as it is = {statistics.median(ratios):.4f}")
    print(f"  80 % of {pairs} interleaved pairs between {low:.4f} and {high:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--mib", type=int, default=256)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        ready(folder)
        streaming(folder, options.pairs, options.mib)


if __name__ == "__main__":
    main()
