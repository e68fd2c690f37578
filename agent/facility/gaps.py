"""Which events of an instrument never arrived, and when to ask for them again.

An acknowledged event is not a durable one: a broker that is killed may have lost it. Sequence numbers show that.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_left
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


@dataclass(slots=True)
class _Heard:
    """Numbers of one instrument: all up to `upto` came, and those `beyond` (sorted)."""

    topics: Topics
    upto: int
    beyond: list[int] = field(default_factory=list)
    open_since: float = 0.0
    tries: int = 0

    def add(self, number: int, now: float) -> None:
        place = bisect_left(self.beyond, number)
        if number <= self.upto or self.beyond[place : place + 1] == [number]:
            return
        if not self.beyond:
            self.open_since = now
        self.beyond.insert(place, number)
        filled = 0
        while filled < len(self.beyond) and self.beyond[filled] == self.upto + 1:
            self.upto += 1
            filled += 1
        if filled:
            del self.beyond[:filled]
            # What is missing now is another gap, or the answer is on its way.
            self.open_since, self.tries = now, 0


class Gaps:
    """Fed by the broker's thread with every message; says which requests are to be sent."""

    def __init__(self, prefix: str, clock: Clock | None = None) -> None:
        self._prefix = prefix
        self._clock = clock or SystemClock()
        self._heard: dict[str, _Heard] = {}

    def note(self, topic: str, payload: bytes, retain: bool) -> list[tuple[str, bytes]]:
        """Take a message; returns (topic, payload) of each request for a replay that is due."""
        found = self._place(topic)
        number = None if retain or found is None else _sequence(payload)
        now = self._clock.monotonic()
        if found is not None and number is not None:
            self._add(*found, number, now)
        return [request for heard in self._heard.values() for request in self._due(heard, now)]

    def missing(self) -> dict[str, int]:
        """`{site/instrument: how many events are known to be missing}`, where any are."""
        counts = {key: h.beyond[-1] - h.upto - len(h.beyond) for key, h in self._heard.items() if h.beyond}
        return {key: count for key, count in counts.items() if count}

    def _place(self, topic: str) -> tuple[Topics, str] | None:
        rest = topic.removeprefix(f"{self._prefix}/")
        levels = rest.split("/", 2)
        if rest == topic or len(levels) < 3 or not is_slug(levels[0]) or not is_slug(levels[1]):
            return None
        return Topics(levels[0], levels[1], self._prefix), levels[2]

    def _add(self, topics: Topics, kind: str, number: int, now: float) -> None:
        heard = self._heard.get(topics.root)
        if heard is not None:
            heard.add(number, now)
        elif kind in {f"acquisition/{event}" for event in LIFECYCLE} and len(self._heard) < _MAX_INSTRUMENTS:
            # State is told anew with its old number after each connect; only what happens now shows where we are.
            self._heard[topics.root] = _Heard(topics, number)

    def _due(self, heard: _Heard, now: float) -> list[tuple[str, bytes]]:
        if not heard.beyond or now - heard.open_since < (_AGAIN_S if heard.tries else _PATIENCE_S):
            return []
        if heard.tries >= _TRIES or len(heard.beyond) > _MAX_BEYOND:
            log.warning("%s: events %d to %d are lost", heard.topics.root, heard.upto + 1, heard.beyond[0] - 1)
            heard.upto = heard.beyond[0] - 1
            heard.add(heard.beyond[0], now)
            return []
        heard.tries += 1
        heard.open_since = now
        until = heard.beyond[0] - 1 if len(heard.beyond) == 1 else heard.beyond[-1]
        log.warning("%s: events from %d on did not arrive: asking for them", heard.topics.root, heard.upto + 1)
        request = ReplayRequest(since=heard.upto, until=until)
        return [(heard.topics.replay_request, request.model_dump_json().encode())]


def _sequence(payload: bytes) -> int | None:
    """The sequence number of an event; None for what is none."""
    if not payload or len(payload) > MAX_PAYLOAD:
        return None
    try:
        said: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    number = said.get("sequence") if isinstance(said, dict) and "specversion" in said else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None
