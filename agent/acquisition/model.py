"""An acquisition: a frozen value, from the first frame to released."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agent.acquisition.files import Files
from agent.sources.events import FinishReason, Plan, Span


class State(StrEnum):
    """Where an acquisition stands."""

    ACQUIRING = "acquiring"
    """Frames are being taken."""
    ABORTED = "aborted"
    """Its process died; it goes on to settling and is delivered, flagged."""
    SETTLING = "settling"
    """No more frames; the files are not yet known to be whole."""
    COMPLETE = "complete"
    """The files are whole, or patience ran out and the record says so."""
    CAPTURED = "captured"
    """The snapshot is taken."""
    DOCUMENTED = "documented"
    """OME-XML, methods and completeness are written."""
    QUEUED = "queued"
    """Every file has a row in the outbox."""
    DELIVERING = "delivering"
    VERIFIED = "verified"
    """The facility returned the same SHA-256 for every file."""
    RELEASED = "released"
    """The source files were removed, as the policy said."""
    REJECTED = "rejected"
    """Cannot be delivered as it is; kept, visible, retried only by an operator."""


class FoundBy(StrEnum):
    """How the acquisition was heard."""

    HOOK = "hook"
    WATCH = "watch"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What is known of one acquisition."""

    id: str
    origin: str
    """`hook:...`, `log:...` or `watch:...`, unique, the same after a restart."""
    found_by: FoundBy
    name: str
    state: State
    started_ns: int
    plan: Plan = field(default_factory=Plan)
    frames: int = 0
    finished_ns: int | None = None
    reason: FinishReason = FinishReason.UNKNOWN
    outputs: tuple[str, ...] = ()
    software: dict[str, str] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    span: Span | None = None
    """Its lines in the hook's journal; None when only its files were seen."""
    format: str | None = None
    main: str | None = None
    files: Files = ()
    missing: tuple[str, ...] = ()
    lost: int = 0
    notes: tuple[str, ...] = ()
    """What went wrong or is odd, one line each; goes into the record's integrity."""

    @property
    def only_logged(self) -> bool:
        """A run that is known from a log, which names neither its files nor why it ended."""
        return self.span is None and self.origin.startswith("log:")
