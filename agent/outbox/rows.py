"""What the outbox hands out: frozen rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from agent.acquisition import Acquisition

Role = Literal["data", "metadata", "record", "crate", "methods", "device-state"]


class FileState(StrEnum):
    """pending -> claimed -> sent -> verified | rejected"""

    PENDING = "pending"
    CLAIMED = "claimed"
    """An upload of it has begun and may be resumed."""
    SENT = "sent"
    """The far side returned the hash of what was sent."""
    VERIFIED = "verified"
    """The dataset with it was committed."""
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Entry:
    """An acquisition with its place in the queue."""

    acquisition: Acquisition
    dataset: str | None
    attempts: int
    next_at_ns: int
    error: str | None
    size: int = 0
    """Bytes of its sources."""

    @property
    def large(self) -> bool:
        """It waits for smaller ones; the limit is that of the outbox's index."""
        return self.size > 1 << 30


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to deliver: `target` is its path inside the dataset."""

    target: str
    source: str
    role: Role
    size: int
    mtime_ns: int
    file_id: str
    description: str | None = None
    """Path of the OME-XML to embed on the way out."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file with what is known of its delivery."""

    acquisition_id: str
    target: str
    source: str
    role: Role
    state: FileState
    size: int
    mtime_ns: int
    file_id: str
    description: str | None
    delivered_size: int | None
    sha256: str | None
    source_sha256: str | None
    upload: str | None
    touched_ns: int | None = None
    """When the source was last touched in any way, as it was when its bytes were confirmed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A file whose bytes the far side holds and whose source was confirmed unchanged."""

    file: FileRow
    sha256: str
    source_sha256: str
    delivered_size: int
    touched_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A source file that is, or is about to be, moved out of the way."""

    source: str
    acquisition_id: str
    sha256: str
    kept: str
    """Where it is moved to."""
    planned_ns: int
    moved_ns: int | None = None
    removed_ns: int | None = None


SourceFate = Literal["moved", "gone", "replaced", "touched", "renumbered"]
"""`renumbered`: the same file on a device with another number; followed, but no news to anybody."""


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What became of a source file after its delivery; the delivered dataset stays as it is."""

    acquisition_id: str
    target: str
    at_ns: int
    """When it was noticed."""
    what: SourceFate
    source: str
    """Where it was."""
    detail: str
    """Where it is now (moved, touched), or what took its place."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event to be. The same id is announced once, however often a step is repeated."""

    id: str
    topic: str
    type: str
    subject: str
    time_ns: int
    data: dict[str, Any] | None
    retained: bool = False


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event with its number."""

    sequence: int
    id: str
    topic: str
    type: str
    subject: str
    time_ns: int
    data: dict[str, Any] | None
    retained: bool
    published_ns: int | None
