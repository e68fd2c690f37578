"""Outbox rows as CloudEvents: the same row gives the same bytes, however often it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from agent.clock import iso
from agent.contract.event import MAX_PAYLOAD, Envelope
from agent.contract.topics import Topics
from agent.outbox import EventRow


@dataclass(frozen=True, slots=True)
class Message:
    """What is handed to the broker with QoS 1."""

    topic: str
    payload: bytes
    retain: bool


def source(topics: Topics) -> str:
    """The CloudEvents source of an instrument."""
    return f"/{topics.site}/{topics.instrument}"


def clears(row: EventRow) -> bool:
    """An alert that is over."""
    return row.data is None and row.retained and "/alert/" in row.topic


def messages(row: EventRow, topics: Topics) -> Iterator[Message]:
    """The event as it goes out; the last message is the one with its sequence number."""
    if clears(row):
        # The empty payload that clears a retained topic has no number, and a subscriber would see a gap.
        yield Message(row.topic, b"", True)
    yield Message(row.topic, payload(row, topics), row.retained and not clears(row))


def state_again(row: EventRow, topics: Topics) -> Message:
    """A retained topic as it stands now, for a broker that may have forgotten it."""
    return Message(row.topic, b"" if clears(row) else payload(row, topics), True)


def replayed(row: EventRow, topics: Topics) -> Message:
    """The event once more. State that is over comes below `replay/`, so that nobody takes it for the present."""
    topic = topics.replay(row.topic) if row.retained else row.topic
    return Message(topic, payload(row, topics), False)


def payload(row: EventRow, topics: Topics) -> bytes:
    """The event as CloudEvents JSON, under 64 KiB."""
    envelope = Envelope(
        id=row.id,
        source=source(topics),
        type=row.type,
        subject=row.subject,
        time=iso(row.time_ns),
        sequence=row.sequence,
        data=row.data,
    )
    text = envelope.model_dump_json().encode()
    if len(text) < MAX_PAYLOAD:
        return text
    return envelope.model_copy(update={"data": _short(row.data or {})}).model_dump_json().encode()


def _short(data: dict[str, object]) -> dict[str, object]:
    """The fields of data that fit, the short ones first; the rest is left out and `truncated` says so."""
    left, kept = MAX_PAYLOAD // 2, {}
    for key, value in sorted(data.items(), key=lambda item: len(json.dumps(item[1]))):
        left -= len(json.dumps(value)) + len(key)
        if left < 0:
            break
        kept[key] = value
    return {key: kept[key] for key in data if key in kept} | {"truncated": True}
