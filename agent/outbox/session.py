"""One connection, one lock; every method of the outbox is one transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from agent.errors import Damaged, Misconfigured, NoSpace, Retryable, ScopeAgentError
from agent.outbox.codec import read, spelled
from agent.outbox.queries import statements
from agent.outbox.tables import Database

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What SQLite raises; the second when its own message about a damaged page quotes bytes of it."""


class Session:
    """What every part of the outbox builds on."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._tables = Database(connection)
        self._lock = threading.RLock()

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
            except UNREADABLE as error:
                raise translated(error) from error
            finally:
                # After a COMMIT there is nothing to roll back, and SQLite says nothing.
                self._connection.rollback()

    def _run(self, name: str, /, **values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statements()[name], spelled(values))

    def _run_each(self, name: str, rows: Iterable[dict[str, Any]], /) -> None:
        """Tens of thousands: what may be no text must be `stored` already."""
        self._connection.executemany(statements()[name], rows)

    def _rows(self, name: str, /, **values: Any) -> list[dict[str, Any]]:
        with self._lock:
            try:
                rows = self._tables.query(statements()[name], spelled(values))
                return [{column: read(value) for column, value in row.items()} for row in rows]
            except UNREADABLE as error:
                raise translated(error) from error


@contextmanager
def readable(kind: str, name: object) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, msgspec.DecodeError) as error:
        raise Damaged(f"the outbox is damaged: {kind} {name!r} cannot be read ({error}): restart the daemon") from error


def translated(error: Exception, path: Path | None = None) -> ScopeAgentError:
    where = f" {path}" if path else ""
    text = str(error)
    if "full" in text:
        return NoSpace(f"no disk space for the outbox{where}: free some, nothing is lost")
    if "locked" in text or "busy" in text:
        return Retryable(f"the outbox{where} is locked by another program: {text}")
    if "unable to open" in text or "readonly" in text:
        return Misconfigured(f"the outbox{where} cannot be written: check the rights of its folder ({text})")
    return Damaged(f"the outbox{where} is damaged ({text}): run 'scope-agent check'")
