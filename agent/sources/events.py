"""What the sources tell: plain values, in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class FinishReason(StrEnum):
    """Why a run ended; `aborted` means that its process died."""

    COMPLETED = "completed"
    CANCELED = "canceled"
    ERRORED = "errored"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Plan:
    """Planned frames; `shape` and `axes` slowest first; None where the plan is open-ended."""

    frames: int | None = None
    shape: tuple[int, ...] = ()
    axes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """The lines of one run: bytes `start` to `end` of a journal file; `end` is None while it runs."""

    path: str
    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class RunStarted:
    """An acquisition began in a process that carries the hook, or that keeps a log."""

    origin: str
    """The run's key, the same after a restart: `hook:{journal file name}:{run uid}` or `log:{place in the log}`."""
    at_ns: int
    name: str
    plan: Plan
    outputs: tuple[str, ...]
    """Absolute paths that the acquisition said it writes to; empty when it did not say."""
    software: dict[str, str]
    span: Span | None
    """None when the run is only known from a log."""
    marks: dict[str, str] = field(default_factory=dict)
    """The user's own metadata of the sequence, flattened to text."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """`frames` of the run have been seen so far."""

    origin: str
    at_ns: int
    frames: int


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over. `lost` counts journal entries that the hook could not write."""

    origin: str
    at_ns: int
    reason: FinishReason
    frames: int
    span: Span | None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class FileSeen:
    """A file exists below a watched folder (new, changed or found by a walk)."""

    root: str
    path: str
    """Absolute."""
    size: int
    mtime_ns: int
    file_id: str
    """`{device}:{inode}`, the file's identity across renames."""
    at_ns: int


@dataclass(frozen=True, slots=True)
class WatchLost:
    """The operating system dropped events of this folder, or the folder vanished; a walk follows."""

    root: str
    at_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class FilesGone:
    """A file or folder is gone, or a folder holds fewer files, or was walked for the first time since the start."""

    root: str
    path: str
    """Absolute."""
    deep: bool
    """Anything below it may be gone, not only what is directly in it."""
    at_ns: int


SourceEvent = RunStarted | RunProgress | RunFinished | FileSeen | WatchLost | FilesGone
