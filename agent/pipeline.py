"""The wiring: from what the sources tell to verified at the facility. Read this first.

    sources -listen-> acquiring -settle-> complete -describe-> documented -enqueue-> queued -dispatch-> verified
           |                                  ^
           `-candidates (watched files)-------'

Three threads turn it: `hear` (listen, candidates, settle), `work` (describe, enqueue) and `deliver` (dispatch).
Each looks in the outbox for acquisitions in its state, so that a restart goes on where the last run stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.acquisition import Acquisition, State
from agent.errors import Rejected, Retryable
from agent.outbox import Entry
from agent.steps.amend import Amend
from agent.steps.backwards import Backwards
from agent.steps.calibrate import calibrate
from agent.steps.candidates import Candidates
from agent.steps.describe import describe
from agent.steps.dispatch import Dispatch
from agent.steps.journals import Journals
from agent.steps.listen import Listen
from agent.steps.overdue import Overdue
from agent.steps.reserve import Reserve
from agent.steps.settle import Settle
from agent.steps.station import Station

log = logging.getLogger(__name__)

_RETRY_NS = 30 * 1_000_000_000
_TRIES = 5

Step = Callable[[Station, Acquisition], None]
WORK: tuple[tuple[State, Step], ...] = (
    (State.DOCUMENTED, calibrate),
    (State.CAPTURED, describe),
    (State.COMPLETE, describe),
)
"""What the work thread does with acquisitions in each state; the one nearest to its end first."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One method a thread; each returns True when it did something and wants to be called again at once."""

    station: Station
    listen: Listen
    candidates: Candidates
    settle: Settle
    journals: Journals
    dispatch: Dispatch
    overdue: Overdue | None = None
    amend: Amend | None = None
    reserve: Reserve | None = None
    """Says when the disk is too full to write anything."""
    backwards: Backwards = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "backwards", Backwards(self.station))

    def hear(self) -> bool:
        """Sources to complete acquisitions."""
        if self._short():
            return False
        self.journals.step()
        did = [self.listen.step(), self.candidates.step(), self.settle.step()]
        return any(did)

    def work(self) -> bool:
        """Complete to queued."""
        if self._short():
            return False
        self.backwards.step()
        if self.overdue is not None:
            self.overdue.step()
        if self.amend is not None:
            self.amend.step()
        now = self.station.clock.now_ns()
        for state, step in WORK:
            for entry in self.station.outbox.due(state, now, limit=1):
                self._attempt(step, entry)
                return True
        return False

    def deliver(self) -> bool:
        """Queued to verified."""
        return not self._short() and self.dispatch.step()

    def _short(self) -> bool:
        return self.reserve is not None and self.reserve.short()

    def _attempt(self, step: Step, entry: Entry) -> None:
        """Run a step; a failure becomes a state: postponed or rejected, never lost and never blocking others."""
        acquisition = entry.acquisition
        try:
            step(self.station, acquisition)
        except Rejected as error:
            self.station.reject(acquisition, str(error))
        except (Retryable, OSError) as error:
            self._postpone(acquisition, str(error))
        except Exception as error:  # supervisor: a bug met by one acquisition must not stop the others
            log.exception("step failed", extra={"action": "step.failed", "acquisition": acquisition.id})
            reason = f"{type(error).__name__}: {error}"
            if entry.attempts + 1 < _TRIES:
                self._postpone(acquisition, reason)
            else:
                self.station.reject(acquisition, reason)

    def _postpone(self, acquisition: Acquisition, reason: str) -> None:
        at = self.station.clock.now_ns() + _RETRY_NS
        self.station.outbox.postpone(acquisition.id, at, reason)
        log.warning("%s", reason, extra={"action": "postponed", "acquisition": acquisition.id})
