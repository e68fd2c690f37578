"""Is a dataset whole? The format's sign, the writer's open handle, quiet time and the frame count must agree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.formats import datasets_written_to, identify, planes_on_disk
from agent.formats.port import Dataset, Verdict, Wholeness
from agent.sources.identity import identity
from agent.sources.longpaths import reaching
from agent.sources.quiet import Quiet
from agent.sources.writers import is_open_for_writing

CHANGING = "its files are still changing"
_BRIEF_S = 0.3
"""A file that the format calls whole must rest so long before its writer is asked for: the probe can disturb."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`reason` says what is still awaited; empty when the dataset is whole."""

    dataset: Dataset
    reason: str
    planes: int | None = None
    hopeless: bool = False
    """Waiting will not help: nothing writes any more and the content contradicts itself."""

    @property
    def whole(self) -> bool:
        return not self.reason


def datasets_at(outputs: Sequence[str]) -> list[Dataset]:
    """The datasets that an acquisition said it writes; names like `x_p000.ome.tiff` are found for `x.ome.tiff`."""
    mine = [Path(reaching(output)) for output in outputs if _own(output, outputs)]
    found = {one.main: one for output in mine for one in datasets_written_to(output)}
    return list(found.values())


def _own(output: str, outputs: Sequence[str]) -> bool:
    """False for a folder that was named beside the files in it: it may hold other runs, too."""
    return not any(Path(output) in Path(other).parents for other in outputs)


def examine(dataset: Dataset, quiet: Quiet, now: float, quiet_s: float, frames: int | None = None) -> Finding:
    """Look at the dataset at `now` (monotonic seconds). `frames` is what the hook counted, where there was one."""
    try:
        return _examine(dataset, quiet, now, quiet_s, frames)
    except OSError as error:
        # Locked by its writer on Windows, on a share that stumbles, or gone since it was listed: not ready.
        return Finding(dataset, f"it cannot be read now: {error.strerror or error}")


def _examine(dataset: Dataset, quiet: Quiet, now: float, quiet_s: float, frames: int | None) -> Finding:
    if not dataset.files:
        return Finding(dataset, "no file is there yet")
    quiet.note(str(dataset.main), _all_as_they_are(dataset), now)
    if not _settled(dataset, quiet, now, _BRIEF_S):
        return Finding(dataset, CHANGING)
    if dataset.missing:
        return Finding(dataset, f"{len(dataset.missing)} announced files are missing: {', '.join(dataset.missing[:3])}")
    writers = [is_open_for_writing(file) for file in dataset.files]
    if True in writers:
        # Closing it changes nothing in it, but the next part may follow: it must rest anew.
        quiet.note(str(dataset.main), None, now)
        return Finding(dataset, f"{dataset.files[writers.index(True)].name} is still open for writing")
    verdict = identify(dataset.main).is_whole(dataset)
    if verdict.state in (Wholeness.GROWING, Wholeness.DAMAGED):
        over = frames is not None and _settled(dataset, quiet, now, quiet_s)
        return Finding(dataset, verdict.reason, hopeless=_hopeless(verdict, writers, over=over))
    # Counted frames know better than a file that could always go on.
    endless = verdict.state is Wholeness.UNKNOWN or (verdict.open_ended and frames is None)
    if endless and not _settled(dataset, quiet, now, quiet_s):
        return Finding(dataset, f"nothing may change for {quiet_s:g} s: {verdict.reason}")
    planes = planes_on_disk(dataset)
    if frames is not None and planes is not None and planes != frames:
        return Finding(dataset, _miscounted(planes, frames), planes, None not in writers)
    if frames is not None and _without_xml(dataset):
        reason = f"{dataset.main.name} holds no OME-XML: its writer was still at it when the run was called finished"
        return Finding(dataset, reason, planes, None not in writers)
    return Finding(dataset, "", planes)


def _miscounted(planes: int, frames: int) -> str:
    if planes < frames:
        return f"{planes} of {frames} planes are on disk"
    # Writers fill the place of a frame that never came out of the camera.
    return f"{planes} planes are on disk for {frames} frames: the others are blank, or of another run"


def _without_xml(dataset: Dataset) -> bool:
    """The name promises OME-XML and the file is a plain TIFF (a slow disk under ome-writers 0.3)."""
    return dataset.format == "tiff" and dataset.main.name.lower().endswith((".ome.tif", ".ome.tiff"))


def _hopeless(verdict: Verdict, writers: list[bool | None], *, over: bool) -> bool:
    """Every file is known to have no writer, and the content is damaged or the run long over."""
    return (verdict.state is Wholeness.DAMAGED or over) and None not in writers


def _settled(dataset: Dataset, quiet: Quiet, now: float, seconds: float) -> bool:
    return quiet.settled(str(dataset.main), now, seconds)


def _all_as_they_are(dataset: Dataset) -> bytes | None:
    """Another one when any file changed, came or went; None when one is away. Of files there may be many."""
    digest = hashlib.blake2b()
    for file in dataset.files:
        found = identity(file)
        if found is None:
            return None
        digest.update(f"{file}\0{found.size}:{found.mtime_ns}:{found.file_id}\0".encode("utf-8", "surrogatepass"))
    return digest.digest()
