"""A session or a reading that is told late, or corrected: records of that time are amended, as events.

What a record said is in its `documented` event and the `amended` ones after it, so history is kept, and an amendment
that was made already is none again. The dataset itself stays as it was delivered; the facility reads the amendments
into its catalogue. An acquisition that is not documented yet needs none: its record will know.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from agent.acquisition import Acquisition, State
from agent.contract.event import TYPE_PREFIX, AcquisitionData, AmendmentData, Change, event_id
from agent.contract.layout import dataset_path
from agent.contract.record import Captured
from agent.outbox import Announcement, EventRow
from agent.sources.context import CORRECTED, ROLES, SENSORS, ContextLog, Late
from agent.steps.station import Station

log = logging.getLogger(__name__)

_EVERY_S = 1.0
_AT_ONCE = 20
_PAGE = 200
_DONE = object()
_DOCUMENTED, _AMENDED = ".acquisition.documented.v1", ".acquisition.amended.v1"
_CURSOR = "context/"

Values = dict[str, Captured | None]
"""By role or OME name of a sensor."""


@dataclass(slots=True)
class Amend:
    """Owned by the thread that describes: nothing is described while it looks."""

    station: Station
    _work: Iterator[None] | None = None
    _due: float = float("-inf")

    def step(self) -> None:
        """Look once a second at what was said of times that are over, at a few acquisitions at a time."""
        now = self.station.clock.monotonic()
        if self.station.around is None or (self._work is None and now < self._due):
            return
        if self._work is None:
            self._work = self._look(self.station.around)
        for _ in range(_AT_ONCE):
            if next(self._work, _DONE) is _DONE:
                self._work, self._due = None, now + _EVERY_S
                return

    def _look(self, around: ContextLog) -> Iterator[None]:
        stored = self.station.outbox.offsets()
        read = {name.removeprefix(_CURSOR): at for name, at in stored.items() if name.startswith(_CURSOR)}
        for late in list(around.late(read)):
            for acquisition_id in self._meant(late):
                self._amend(acquisition_id, late, around)
                yield
            name, offset = late.place
            self.station.outbox.save_offsets({f"{_CURSOR}{name}": offset})

    def _meant(self, late: Late) -> Iterator[str]:
        if late.acquisition is not None:
            yield late.acquisition
            return
        since, last = late.since_ns, ""
        while found := self.station.outbox.started_between(since, late.until_ns, last, _PAGE):
            yield from (acquisition_id for _, acquisition_id in found)
            since, last = found[-1]

    def _amend(self, acquisition_id: str, late: Late, around: ContextLog) -> None:
        entry = self.station.outbox.get(acquisition_id)
        if entry is None:
            return
        acquisition, events = entry.acquisition, self.station.outbox.events_of(acquisition_id)
        said = recorded(events)
        if any(event.type.endswith(_DOCUMENTED) for event in events):
            known = _known(said, around, acquisition)
        elif acquisition.state in (State.VERIFIED, State.RELEASED):
            # So long ago that its events are forgotten: only what is said of it outright counts.
            known = around.corrections(acquisition.id, acquisition.started_ns)
        else:
            return
        changes = [
            Change(field=_field(key), before=said.get(key), after=value)
            for key, value in known.items()
            if _value(value) != _value(said.get(key))
        ]
        if changes:
            self._announce(acquisition, late, changes, _confidence(around, acquisition))

    def _announce(self, acquisition: Acquisition, late: Late, changes: list[Change], confidence: float | None) -> None:
        topics, now = self.station.topics, self.station.clock.now_ns()
        data = AmendmentData(
            id=acquisition.id,
            name=acquisition.name,
            dataset=dataset_path(
                topics.site, topics.instrument, acquisition.name, acquisition.started_ns, acquisition.id
            ),
            by=late.by,
            reason=late.reason,
            confidence=confidence,
            changes=changes,
        )
        told = Announcement(
            id=event_id("amended", topics.root, acquisition.id, *map(str, late.place), data.model_dump_json()),
            topic=topics.amended,
            type=f"{TYPE_PREFIX}.acquisition.amended.v1",
            subject=acquisition.id,
            time_ns=now,
            data=data.model_dump(mode="json"),
        )
        self.station.outbox.announce([told])
        self.station.wake()
        words = ", ".join(f"{change.field} is {_value(change.after)!r}" for change in changes)
        log.info("amended: %s: %s", acquisition.name, words, extra={"action": "amended"})


def recorded(events: list[EventRow]) -> Values:
    """What the record says, with all amendments; a value that is not among them was never known."""
    found: Values = {}
    for event in events:
        try:
            if event.type.endswith(_DOCUMENTED):
                found |= _documented(AcquisitionData.model_validate(event.data))
            elif event.type.endswith(_AMENDED):
                amended = AmendmentData.model_validate(event.data)
                found |= {change.field.partition(".")[2]: change.after for change in amended.changes}
        except ValidationError as error:
            log.warning("event %d is not understood: %s", event.sequence, error.title, extra={"action": "amend.bad"})
    return found


def _documented(data: AcquisitionData) -> Values:
    people: Values = {role: getattr(data.session, role) for role in ROLES} if data.session else {}
    return people | {name: value for name, value in (data.environment or {}).items() if name in SENSORS}


def _known(said: Values, around: ContextLog, acquisition: Acquisition) -> Values:
    """What is known now, but for what the run or its files said themselves."""
    at = acquisition.started_ns
    session = around.session(at)
    found: Values = {role: getattr(session, role) if session else None for role in ROLES}
    room = around.environment(at)
    found |= {name: room[name].captured if name in room else None for name in SENSORS}
    for key in (*ROLES, *SENSORS):
        before = said.get(key)
        if before is not None and not around.knows(key, before, at):
            found[key] = before
    return found | around.corrections(acquisition.id, at)


def _confidence(around: ContextLog, acquisition: Acquisition) -> float | None:
    if set(ROLES) & around.corrections(acquisition.id, acquisition.started_ns).keys():
        return CORRECTED
    session = around.session(acquisition.started_ns)
    return session.confidence if session else None


def _field(key: str) -> str:
    return f"session.{key}" if key in ROLES else f"environment.{key}"


def _value(captured: Captured | None) -> object:
    return captured.value if captured is not None else None
