"""Is a dataset whole? The format's sign, the writer's open handle, quiet time and the frame count must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.formats import datasets_in, identify, planes_on_disk
from agent.formats.port import Dataset, Verdict, Wholeness
from agent.sources.identity import identity
from agent.sources.quiet import Quiet
from agent.sources.writers import is_open_for_writing

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
    paths = [path for output in outputs for path in _existing(Path(output))]
    # A folder that was named beside the files in it may hold other runs too.
    exact = [path for path in paths if not any(path in other.parents for other in paths)]
    found = {dataset.main: dataset for path in exact for dataset in datasets_in(path)}
    return list(found.values())


def _existing(path: Path) -> list[Path]:
    if path.exists():
        return [path]
    stem, dot, ending = path.name.partition(".")
    return sorted(path.parent.glob(f"{_literal(stem)}_*{dot}{_literal(ending)}")) if path.parent.is_dir() else []


def _literal(text: str) -> str:
    """`text` for glob, with its own wildcards taken literally."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def examine(dataset: Dataset, quiet: Quiet, now: float, quiet_s: float, frames: int | None = None) -> Finding:
    """Look at the dataset at `now` (monotonic seconds). `frames` is what the hook counted, where there was one."""
    if not dataset.files:
        return Finding(dataset, "no file is there yet")
    for file in dataset.files:
        quiet.note(str(file), identity(file), now)
    if not _settled(dataset, quiet, now, _BRIEF_S):
        return Finding(dataset, "its files are still changing")
    if dataset.missing:
        return Finding(dataset, f"{len(dataset.missing)} announced files are missing: {', '.join(dataset.missing[:3])}")
    writers = [is_open_for_writing(file) for file in dataset.files]
    if True in writers:
        return Finding(dataset, f"{dataset.files[writers.index(True)].name} is still open for writing")
    verdict = identify(dataset.main).is_whole(dataset)
    if verdict.state in (Wholeness.GROWING, Wholeness.DAMAGED):
        return Finding(dataset, verdict.reason, hopeless=_hopeless(verdict, writers))
    if verdict.state is Wholeness.UNKNOWN and not _settled(dataset, quiet, now, quiet_s):
        return Finding(dataset, f"nothing may change for {quiet_s:g} s: {verdict.reason}")
    planes = planes_on_disk(dataset)
    if frames is not None and planes is not None and planes != frames:
        return Finding(dataset, f"{planes} of {frames} planes are on disk", planes, None not in writers)
    return Finding(dataset, "", planes)


def _hopeless(verdict: Verdict, writers: list[bool | None]) -> bool:
    """Damaged, and every file is known to have no writer that could still mend it."""
    return verdict.state is Wholeness.DAMAGED and None not in writers


def _settled(dataset: Dataset, quiet: Quiet, now: float, seconds: float) -> bool:
    return all(quiet.settled(str(file), now, seconds) for file in dataset.files)
