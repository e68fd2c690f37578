"""Tells the number of the newest event, so that a subscriber that misses the last one need not wait for another."""

from __future__ import annotations

from agent.clock import Clock, iso
from agent.contract.event import TYPE_PREFIX, UNCOUNTED, Envelope, Numbers, event_id
from agent.contract.topics import Topics
from agent.outbox import Outbox
from agent.telemetry.envelope import Message, encoded, source

_EVERY_S = 1.0


def epoch_of(outbox: Outbox, clock: Clock) -> str:
    """When this outbox began to count (UTC seconds, hexadecimal): later ones sort behind it."""
    return outbox.fact("epoch", f"{clock.now_ns() // 1_000_000_000:08x}")


class Newest:
    """Owned by the publisher's thread."""

    def __init__(self, outbox: Outbox, topics: Topics, epoch: str) -> None:
        self._outbox, self._topics, self._epoch = outbox, topics, epoch
        self._told: int | None = None
        self._due = 0.0

    def forget(self) -> None:
        """The connection is a new one, and the broker may have forgotten."""
        self._told, self._due = None, 0.0

    def tell(self, now: float, now_ns: int) -> Message | None:
        """What to send while nothing else is on the way, at most once a second; None when it is told already."""
        if now < self._due or self._outbox.unpublished(0, 1):
            return None
        self._due = now + _EVERY_S
        last = self._outbox.last_sequence()
        if last == self._told:
            return None
        self._told = last
        envelope = Envelope(
            id=event_id("sequence", self._topics.root, self._epoch, str(last), str(now_ns)),
            source=source(self._topics),
            type=f"{TYPE_PREFIX}.sequence.v1",
            subject="sequence",
            time=iso(now_ns),
            sequence=UNCOUNTED,
            epoch=self._epoch,
            data=Numbers(last=last).model_dump(),
        )
        return Message(self._topics.sequence, encoded(envelope), True)
