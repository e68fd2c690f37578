"""Step 5: deliver, verify, and what to do when that fails.

Metadata of new acquisitions goes first, the newest first of all; then small datasets, then large ones. A large one
gives way as soon as something more urgent is queued, and goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.acquisition import Acquisition, State, move
from agent.contract.record import FileEntry, Record
from agent.delivery.pace import Pace
from agent.delivery.port import Target
from agent.delivery.retry import GiveUp, decide
from agent.delivery.settings import DeliverySettings
from agent.delivery.worker import Delivered, Interrupted, Superseded, Worker
from agent.errors import Retryable, ScopeAgentError, SourceChanged, Unreachable
from agent.outbox import Entry, Outbox
from agent.steps import workspace
from agent.steps.release import ReleaseStep
from agent.steps.station import Station
from agent.steps.superseded import go_on_as_another, take_as_recorded
from agent.telemetry import announce

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_STUCK_S = 600.0
"""A delivery that neither asked whether it may go on nor ended for so long may hang, as in a share that is away."""
GUARANTEES = "guarantees"
"""Fact in the outbox: what the target does not guarantee, as JSON."""


def has_delivered(outbox: Outbox, settings: DeliverySettings) -> bool:
    """Was a dataset ever verified at this very place?"""
    known = outbox.known(GUARANTEES)
    return known is not None and bool(json.loads(known).get("place") == settings.place)


@dataclass(slots=True)
class Dispatch:
    """Owned by one thread."""

    station: Station
    target: Target
    settings: DeliverySettings
    interrupted: Callable[[], bool]
    pace: Pace | None = None
    release: ReleaseStep | None = None
    """Uses the same target, when nothing is to be delivered."""
    _looked: float = 0.0
    _moved_at: float | None = None
    """When it last went on; None while nothing is under way."""
    _under_way: Entry | None = field(default=None)
    _orphans_due: float = 0.0
    _learnt: bool = False

    def step(self) -> bool:
        """Do what is most urgent of what is due. True when there was something."""
        if self._paused():
            return False
        self._moved_at = self.station.clock.monotonic()
        try:
            return self._most_urgent()
        finally:
            self._moved_at = None

    def stuck(self) -> list[str]:
        """What seems to hang, one line; may be called from any thread."""
        moved_at = self._moved_at
        waited = self.station.clock.monotonic() - moved_at if moved_at is not None else 0.0
        if waited < _STUCK_S:
            return []
        return [f"deliver: nothing has moved for {int(_STUCK_S) // 60} minutes: does {self.settings.place} hang?"]

    def _most_urgent(self) -> bool:
        now = self.station.clock.now_ns()
        for entry in self.station.outbox.due(State.QUEUED, now, limit=1):
            self._begin(entry)
            return True
        urgent = self.station.outbox.next_delivery(now)
        if urgent is not None:
            self._deliver(urgent)
            return True
        return self._end_orphans() or (self.release is not None and self.release.step())

    def _begin(self, entry: Entry) -> None:
        """queued -> delivering, with its metadata sent."""
        entry = replace(entry, acquisition=move(entry.acquisition, State.DELIVERING))
        self.station.save(entry.acquisition)
        self._attempt(entry, lambda worker: worker.send_metadata(entry))

    def _deliver(self, entry: Entry) -> None:
        self._under_way = entry
        try:
            self._attempt(entry, lambda worker: self._verified(entry, worker.deliver(entry)))
        finally:
            self._under_way = None

    def _attempt(self, entry: Entry, what: Callable[[Worker], None]) -> None:
        worker = Worker(
            self.station.outbox, self.target, self._sealed, self._must_yield, self.settings.parallel, self.pace
        )
        try:
            what(worker)
        except Interrupted:
            return
        except Superseded as error:
            self._superseded(entry, error.record)
        except SourceChanged as error:
            self._settle_again(entry.acquisition, error)
        except ScopeAgentError as error:
            self._failed(entry, error)
        except Exception as error:  # supervisor: a bug met by one acquisition must not stop the others
            log.exception("delivery failed", extra={"action": "step.failed", "acquisition": entry.acquisition.id})
            self._failed(entry, Retryable(f"{type(error).__name__}: {error}"))

    def _must_yield(self) -> bool:
        """The daemon stops, the microscope is busy, or this is large and something more urgent came."""
        if self._moved_at is not None:
            self._moved_at = self.station.clock.monotonic()
        if self.interrupted() or self._paused():
            return True
        now = self.station.clock.monotonic()
        entry = self._under_way
        if entry is None or not entry.large or now - self._looked < _LOOK_S:
            return False
        self._looked = now
        return self.station.outbox.large_should_yield(self.station.clock.now_ns())

    def _paused(self) -> bool:
        return self.pace is not None and self.pace.mode() == "pause"

    def _sealed(self, entry: Entry, files: Iterable[FileEntry]) -> Mapping[str, Path]:
        return workspace.seal(self.station.workspace / entry.acquisition.id, files)

    def _verified(self, entry: Entry, delivered: Delivered) -> None:
        now = self.station.clock.now_ns()
        verified = move(entry.acquisition, State.VERIFIED)
        more: dict[str, Any] = {"files": delivered.files, "bytes": delivered.size, "dataset": entry.dataset}
        events = [
            announce.lifecycle(self.station.topics, entry.acquisition, now, **more),
            announce.lifecycle(self.station.topics, verified, now, **more),
        ]
        self.station.outbox.verified(verified, events, now)
        self.station.wake()
        self._learn_target()
        workspace.forget(self.station.workspace / verified.id)
        log.info(
            "verified at the facility: %s",
            entry.dataset,
            extra={"action": "verified", "acquisition": verified.id},
        )

    def _learn_target(self) -> None:
        """Once a run, from a target that works: what it does not guarantee, for the record and for those who ask."""
        if self._learnt:
            return
        try:
            doubts = self.target.doubts()
        except ScopeAgentError:
            return  # with the next dataset
        self._learnt = True
        said = {"target": self.target.name, "place": self.settings.place, "not_guaranteed": doubts}
        if self.station.outbox.learn(GUARANTEES, json.dumps(said)):
            for doubt in doubts:
                log.warning("%s: %s", self.target.name, doubt, extra={"action": "target.doubt"})

    def _settle_again(self, acquisition: Acquisition, error: SourceChanged) -> None:
        """A file changed under the delivery: what is whole must be found out anew."""
        noted = replace(acquisition, notes=(*acquisition.notes, str(error)))
        self.station.save(move(noted, State.SETTLING), files=[])
        log.warning("%s", error, extra={"action": "source.changed", "acquisition": acquisition.id})

    def _superseded(self, entry: Entry, record: Record) -> None:
        """Both versions are wanted: the one that the target holds, and the one that the files are now."""
        another = go_on_as_another(self.station, entry)
        self._verified(entry, take_as_recorded(self.station.outbox, entry, record))
        log.warning(
            "%s was written again after it had been committed: delivering it once more, as %s",
            entry.acquisition.name,
            another.id,
            extra={"action": "superseded", "acquisition": entry.acquisition.id},
        )

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

    def _end_orphans(self) -> bool:
        """End uploads that nobody will resume; True when one was ended."""
        now = self.station.clock.monotonic()
        if now < self._orphans_due:
            return False
        ended = 0
        try:
            for upload in self.station.outbox.orphans():
                self.target.abandon(upload)
                self.station.outbox.orphan_ended(upload)
                ended += 1
        except Unreachable:
            self._orphans_due = now + self.settings.retry_most_s
        except ScopeAgentError as error:
            self._orphans_due = now + self.settings.retry_most_s
            log.warning("an abandoned upload stays behind for now: %s", error, extra={"action": "orphan"})
        return bool(ended)
