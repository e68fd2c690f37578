"""Which events of an instrument never arrived, and when to ask for them again.

An acknowledged event is not a durable one: a broker that is killed may have lost it. Sequence numbers show that, and
`progress` tells it for the last event too. What was heard is remembered over a restart of the facility.
"""

from __future__ import annotations

import json
import logging
import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.clock import Clock, SystemClock
from agent.contract.event import MAX_PAYLOAD, ReplayRequest
from agent.contract.ids import is_slug
from agent.contract.topics import LIFECYCLE, Topics

log = logging.getLogger(__name__)

_PATIENCE_S = 2.0
"""An event may still be on its way."""
_AGAIN_S = 15.0
_TRIES = 3
_MAX_INSTRUMENTS = 2000
_MAX_BEYOND = 20_000
_NEWS = {"progress", "acquisition/amended", *(f"acquisition/{event}" for event in LIFECYCLE)}
"""State is told anew with its old number after each connect; only these show where an instrument is now."""

Request = tuple[str, bytes]
"""Topic and payload of a request for a replay."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a message tells of the count: the number of an event, or the newest that there is."""

    number: int
    newest: int
    epoch: str | None


@dataclass(slots=True)
class _Heard:
    """Numbers of one instrument: all up to `upto` came, and those `beyond` (sorted); there are at least `newest`."""

    topics: Topics
    upto: int
    epoch: str | None = None
    newest: int = 0
    beyond: list[int] = field(default_factory=list)
    open_since: float = 0.0
    tries: int = 0

    @property
    def last(self) -> int:
        return max(self.newest, self.upto, self.beyond[-1] if self.beyond else 0)

    @property
    def missing(self) -> int:
        return self.last - self.upto - len(self.beyond)

    def add(self, said: _Said, now: float) -> None:
        whole = not self.missing
        self.newest = max(self.newest, said.newest)
        place = bisect_left(self.beyond, said.number)
        if said.number > self.upto and self.beyond[place : place + 1] != [said.number]:
            self.beyond.insert(place, said.number)
        # What is missing now is another gap, or the answer is on its way.
        if self._fill() or whole:
            self.open_since, self.tries = now, 0

    def give_up(self) -> tuple[int, int]:
        """Count the first gap as heard; its first and last number."""
        first = self.upto + 1
        self.upto = self.beyond[0] - 1 if self.beyond else self.last
        gap = first, self.upto
        self._fill()
        return gap

    def _fill(self) -> int:
        filled = 0
        while filled < len(self.beyond) and self.beyond[filled] == self.upto + 1:
            self.upto += 1
            filled += 1
        del self.beyond[:filled]
        return filled


class Gaps:
    """Fed by the broker's thread with every message; says which requests are to be sent. From any thread."""

    def __init__(self, prefix: str, clock: Clock | None = None, heard: Mapping[str, Any] | None = None) -> None:
        """`heard` is what `heard()` said before a restart; what of it cannot be read is left out."""
        self._prefix = prefix
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._heard: dict[str, _Heard] = {}
        for root, known in (heard or {}).items():
            place = self._place(f"{root}/")
            if place is not None and isinstance(known, list) and len(known) == 2 and isinstance(known[1], int):
                self._heard[root] = _Heard(place[0], known[1], known[0])

    def note(self, topic: str, payload: bytes, retain: bool) -> list[Request]:
        """Take a message; returns each request for a replay that is due."""
        place = self._place(topic)
        said = _said(payload, bare=place[1] == "progress") if place is not None else None
        with self._lock:
            if place is not None and said is not None:
                self._add(*place, said, retain)
        return self.due()

    def due(self) -> list[Request]:
        """What is to be asked now, also while nothing arrives."""
        now = self._clock.monotonic()
        with self._lock:
            return [request for heard in self._heard.values() for request in _due(heard, now)]

    def missing(self) -> dict[str, int]:
        """`{prefix/site/instrument: how many events are known to be missing}`, where any are."""
        with self._lock:
            return {root: heard.missing for root, heard in self._heard.items() if heard.missing}

    def heard(self) -> dict[str, list[Any]]:
        """`{prefix/site/instrument: [epoch, number up to which all came]}`, to begin with after a restart."""
        with self._lock:
            return {root: [heard.epoch, heard.upto] for root, heard in self._heard.items()}

    def _place(self, topic: str) -> tuple[Topics, str] | None:
        rest = topic.removeprefix(f"{self._prefix}/")
        levels = rest.split("/", 2)
        if rest == topic or len(levels) < 3 or not is_slug(levels[0]) or not is_slug(levels[1]):
            return None
        return Topics(levels[0], levels[1], self._prefix), levels[2]

    def _add(self, topics: Topics, kind: str, said: _Said, retain: bool) -> None:
        now = self._clock.monotonic()
        heard = self._heard.get(topics.root)
        if heard is None:
            if kind in _NEWS and len(self._heard) < _MAX_INSTRUMENTS and not retain:
                self._heard[topics.root] = _Heard(topics, said.number or said.newest, said.epoch)
            return
        if said.epoch is not None and heard.epoch is not None and said.epoch != heard.epoch:
            if retain and said.epoch < heard.epoch:
                return  # what the broker kept of an outbox that is gone
            log.warning("%s: its outbox was rebuilt: it counts from 1 again", topics.root)
            heard = self._heard[topics.root] = _Heard(topics, 0, said.epoch)
        heard.epoch = heard.epoch or said.epoch
        if not retain:
            heard.add(said, now)


def _due(heard: _Heard, now: float) -> list[Request]:
    if not heard.missing or now - heard.open_since < (_AGAIN_S if heard.tries else _PATIENCE_S):
        return []
    if heard.tries >= _TRIES or len(heard.beyond) > _MAX_BEYOND:
        log.warning("%s: events %d to %d are lost", heard.topics.root, *heard.give_up())
        heard.open_since, heard.tries = now, 0
        return []
    heard.tries += 1
    heard.open_since = now
    log.warning("%s: events from %d on did not arrive: asking for them", heard.topics.root, heard.upto + 1)
    until = heard.beyond[0] - 1 if len(heard.beyond) == 1 and heard.beyond[0] >= heard.newest else heard.last
    request = ReplayRequest(since=heard.upto, until=until)
    return [(heard.topics.replay_request, request.model_dump_json().encode())]


def _said(payload: bytes, *, bare: bool) -> _Said | None:
    """What an event, or progress without an envelope, tells of the count; None for what is neither."""
    if not payload or len(payload) > MAX_PAYLOAD:
        return None
    try:
        said: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not (bare or "specversion" in said):
        return None
    number, newest = (0, _number(said.get("last"))) if bare else (_number(said.get("sequence")), 0)
    epoch = said.get("epoch")
    return _Said(number, newest, epoch if isinstance(epoch, str) else None) if number or newest else None


def _number(value: object) -> int:
    """A count; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
