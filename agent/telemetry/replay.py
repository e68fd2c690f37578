"""Past events, sent again for who asks: in order, unchanged, and never faster than leaves room for new ones."""

from __future__ import annotations

import logging

from pydantic import ValidationError

from agent.contract.event import ReplayRequest
from agent.outbox import EventRow, Outbox

log = logging.getLogger(__name__)

PER_S = 1000
"""Replayed events a second; a dashboard keeps up with them, and the broker has room for new ones."""
_PAGE = 200
_LARGEST = 1024


class Replay:
    """Owned by the publisher's thread. One pass at a time; what is asked meanwhile is merged into the next."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._at = 0
        self._until = 0
        self._next: tuple[int, int] | None = None
        self._allowance = 0.0
        self._counted_at: float | None = None

    @property
    def busy(self) -> bool:
        return self._at < self._until or self._next is not None

    def ask(self, body: bytes) -> None:
        """Take a request; one that is not understood is logged and left alone."""
        try:
            if len(body) > _LARGEST:
                raise ValueError("too large")
            wanted = ReplayRequest.model_validate_json(body)
        except (ValidationError, ValueError):
            log.warning('a replay request is not {"since": number}: ignored', extra={"action": "replay.bad"})
            return
        newest = self._outbox.last_sequence()
        until = newest if wanted.until is None else min(wanted.until, newest)
        if wanted.since >= until:
            return
        log.info("events %d to %d are asked for again", wanted.since + 1, until, extra={"action": "replay"})
        if self._at <= wanted.since < self._until:
            self._until = max(self._until, until)
        elif self._next is None:
            self._next = (wanted.since, until)
        else:
            self._next = (min(self._next[0], wanted.since), max(self._next[1], until))

    def take(self, room: int, now: float) -> list[EventRow]:
        """The next events to send again, at most `room`; `now` in monotonic seconds."""
        passed = now - self._counted_at if self._counted_at is not None else 0.0
        self._counted_at = now
        self._allowance = min(_PAGE, self._allowance + passed * PER_S)
        if self._at >= self._until and self._next is not None:
            (self._at, self._until), self._next = self._next, None
        count = min(room, int(self._allowance))
        if count <= 0 or self._at >= self._until:
            return []
        rows = self._outbox.published_events(self._at, self._until, count)
        self._allowance -= len(rows)
        # What is not acknowledged yet is still to come by itself.
        self._at = rows[-1].sequence if len(rows) == count else self._until
        return rows
