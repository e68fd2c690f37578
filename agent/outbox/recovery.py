"""A damaged outbox is noticed at start, set aside, and a new one takes its place.

Nothing is lost with it: the sources tell again of every file and run that is still there, an acquisition's id
follows from what was heard (so it becomes the same dataset), and the facility, asked for what it holds, confirms
what had arrived. What SQLite cannot notice itself, a write-ahead log that somebody deleted, shows by a mark that
lies beside the database from the first write until the last clean close.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from agent.clock import Clock, utc
from agent.errors import Damaged, Misconfigured
from agent.outbox import wal
from agent.outbox.check import problems

PARTS = ("", "-wal", "-shm", "-open")
_MARK = "-open"
_LOG = "-wal"
_OF_CONTENT = ("malformed", "disk image", "already exists", "no such", "duplicate column")
"""In what SQLite says: the last three by an upgrade, when the version is another than that of the tables."""


def beside(path: Path, ending: str) -> Path:
    """A file that belongs to the database."""
    return path.with_name(path.name + ending)


def mark_open(path: Path) -> None:
    """From now on a write-ahead log must be there."""
    if not beside(path, _MARK).exists():
        beside(path, _MARK).touch()


def mark_closed(path: Path) -> None:
    """SQLite took the log away itself, with its last connection: all of it is in the database."""
    if not beside(path, _LOG).exists():
        beside(path, _MARK).unlink(missing_ok=True)


def damage(path: Path) -> str | None:
    """What is wrong with the database at `path`; None when it is whole or does not exist."""
    folders = [part for part in PARTS if beside(path, part).is_dir()]
    if folders:
        return f"{path.name}{folders[0]} is a folder"
    if not path.exists():
        left = [part for part in PARTS[1:] if beside(path, part).exists()]
        return f"the database is gone, but {path.name}{left[0]} is there" if left else None
    if not path.stat().st_size:
        return "it is empty"
    if beside(path, _MARK).exists() and not _has_log(path):
        return f"{path.name}{_LOG} is gone: the latest changes were in it"
    try:
        log = wal.read(beside(path, _LOG))
        with closing(sqlite3.connect(path, timeout=10)) as connection:
            if log is not None and _ends_early(connection, log, path):
                return f"{path.name}{_LOG} is damaged: what came behind that is lost"
            return next(iter(problems(connection, thorough=False)), None) if _has_schema(connection) else None
    except ValueError as error:
        return str(error)
    except sqlite3.DatabaseError as error:
        if tells_of_damage(error):
            return str(error)
        raise Misconfigured(f"the outbox {path} cannot be opened: {error}") from error


def _ends_early(connection: sqlite3.Connection, log: wal.Log, path: Path) -> bool:
    busy, known, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if busy or known < 0 or known >= log.promised:
        return False
    # A daemon that runs may have begun the log anew meanwhile.
    now = wal.read(beside(path, _LOG))
    return now is not None and now.salts == log.salts


def tells_of_damage(error: BaseException | None) -> bool:
    """False for what says nothing about the content: locked, no rights, no space, a disk that fails for a moment."""
    if isinstance(error, sqlite3.OperationalError):
        return any(word in str(error) for word in _OF_CONTENT)
    return isinstance(error, sqlite3.DatabaseError)


def set_aside(path: Path, clock: Clock) -> Path:
    """Move a damaged database, all its parts, into a folder beside it; where it lies now."""
    when = utc(clock.now_ns())
    folder = path.with_name(f"{path.name}.damaged-{when:%Y%m%dT%H%M%S.%f}")
    try:
        folder.mkdir(parents=True)
        for part in PARTS:
            if beside(path, part).exists():
                beside(path, part).replace(folder / (path.name + part))
    except OSError as error:
        raise Damaged(
            f"the outbox {path} is damaged and cannot be set aside ({error}): move it away by hand"
        ) from error
    return folder


def _has_log(path: Path) -> bool:
    """Whoever only reads makes a log where there is none, an empty one; that of a writer never is."""
    log = beside(path, _LOG)
    return log.exists() and log.stat().st_size > 0


def _has_schema(connection: sqlite3.Connection) -> bool:
    from agent.outbox.migrate import migrations, version

    return version(connection) == migrations()[-1][0]
