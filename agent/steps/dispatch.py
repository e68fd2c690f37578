"""Step 5: deliver, verify, and what to do when that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from agent.acquisition import Acquisition, State, move
from agent.contract.record import FileEntry
from agent.delivery.port import Target
from agent.delivery.retry import GiveUp, decide
from agent.delivery.settings import DeliverySettings
from agent.delivery.worker import Interrupted, Worker
from agent.document import seal
from agent.errors import ScopeAgentError, SourceChanged
from agent.outbox import Entry
from agent.steps import workspace
from agent.steps.station import Station
from agent.telemetry import announce

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Owned by one thread."""

    station: Station
    target: Target
    settings: DeliverySettings
    interrupted: Callable[[], bool]

    def step(self) -> bool:
        """Deliver the newest acquisition whose time has come. True when there was one."""
        now = self.station.clock.now_ns()
        for state in (State.QUEUED, State.DELIVERING):
            for entry in self.station.outbox.due(state, now, limit=1):
                self._deliver(entry)
                return True
        return False

    def _deliver(self, entry: Entry) -> None:
        acquisition = move(entry.acquisition, State.DELIVERING)
        self.station.save(acquisition)
        entry = replace(entry, acquisition=acquisition)
        worker = Worker(self.station.outbox, self.target, self._sealed, self.interrupted)
        try:
            delivered = worker.deliver(entry)
        except Interrupted:
            return
        except SourceChanged as error:
            self._settle_again(acquisition, error)
        except ScopeAgentError as error:
            self._failed(entry, error)
        else:
            self._verified(entry, delivered.files, delivered.size)

    def _sealed(self, entry: Entry, files: list[FileEntry]) -> dict[str, bytes]:
        folder = self.station.workspace / entry.acquisition.id
        record, crate = workspace.drafts(folder)
        return seal(record, crate, files)

    def _verified(self, entry: Entry, files: int, size: int) -> None:
        now = self.station.clock.now_ns()
        verified = move(entry.acquisition, State.VERIFIED)
        more: dict[str, Any] = {"files": files, "bytes": size, "dataset": entry.dataset}
        events = [
            announce.lifecycle(self.station.topics, entry.acquisition, now, **more),
            announce.lifecycle(self.station.topics, verified, now, **more),
        ]
        self.station.outbox.verified(verified, events)
        self.station.wake()
        workspace.forget(self.station.workspace / verified.id)
        log.info(
            "verified at the facility: %s",
            entry.dataset,
            extra={"action": "verified", "acquisition": verified.id},
        )

    def _settle_again(self, acquisition: Acquisition, error: SourceChanged) -> None:
        """A file changed under the delivery: what is whole must be found out anew."""
        noted = replace(acquisition, notes=(*acquisition.notes, str(error)))
        self.station.save(move(noted, State.SETTLING), files=[])
        log.warning("%s", error, extra={"action": "source.changed", "acquisition": acquisition.id})

    def _failed(self, entry: Entry, error: ScopeAgentError) -> None:
        match decide(error, entry.attempts, self.settings):
            case GiveUp():
                self.station.reject(entry.acquisition, str(error))
                log.error("%s", error, extra={"action": "rejected", "acquisition": entry.acquisition.id})
            case retry:
                at = self.station.clock.now_ns() + int(retry.seconds * 1e9)
                self.station.outbox.postpone(entry.acquisition.id, at, str(error))
                log.warning(
                    "%s; trying again in %.0f s",
                    error,
                    retry.seconds,
                    extra={"action": "postponed", "acquisition": entry.acquisition.id},
                )
