"""Outbox rows as CloudEvents: the same row gives the same bytes, however often it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.clock import Clock, iso
from agent.contract.event import MAX_PAYLOAD, Envelope
from agent.contract.topics import Topics
from agent.outbox import EventRow, Outbox

_LIMITS = ((1000, 50), (200, 20), (100, 10), (60, 3))
"""Characters of a text and items of a list, tried in turn until an event is small enough."""
_FIELDS = 20
"""No table of an event's own has more fields than that; longer ones are lists of somebody's."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is handed to the broker with QoS 1."""

    topic: str
    payload: bytes
    retain: bool


def source(topics: Topics) -> str:
    """The CloudEvents source of an instrument."""
    return f"/{topics.site}/{topics.instrument}"


def epoch_of(outbox: Outbox, clock: Clock) -> str:
    """When this outbox began to count (UTC seconds, hexadecimal): later ones sort behind it."""
    return outbox.fact("epoch", f"{clock.now_ns() // 1_000_000_000:08x}")


def clears(row: EventRow) -> bool:
    """An alert that is over."""
    return row.data is None and row.retained and "/alert/" in row.topic


def messages(row: EventRow, topics: Topics, epoch: str | None = None) -> Iterator[Message]:
    """The event as it goes out; the last message is the one with its sequence number."""
    if clears(row):
        # The empty payload that clears a retained topic has no number, and a subscriber would see a gap.
        yield Message(row.topic, b"", True)
    yield Message(row.topic, payload(row, topics, epoch), row.retained and not clears(row))


def state_again(row: EventRow, topics: Topics, epoch: str | None = None) -> Message:
    """A retained topic as it stands now, for a broker that may have forgotten it."""
    return Message(row.topic, b"" if clears(row) else payload(row, topics, epoch), True)


def replayed(row: EventRow, topics: Topics, epoch: str | None = None) -> Message:
    """The event once more. State that is over comes below `replay/`, so that nobody takes it for the present."""
    topic = topics.replay(row.topic) if row.retained else row.topic
    return Message(topic, payload(row, topics, epoch), False)


def payload(row: EventRow, topics: Topics, epoch: str | None = None) -> bytes:
    """The event as CloudEvents JSON, under 64 KiB."""
    envelope = Envelope(
        id=row.id,
        source=source(topics),
        type=row.type,
        subject=row.subject,
        time=iso(row.time_ns),
        sequence=row.sequence,
        epoch=epoch,
        data=row.data,
    )
    text = encoded(envelope)
    for limits in _LIMITS:
        if len(text) < MAX_PAYLOAD:
            break
        text = encoded(envelope.model_copy(update={"data": _short(row.data, *limits), "truncated": True}))
    return text


def encoded(envelope: Envelope) -> bytes:
    """As it goes out."""
    # `data` may be null, and these may not.
    absent = {name for name in ("epoch", "truncated") if getattr(envelope, name) is None}
    return envelope.model_dump_json(exclude=absent).encode()


def _short(value: Any, text: int, items: int) -> Any:
    """Texts of so many characters, lists and tables of so many items: the shape stays, so that it can still be read."""
    match value:
        case str() if len(value) > text:
            return f"{value[:text]}…"
        case list():
            return [_short(inner, text, items) for inner in value[:items]]
        case dict():
            kept = list(value.items())[: max(items, _FIELDS)]
            return {key[:text]: _short(inner, text, items) for key, inner in kept}
        case _:
            return value
