"""The annotated dataset in a folder, without a server: the same steps, a folder in the facility's place."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path

from agent import __version__
from agent.acquisition import Acquisition, FoundBy, State
from agent.calibration import Registry
from agent.clock import SystemClock
from agent.config import load
from agent.contract import layout, manifest
from agent.contract.ids import uuid7
from agent.contract.record import FileEntry
from agent.delivery.reading import Reading
from agent.document import Context, Documents, build, seal
from agent.errors import Misconfigured
from agent.formats import identify
from agent.outbox import FileRow, FileState, NewFile
from agent.snapshot import load_profile, take
from agent.sources.spelling import shown
from agent.steps import workspace
from agent.steps.enqueue import files_of
from agent.steps.legible import metadata_of
from agent.steps.settle import source_files


def annotate(path: Path, out: Path, profile: Path | None, config: Path | None = None) -> Path:
    """Write the dataset of `path` below `out`; returns its folder. The source is only read."""
    acquisition, documents = described(path, profile, config)
    target = out / f"{acquisition.name}_{acquisition.id[-8:]}"
    if target.exists():
        raise Misconfigured(f"{target} exists already: choose another folder with --out")
    with tempfile.TemporaryDirectory() as folder:
        workspace.write(Path(folder) / "work", documents)
        entries = [_copy(file, target) for file in files_of(acquisition, Path(folder) / "work")]
    entries.sort(key=lambda entry: entry.path)
    sealed = seal(documents.record, documents.crate, entries, target)
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sealed.items()}
    hashes |= {entry.path: entry.sha256 for entry in entries}
    (target / layout.MANIFEST).write_bytes(manifest.render(hashes))
    return target


def described(path: Path, profile: Path | None, config: Path | None = None) -> tuple[Acquisition, Documents]:
    """What the agent would say about the dataset of `path`; the source is only read.

    With a config: of its instrument, with its profile and what its calibrations said at the time.
    """
    path = path.absolute()  # `.` has no name
    form = identify(path)
    dataset = form.dataset(path)
    if not dataset.files:
        raise Misconfigured(f"{path} holds no files")
    acquisition = _acquisition(dataset.main)
    acquisition = replace(acquisition, files=tuple(source_files(dataset)), format=form.name, missing=dataset.missing)
    context, results = Context("local", "local", __version__, "0" * 64), []
    if config is not None:
        settings = load(config)
        context, profile = (
            replace(context, site=settings.site, instrument=settings.instrument),
            profile or settings.profile,
        )
        results = Registry.open(settings.state).in_force(acquisition.started_ns)
    snapshot = take(acquisition, load_profile(profile), None, metadata_of(form, dataset), results)
    return acquisition, build(context, acquisition, snapshot)


def _acquisition(main: Path) -> Acquisition:
    now = SystemClock().now_ns()
    # The same file gives the same id and so the same documents, whenever it is annotated.
    seed = hashlib.sha256(str(main.absolute()).encode("utf-8", "surrogatepass")).digest()[:10]
    began = min(main.stat().st_mtime_ns, now)
    return Acquisition(
        id=str(uuid7(began, seed)),
        origin=f"watch:{main}",
        found_by=FoundBy.WATCH,
        name=shown(main.name.partition(".")[0]),
        state=State.COMPLETE,
        started_ns=began,
        finished_ns=began,
    )


def _copy(file: NewFile, target: Path) -> FileEntry:
    row = FileRow(
        "", file.target, file.source, file.role, FileState.PENDING, file.size, file.mtime_ns, file.file_id,
        file.description, None, None, None, None,
    )  # fmt: skip
    reading = Reading.of(row)
    path = target / file.target
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as copy:
        for block in reading.blocks(0):
            copy.write(block)
    reading.confirm()
    return FileEntry(
        path=file.target,
        size=reading.size,
        sha256=reading.delivered_sha256,
        source_sha256=reading.source_sha256 if file.role == "data" else None,
        role=file.role,
        annotated=reading.delivered_sha256 != reading.source_sha256,
    )
