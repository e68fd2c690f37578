"""The outbox: one SQLite file that holds what must not be lost.

WAL with synchronous=FULL: a method that returns has its promise on the disk. One connection, one lock; every
method is one transaction. All times are UTC nanoseconds.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlite_utils import Database

from agent.acquisition import Acquisition, State
from agent.errors import Damaged, Misconfigured, NoSpace, Retryable, ScopeAgentError
from agent.outbox.migrate import upgrade
from agent.outbox.queries import statements
from agent.outbox.rows import Announcement, Entry, EventRow, FileRow, FileState, NewFile


class Outbox:
    """Open with `Outbox.open`, use from any thread, close once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tables = Database(connection)
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path) -> Outbox:
        """Open or create the database at `path`; Damaged when SQLite says it is corrupt."""
        try:
            connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            upgrade(connection)
        except sqlite3.DatabaseError as error:
            raise _translated(error, path) from error
        return cls(connection)

    def close(self) -> None:
        """Checkpoint and close; the outbox cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    # Acquisitions

    def save(
        self,
        acquisition: Acquisition,
        *,
        dataset: str | None = None,
        files: Iterable[NewFile] | None = None,
        announce: Iterable[Announcement] = (),
    ) -> None:
        """Write the acquisition, replace its files where given, announce events: all or nothing."""
        with self._transaction():
            self._run(
                "put_acquisition",
                id=acquisition.id,
                origin=acquisition.origin,
                state=acquisition.state.value,
                started_ns=acquisition.started_ns,
                dataset=dataset,
                value=msgspec.json.encode(acquisition).decode(),
            )
            if files is not None:
                self._run("forget_files", acquisition_id=acquisition.id)
                for file in files:
                    self._put_file(acquisition.id, file)
            for announcement in announce:
                self._announce(announcement)

    def get(self, acquisition_id: str) -> Entry | None:
        """The acquisition with this id."""
        return next(iter(self._entries("get_acquisition", id=acquisition_id)), None)

    def by_origin(self, origin: str) -> Entry | None:
        """The acquisition that was heard there."""
        return next(iter(self._entries("acquisition_by_origin", origin=origin)), None)

    def due(self, state: State, now_ns: int, limit: int = 100) -> list[Entry]:
        """Acquisitions in this state whose time has come, newest first."""
        return self._entries("due_in_state", state=state.value, now_ns=now_ns, limit=limit)

    def newest(self, limit: int = 50) -> list[Entry]:
        """The newest acquisitions of any state."""
        return self._entries("newest_acquisitions", limit=limit)

    def counts(self) -> dict[State, int]:
        """How many acquisitions are in each state."""
        return {State(row["state"]): row["n"] for row in self._rows("count_by_state")}

    def queue(self) -> int:
        """How many acquisitions are still on their way."""
        return int(self._rows("queue")[0]["n"])

    def postpone(self, acquisition_id: str, next_at_ns: int, error: str) -> None:
        """A try failed: try again at `next_at_ns`."""
        with self._transaction():
            self._run("postpone", id=acquisition_id, next_at_ns=next_at_ns, error=error)

    def note_error(self, acquisition_id: str, error: str) -> None:
        """Keep the reason of a rejection beside the acquisition."""
        with self._transaction():
            self._run("note_error", id=acquisition_id, error=error)

    # Files

    def files(self, acquisition_id: str) -> list[FileRow]:
        """The files of a dataset, by target path."""
        return [_file(row) for row in self._rows("files_of", acquisition_id=acquisition_id)]

    def file_at(self, source: str) -> FileRow | None:
        """The newest row for a path on this machine."""
        return next((_file(row) for row in self._rows("file_by_source", source=source)), None)

    def claim(self, file: FileRow, upload: str | None) -> None:
        """An upload begins; `upload` is where it can be resumed."""
        with self._transaction():
            self._run("claim_file", acquisition_id=file.acquisition_id, target=file.target, upload=upload)

    def sent(self, file: FileRow, sha256: str, source_sha256: str, delivered_size: int) -> None:
        """The far side holds the file with this hash."""
        with self._transaction():
            self._run(
                "file_sent",
                acquisition_id=file.acquisition_id,
                target=file.target,
                sha256=sha256,
                source_sha256=source_sha256,
                delivered_size=delivered_size,
            )

    def reset(self, file: FileRow) -> None:
        """Send the file again from its beginning."""
        with self._transaction():
            self._run("reset_file", acquisition_id=file.acquisition_id, target=file.target)

    def verified(self, acquisition: Acquisition, announce: Iterable[Announcement]) -> None:
        """The facility committed the dataset: the acquisition and all its files are verified."""
        with self._transaction():
            self._run("files_verified", acquisition_id=acquisition.id)
            self.save(acquisition, announce=announce)

    def bytes_left(self) -> int:
        """Source bytes that are still to be sent."""
        return int(self._rows("bytes_left")[0]["n"])

    # Events

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
            for sequence in sequences:
                self._run("event_published", sequence=sequence, published_ns=now_ns)

    def events_of(self, subject: str) -> list[EventRow]:
        """All events of an acquisition."""
        return [_event(row) for row in self._rows("events_of", subject=subject)]

    def last_sequence(self) -> int:
        """Number of the newest event; 0 before the first."""
        return int(self._rows("last_sequence")[0]["value"])

    # Journals

    def offsets(self) -> dict[str, int]:
        """Where reading of each journal may begin again."""
        with self._lock:
            return {row["name"]: row["byte_offset"] for row in self._tables.table("journals").rows}

    def save_offsets(self, offsets: Mapping[str, int]) -> None:
        """Move the journals' offsets on."""
        with self._transaction():
            rows = [{"name": name, "byte_offset": offset} for name, offset in offsets.items()]
            self._tables.table("journals").upsert_all(rows, pk="name")

    # Inside

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                raise _translated(error) from error
            finally:
                # After a COMMIT there is nothing to roll back, and SQLite says nothing.
                self._connection.rollback()

    def _run(self, name: str, **values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statements()[name], values)

    def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with self._lock:
            try:
                return list(self._tables.query(statements()[name], values))
            except sqlite3.DatabaseError as error:
                raise _translated(error) from error

    def _entries(self, name: str, **values: Any) -> list[Entry]:
        return [_entry(row) for row in self._rows(name, **values)]

    def _put_file(self, acquisition_id: str, file: NewFile) -> None:
        self._run(
            "put_file",
            acquisition_id=acquisition_id,
            target=file.target,
            source=file.source,
            role=file.role,
            state=FileState.PENDING.value,
            size=file.size,
            mtime_ns=file.mtime_ns,
            file_id=file.file_id,
            description=file.description,
        )

    def _announce(self, event: Announcement) -> None:
        if self._run("event_exists", id=event.id).fetchone() is not None:
            return
        self._run(
            "put_event",
            sequence=self._run("next_sequence").fetchall()[0][0],
            id=event.id,
            topic=event.topic,
            type=event.type,
            subject=event.subject,
            time_ns=event.time_ns,
            data=json.dumps(event.data, separators=(",", ":"), ensure_ascii=False),
            retained=int(event.retained),
        )


def _entry(row: dict[str, Any]) -> Entry:
    acquisition = msgspec.json.decode(row["value"], type=Acquisition)
    return Entry(acquisition, row["dataset"], row["attempts"], row["next_at_ns"], row["error"])


def _file(row: dict[str, Any]) -> FileRow:
    values = dict(row)
    values["state"] = FileState(values["state"])
    return FileRow(**values)


def _event(row: dict[str, Any]) -> EventRow:
    values = dict(row)
    values["data"] = json.loads(values["data"])
    values["retained"] = bool(values["retained"])
    return EventRow(**values)


def _translated(error: sqlite3.DatabaseError, path: Path | None = None) -> ScopeAgentError:
    where = f" {path}" if path else ""
    text = str(error)
    if "full" in text:
        return NoSpace(f"no disk space for the outbox{where}: free some, nothing is lost")
    if "locked" in text or "busy" in text:
        return Retryable(f"the outbox{where} is locked by another program: {text}")
    if "unable to open" in text or "readonly" in text:
        return Misconfigured(f"the outbox{where} cannot be written: check the rights of its folder ({text})")
    return Damaged(f"the outbox{where} is damaged ({text}): run 'scope-agent check'")
