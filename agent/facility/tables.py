"""The tables of the catalogue. Nothing is only here: every row can be made again from its dataset (indexing)."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agent.errors import Misconfigured, Retryable

log = logging.getLogger(__name__)

SCHEMA = 4
_TRIES = 10
_PAUSE_S = 0.2
tables = sa.MetaData()

_meta = sa.Table("catalogue", tables, sa.Column("schema", sa.Integer, primary_key=True))

datasets = sa.Table(
    "datasets",
    tables,
    sa.Column("started_ns", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("dataset", sa.String, primary_key=True, unique=True),
    sa.Column("id", sa.String, nullable=False, index=True),
    sa.Column("site", sa.String, nullable=False),
    sa.Column("instrument", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("started_at", sa.String),
    sa.Column("finished_at", sa.String),
    sa.Column("finish_reason", sa.String),
    sa.Column("frames", sa.BigInteger),
    sa.Column("frames_planned", sa.BigInteger),
    sa.Column("files", sa.Integer, nullable=False),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("user", sa.String),
    sa.Column("project", sa.String),
    sa.Column("sample", sa.String),
    sa.Column("objective", sa.String),
    sa.Column("complete", sa.Integer),
    sa.Column("qc", sa.String, nullable=False),
    sa.Column("problem", sa.String),
    # Below: what a search compares with, in lower case; no part of an entry.
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("user_key", sa.String, nullable=False),
    sa.Column("project_key", sa.String, nullable=False),
    sa.Column("sample_key", sa.String, nullable=False),
    sa.Column("objective_key", sa.String, nullable=False),
    sa.Column("channel_key", sa.String, nullable=False),
    sa.Column("full_key", sa.String, nullable=False),
    sa.Column("month", sa.String, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("checked_ns", sa.BigInteger, index=True),
    sa.Index("newest_of_instrument", "site", "instrument", "started_ns", "dataset"),
    sa.Index("totals", "site", "instrument", "month", "bytes", "frames", "seconds", "started_ns"),
    # A search that finds little reads all rows, newest first: here they lie in that order.
    sqlite_with_rowid=False,
)
"""One row a dataset, and a narrow one: what a search does not compare is in `details`. `complete`: percent of all
required fields. `qc`: the worst status of any metric then.
`checked_ns`: when its bytes were last compared with the manifest; null where they never were."""

details = sa.Table(
    "details",
    tables,
    sa.Column("dataset", sa.String, primary_key=True),
    sa.Column("channels", sa.JSON, nullable=False),
    sa.Column("completeness", sa.JSON, nullable=False),
)

quarantine = sa.Table(
    "quarantine",
    tables,
    sa.Column("dataset", sa.String, primary_key=True),
    sa.Column("site", sa.String, nullable=False),
    sa.Column("instrument", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.String, nullable=False),
    sa.Column("stored", sa.Boolean, nullable=False),
)
"""Datasets that are not what their manifest says; `stored`: already committed, or still with the agent."""

qc = sa.Table(
    "qc",
    tables,
    sa.Column("site", sa.String, primary_key=True),
    sa.Column("instrument", sa.String, primary_key=True),
    sa.Column("metric", sa.String, primary_key=True),
    sa.Column("measured_at", sa.String, primary_key=True),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("unit", sa.String),
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
    # `limit` is a word of SQL.
    sa.Column("bound", sa.Float),
    sa.Column("sense", sa.String),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("kind", sa.String),
)
"""One row a measurement, from the records and from what the instruments announce."""


def open_engine(url: str) -> sa.Engine:
    """An engine with tables of this version; a SQLite file that is damaged is set aside and begun anew."""
    for left in reversed(range(_TRIES)):
        try:
            return _prepare(url)
        except sa.exc.OperationalError as error:
            # Another process makes the tables at this moment, or the database does not answer.
            if not left or not url.startswith("sqlite"):
                raise Retryable(f"the catalogue cannot be opened: {error}".splitlines()[0]) from error
            time.sleep(_PAUSE_S)
        except sa.exc.DatabaseError as error:
            path = sa.make_url(url).database
            if not url.startswith("sqlite") or not path or not Path(path).is_file():
                raise Retryable(f"the catalogue cannot be opened: {error}".splitlines()[0]) from error
            _set_aside(path)
    raise Retryable("the catalogue is damaged again and again: look at the disk")


def identity(url: str) -> tuple[int, int] | None:
    """Which file the database is; None where it is none, or not there."""
    path = sa.make_url(url).database
    if not url.startswith("sqlite") or not path:
        return None
    try:
        stat = Path(path).stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _set_aside(path: str) -> None:
    log.error("the catalogue %s is damaged: set aside, and made again from the datasets", path)
    for end in ("", "-wal", "-shm"):
        side = Path(path + end)
        if side.exists():
            side.replace(f"{path}.damaged{end}")


def _create(url: str) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"catalogue_url needs {error.name}: pip install 'scope-agent[postgres]' and write postgresql+psycopg://"
        ) from error
    except sa.exc.ArgumentError as error:
        # Without the address: there may be a password in it.
        raise Misconfigured(f"catalogue_url cannot be used: {type(error).__name__}: see the reference") from error


def _prepare(url: str) -> sa.Engine:
    engine = _create(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _tune)
    try:
        with engine.begin() as db:
            if engine.dialect.name == "postgresql":
                # Replicas that start together make the tables one after the other.
                db.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": 0x5C09E})
            _meta.create(db, checkfirst=True)
            if db.execute(sa.select(_meta.c.schema)).scalars().all() != [SCHEMA]:
                tables.drop_all(db)
                tables.create_all(db)
                db.execute(_meta.insert().values(schema=SCHEMA))
            tables.create_all(db)
    except sa.exc.DatabaseError:
        engine.dispose()
        raise
    return engine


def _tune(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}").close()
