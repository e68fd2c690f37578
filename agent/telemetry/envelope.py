"""Outbox rows as CloudEvents: the same row gives the same bytes, however often it is sent."""

from __future__ import annotations

import json

from agent.clock import iso
from agent.contract.event import MAX_PAYLOAD, Envelope
from agent.contract.topics import Topics
from agent.outbox import EventRow


def source(topics: Topics) -> str:
    """The CloudEvents source of an instrument."""
    return f"/{topics.site}/{topics.instrument}"


def payload(row: EventRow, topics: Topics) -> bytes:
    """The event as CloudEvents JSON, under 64 KiB; an empty payload clears a retained topic."""
    if row.data is None and row.retained and "/alert/" in row.topic:
        return b""
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
    if len(text) <= MAX_PAYLOAD:
        return text
    short = {key: value for key, value in (row.data or {}).items() if len(json.dumps(value)) < 1024}
    return envelope.model_copy(update={"data": short | {"truncated": True}}).model_dump_json().encode()
