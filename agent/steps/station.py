"""What every step needs of this microscope's agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.acquisition import Acquisition, State, move
from agent.acquisition.settings import SettleSettings
from agent.calibration import CalibrationSettings, Registry
from agent.clock import Clock
from agent.contract.topics import Topics
from agent.document import Context
from agent.outbox import Announcement, NewFile, Outbox
from agent.snapshot import Profile
from agent.sources.context import ContextLog
from agent.telemetry import announce


@dataclass(frozen=True, slots=True)
class Station:
    """Made once at start, given to every step."""

    topics: Topics
    context: Context
    profile: Profile
    outbox: Outbox
    workspace: Path
    """Documents of acquisitions that are not yet verified, a folder each."""
    settle: SettleSettings
    clock: Clock
    wake: Callable[[], None]
    """Tell the publisher that there are new events."""
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    registry: Registry | None = None
    """Results of quality control; None where nothing keeps them."""
    around: ContextLog | None = None
    """Room sensors and who is at the instrument; None where nobody tells."""

    def advance(self, acquisition: Acquisition, to: State, event: str | None = None, **more: Any) -> Acquisition:
        """Move, save and announce in one transaction."""
        moved = move(acquisition, to)
        lifecycle = announce.lifecycle(self.topics, moved, self.clock.now_ns(), event, **more)
        self.save(moved, [lifecycle])
        return moved

    def save(
        self,
        acquisition: Acquisition,
        announcements: list[Announcement] | None = None,
        *,
        dataset: str | None = None,
        files: Iterable[NewFile] | None = None,
    ) -> None:
        """Save and wake the publisher."""
        self.outbox.save(acquisition, dataset=dataset, files=files, announce=announcements or ())
        if announcements:
            self.wake()

    def reject(self, acquisition: Acquisition, reason: str) -> None:
        """Keep it, visible, until an operator retries it."""
        noted = replace(acquisition, notes=(*acquisition.notes, reason))
        self.outbox.give_up_uploads(acquisition.id)
        self.advance(noted, State.REJECTED, reason=reason)
        self.outbox.note_error(acquisition.id, reason)
