"""Events in the outbox: announced once, numbered without gaps, published at least once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from agent.outbox.rows import Announcement, EventRow
from agent.outbox.session import Session, readable


class Events(Session):
    """The part of the outbox that telemetry uses."""

    def announce(self, announcements: Iterable[Announcement]) -> None:
        """Queue events that belong to no move of an acquisition."""
        with self._transaction():
            for announcement in announcements:
                self._announce(announcement)

    def unpublished(self, after: int, limit: int) -> list[EventRow]:
        """Events after a sequence number that no broker acknowledged, in order."""
        return [_event(row) for row in self._rows("unpublished_events", after=after, limit=limit)]

    def retained(self) -> list[EventRow]:
        """The latest event of each retained topic."""
        return [_event(row) for row in self._rows("retained_events")]

    def published(self, sequences: Iterable[int], now_ns: int) -> None:
        """The broker acknowledged these."""
        with self._transaction():
            self._run_each("event_published", [{"sequence": one, "published_ns": now_ns} for one in sorted(sequences)])

    def published_events(self, after: int, until: int, limit: int) -> list[EventRow]:
        """Events with after < sequence <= until that a broker acknowledged, in order."""
        return [_event(row) for row in self._rows("published_events", after=after, until=until, limit=limit)]

    def prune_events(self, before_ns: int, limit: int = 500, spared: int = 10_000) -> int:
        """Forget the oldest events that were acknowledged before a time, but for the newest; how many of them."""
        with self._transaction():
            return self._run("prune_events", before_ns=before_ns, limit=limit, spared=spared).rowcount

    def events_of(self, subject: str) -> list[EventRow]:
        """All events of an acquisition."""
        return [_event(row) for row in self._rows("events_of", subject=subject)]

    def started_between(self, since_ns: int, until_ns: int, after: str, limit: int) -> list[tuple[int, str]]:
        """(started_ns, id) of acquisitions with since <= started < until, in order, behind the id `after`."""
        values = {"since_ns": since_ns, "until_ns": until_ns, "after": after, "limit": limit}
        return [(row["started_ns"], row["id"]) for row in self._rows("started_between", **values)]

    def last_sequence(self) -> int:
        """Number of the newest event; 0 before the first."""
        return int(self._rows("last_sequence")[0]["value"])

    def _announce(self, event: Announcement) -> None:
        if self._run("event_exists", id=event.id).fetchone() is not None:
            return
        sequence = self._run("next_sequence").fetchall()[0][0]
        self._run(
            "put_event",
            sequence=sequence,
            id=event.id,
            topic=event.topic,
            type=event.type,
            subject=event.subject,
            time_ns=event.time_ns,
            data=json.dumps(event.data, separators=(",", ":"), ensure_ascii=False),
            retained=int(event.retained),
        )
        if event.retained:
            self._run("put_latest", topic=event.topic, sequence=sequence)


def _event(row: dict[str, Any]) -> EventRow:
    values = dict(row)
    with readable("event", row["id"]):
        values["data"] = json.loads(values["data"])
    values["retained"] = bool(values["retained"])
    return EventRow(**values)
