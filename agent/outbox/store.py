"""The outbox: one SQLite file that holds what must not be lost.

WAL with synchronous=FULL: a method that returns has its promise on the disk. One connection, one lock; every
method is one transaction. All times are UTC nanoseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from agent.acquisition import Acquisition, State
from agent.clock import Clock
from agent.contract.layout import STAGED
from agent.errors import Damaged, Retryable
from agent.outbox import recovery
from agent.outbox.check import problems
from agent.outbox.codec import MARK, decode, encode, read
from agent.outbox.migrate import migrations, upgrade, version
from agent.outbox.releases import Releases
from agent.outbox.rows import Announcement, Entry, FileRow, FileState, NewFile, Sent
from agent.outbox.session import UNREADABLE, readable, translated
from agent.sources.spelling import stored

_PAGE = 2000
_FILE_STATES = {state.value: state for state in FileState}


class Outbox(Releases):
    """Open with `Outbox.open`, use from any thread, close once."""

    @classmethod
    def open(cls, path: Path) -> Outbox:
        """Open or create the database at `path`; Damaged when SQLite says it is corrupt."""
        connection = None
        try:
            connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # A table that others refer to is replaced by an upgrade: nothing is checked before it is done.
            connection.execute("PRAGMA foreign_keys = OFF")
            upgrade(connection)
            connection.execute("PRAGMA foreign_keys = ON")
            # Writing makes the log, and only then may the mark say that there is one.
            connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES ('opened', 'yes')")
            recovery.mark_open(path)
        except sqlite3.DatabaseError as error:
            if connection is not None:
                # An open file cannot be set aside on Windows.
                connection.close()
            raise translated(error, path) from error
        return cls(connection, path)

    @classmethod
    def view(cls, path: Path) -> Outbox:
        """Open an existing database for reading only, for those who look on while the daemon writes.

        Retryable while the daemon still makes or upgrades it.
        """
        try:
            address = f"{path.absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(address, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA query_only = ON")
            current = version(connection) == migrations()[-1][0]
        except sqlite3.DatabaseError as error:
            raise translated(error, path) from error
        if not current:
            connection.close()
            raise Retryable(f"the outbox {path} is not one of this version yet: a daemon of this version makes it so")
        return cls(connection, path)

    @classmethod
    def recover(cls, path: Path, clock: Clock) -> tuple[Outbox, str | None]:
        """Open it for the daemon; a damaged one is set aside first, and the second value says what and where."""
        wrong = recovery.damage(path)
        if wrong is None:
            try:
                return cls.open(path), None
            except Damaged as error:
                # That it names another version than it has is told only by the upgrade.
                if not recovery.tells_of_damage(error.__cause__):
                    raise
                wrong = str(error.__cause__)
        said = f"the outbox was damaged ({wrong}) and lies in {recovery.set_aside(path, clock)}: state is rebuilt"
        return cls.open(path), said

    def check(self) -> list[str]:
        """One line for each broken invariant; empty when all is well."""
        with self._lock:
            return problems(self._connection)

    def close(self) -> None:
        """Checkpoint and close; the outbox cannot be used afterwards."""
        with self._lock:
            self._connection.close()
            recovery.mark_closed(self._path)

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
                value=encode(acquisition),
                size=-1 if files is None else 0,
            )
            if files is not None:
                self._run("orphan_uploads", acquisition_id=acquisition.id, target=None)
                self._run("forget_files", acquisition_id=acquisition.id)
                self._run_each("put_file", (_new_row(acquisition.id, file) for file in files))
                self._run("size_by_files", id=acquisition.id)
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
        found = self._entries("ready_in_state", state=state.value, limit=limit)
        found += self._entries("ripe_in_state", state=state.value, now_ns=now_ns, limit=limit)
        return sorted(found, key=lambda entry: entry.acquisition.started_ns, reverse=True)[:limit]

    def next_delivery(self, now_ns: int) -> Entry | None:
        """The delivery to go on with: small datasets before large ones, the newest first."""
        return next(iter(self._entries("next_delivery", now_ns=now_ns)), None)

    def large_should_yield(self, now_ns: int) -> bool:
        """True when something waits that goes before a large dataset."""
        return bool(self._rows("large_should_yield", now_ns=now_ns)[0]["yes"])

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

    def bring_forward(self, now_ns: int, by_ns: int, after_ns: int) -> int:
        """What is postponed to later than `after_ns` comes sooner by so much, not before now; how many those are."""
        with self._transaction():
            return self._run("bring_forward", now_ns=now_ns, by_ns=by_ns, after_ns=after_ns).rowcount

    def note_error(self, acquisition_id: str, error: str) -> None:
        """Keep the reason of a rejection beside the acquisition."""
        with self._transaction():
            self._run("note_error", id=acquisition_id, error=error)

    # Files

    def files(self, acquisition_id: str) -> list[FileRow]:
        """The files of a dataset, by target path."""
        return self._files("files_of", acquisition_id=acquisition_id)

    def each_file(self, acquisition_id: str) -> Iterator[FileRow]:
        """Like `files`, a page at a time, however many there are; what changes meanwhile may be seen or not."""
        after = ""
        while page := self._files("files_after", acquisition_id=acquisition_id, after=after, limit=_PAGE):
            yield from page
            after = page[-1].target

    def file_at(self, source: str) -> FileRow | None:
        """The newest row for a path on this machine."""
        return next(iter(self._files("file_by_source", source=source)), None)

    def claim(self, file: FileRow, upload: str | None) -> None:
        """An upload begins; `upload` is where it can be resumed."""
        with self._transaction():
            self._run("claim_file", acquisition_id=file.acquisition_id, target=file.target, upload=upload)

    def files_left(self, acquisition_id: str, limit: int, *, data: bool = True) -> list[FileRow]:
        """The next files to send: metadata first, then the smallest; `data` False for metadata only."""
        return self._files("files_left", acquisition_id=acquisition_id, limit=limit, data=int(data))

    def sent(self, files: Iterable[Sent]) -> None:
        """The far side holds these files."""
        rows = [
            {
                "acquisition_id": stored(sent.file.acquisition_id),
                "target": stored(sent.file.target),
                "sha256": sent.sha256,
                "source_sha256": sent.source_sha256,
                "delivered_size": sent.delivered_size,
                "touched_ns": sent.touched_ns,
            }
            for sent in files
        ]
        with self._transaction():
            self._run_each("file_sent", rows)

    def reset(self, file: FileRow) -> None:
        """Send the file again from its beginning."""
        with self._transaction():
            self._run("orphan_uploads", acquisition_id=file.acquisition_id, target=file.target)
            self._run("reset_file", acquisition_id=file.acquisition_id, target=file.target)

    def give_up_uploads(self, acquisition_id: str) -> None:
        """Nobody will go on with what was begun for this acquisition."""
        with self._transaction():
            self._run("orphan_uploads", acquisition_id=acquisition_id, target=None)
            self._run("orphan_staging", id=acquisition_id, prefix=STAGED)
            self._run("forget_uploads", acquisition_id=acquisition_id)

    def orphans(self, limit: int = 100) -> list[str]:
        """Uploads to be ended at the far side."""
        return [row["upload"] for row in self._rows("orphans", limit=limit)]

    def orphan_ended(self, upload: str) -> None:
        """The far side has forgotten it."""
        with self._transaction():
            self._run("orphan_ended", upload=upload)

    def verified(self, acquisition: Acquisition, announce: Iterable[Announcement], now_ns: int = 0) -> None:
        """The facility committed the dataset: the acquisition and all its files are verified."""
        with self._transaction():
            self._run("files_verified", acquisition_id=acquisition.id)
            self.save(acquisition, announce=announce)
            self._run("set_verified", id=acquisition.id, verified_ns=now_ns)

    def bytes_left(self) -> int:
        """Source bytes that are still to be sent."""
        return int(self._rows("bytes_left")[0]["n"])

    def to_release(self, before_ns: int, now_ns: int, limit: int = 10) -> list[Entry]:
        """Acquisitions that were verified before, the oldest first."""
        return self._entries("to_release", before_ns=before_ns, now_ns=now_ns, limit=limit)

    # What the installation knows of itself

    def fact(self, name: str, value: str) -> str:
        """The fact of this name; `value` becomes it when there is none yet."""
        with self._transaction():
            known = self._run("fact", name=name).fetchone()
            if known is None:
                self._run("put_fact", name=name, value=value)
            return str(known[0]) if known else value

    def known(self, name: str) -> str | None:
        """The fact of this name; None when there is none yet."""
        return next((str(row["value"]) for row in self._rows("fact", name=name)), None)

    def learn(self, name: str, value: str) -> bool:
        """Remember a fact, whatever was known before; False when that was the same."""
        with self._transaction():
            known = self._run("fact", name=name).fetchone()
            if known is not None and known[0] == value:
                return False
            self._run("put_fact", name=name, value=value)
            return True

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

    def _entries(self, name: str, **values: Any) -> list[Entry]:
        return [_entry(row) for row in self._rows(name, **values)]

    def _files(self, name: str, **values: Any) -> list[FileRow]:
        """Like `_rows`, tens of thousands at a time: without a dictionary for each."""
        with self._lock:
            try:
                cursor = self._run(name, **values)
                columns = [column[0] for column in cursor.description]
                in_order = itemgetter(*map(columns.index, FileRow.__slots__))
                return [_file(in_order(row)) for row in cursor]
            except UNREADABLE as error:
                raise translated(error) from error


def _new_row(acquisition_id: str, file: NewFile) -> dict[str, Any]:
    return {
        "acquisition_id": stored(acquisition_id),
        "target": stored(file.target),
        "source": stored(file.source),
        "role": file.role,
        "state": FileState.PENDING.value,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "file_id": file.file_id,
        "description": file.description and stored(file.description),
    }


def _entry(row: dict[str, Any]) -> Entry:
    with readable("acquisition", row["id"]):
        acquisition = decode(row["value"])
    return Entry(acquisition, row["dataset"], row["attempts"], row["next_at_ns"], row["error"], row["size"])


def _file(values: tuple[Any, ...]) -> FileRow:
    """Spelled out, for there are three for each file that is delivered."""
    run, target, source, role, state, size, mtime_ns, file_id, description, sent, sha256, own, upload, touched = values
    known = _FILE_STATES.get(state)
    if known is None:
        raise Damaged(f"the outbox is damaged: file {target!r} is {state!r}: restart the daemon")
    if description is not None or upload is not None or f"{run}\n{target}\n{source}".find(MARK) >= 0:
        run, target, source, description, upload = map(read, (run, target, source, description, upload))
    return FileRow(
        run, target, source, role, known, size, mtime_ns, file_id, description, sent, sha256, own, upload, touched
    )
