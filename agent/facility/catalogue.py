"""The catalogue: one row a dataset, in SQLite or any database SQLAlchemy speaks to.

Nothing is only here: every row can be made again from its dataset (indexing).
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from agent.contract.record import Tier
from agent.errors import Retryable
from agent.facility.refusal import Refusal, Unknown

log = logging.getLogger(__name__)

SCHEMA = 1
_tables = sa.MetaData()
_meta = sa.Table("catalogue", _tables, sa.Column("schema", sa.Integer, primary_key=True))
_rows = sa.Table(
    "datasets",
    _tables,
    sa.Column("dataset", sa.String, primary_key=True),
    sa.Column("id", sa.String, nullable=False, index=True),
    sa.Column("site", sa.String, nullable=False),
    sa.Column("instrument", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("started_ns", sa.BigInteger, nullable=False),
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
    sa.Column("channels", sa.JSON, nullable=False),
    sa.Column("completeness", sa.JSON, nullable=False),
    sa.Column("problem", sa.String),
    sa.Column("text", sa.Text, nullable=False),
    sa.Index("newest", "started_ns", "dataset"),
    sa.Index("newest_of_instrument", "site", "instrument", "started_ns", "dataset"),
)


class Entry(BaseModel):
    """A dataset as the catalogue lists it; None is unknown."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    id: str
    site: str
    instrument: str
    name: str
    started_ns: int
    started_at: str | None = None
    finished_at: str | None = None
    finish_reason: str | None = None
    frames: int | None = None
    frames_planned: int | None = None
    files: int
    bytes: int | None = None
    user: str | None = None
    project: str | None = None
    sample: str | None = None
    objective: str | None = None
    channels: list[str] = []
    completeness: dict[str, Tier] = {}
    problem: str | None = None
    """Why the record could not be read, or what contradicts the place where the dataset lies."""


class Page(BaseModel):
    """Entries, newest first; `next` is the cursor of the page after, None on the last."""

    items: list[Entry]
    next: str | None = None


class InstrumentCount(BaseModel):
    """How much of an instrument lies here."""

    site: str
    instrument: str
    datasets: int
    bytes: int
    last_ns: int


class Query(BaseModel):
    """What to look for; times in UTC ns, `instrument` with or without `site/`, `q` words that all occur."""

    instrument: str | None = None
    q: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    limit: int = 50
    cursor: str | None = None


class Catalogue:
    """The rows of one facility. Raises Retryable when the database cannot be used right now."""

    def __init__(self, url: str) -> None:
        self._engine = _open(url)
        self.changes = 0
        """Rises with every row written here, so that a view knows when to ask again."""

    def put(self, entry: Entry, text: str = "") -> None:
        """Add or replace the row of a dataset; `text` is what a search finds beside the names."""
        found = [entry.dataset, entry.name, entry.id, *entry.channels, text]
        found += [word for word in (entry.user, entry.project, entry.sample, entry.objective) if word]
        row = entry.model_dump() | {"text": " ".join(found).lower()}
        with self._told(), self._engine.begin() as db:
            db.execute(_rows.delete().where(_rows.c.dataset == entry.dataset))
            db.execute(_rows.insert().values(row))
        self.changes += 1

    def remove(self, dataset: str) -> None:
        with self._told(), self._engine.begin() as db:
            db.execute(_rows.delete().where(_rows.c.dataset == dataset))
        self.changes += 1

    def datasets(self) -> set[str]:
        """Every dataset that has a row."""
        with self._told(), self._engine.connect() as db:
            return set(db.execute(sa.select(_rows.c.dataset)).scalars())

    def find(self, query: Query) -> Page:
        """One page of a search. Raises Refusal for a cursor that this catalogue never gave."""
        wanted = sa.select(_rows).where(*_conditions(query)).order_by(_rows.c.started_ns.desc(), _rows.c.dataset.desc())
        with self._told(), self._engine.connect() as db:
            found = [_entry(row) for row in db.execute(wanted.limit(query.limit + 1)).mappings()]
        items = found[: query.limit]
        return Page(items=items, next=_cursor(items[-1]) if len(found) > query.limit else None)

    def get(self, acquisition_id: str) -> Entry:
        """The newest dataset of an acquisition. Raises Unknown."""
        return self._one(_rows.c.id == acquisition_id, acquisition_id)

    def at(self, dataset: str) -> Entry:
        """The row of a dataset. Raises Unknown."""
        return self._one(_rows.c.dataset == dataset, dataset)

    def instruments(self) -> list[InstrumentCount]:
        """Every instrument with its totals, by name."""
        columns = (_rows.c.site, _rows.c.instrument)
        totals = sa.select(
            *columns,
            sa.func.count().label("datasets"),
            sa.func.coalesce(sa.func.sum(_rows.c.bytes), 0).label("bytes"),
            sa.func.max(_rows.c.started_ns).label("last_ns"),
        )
        with self._told(), self._engine.connect() as db:
            rows = db.execute(totals.group_by(*columns).order_by(*columns)).mappings()
            return [InstrumentCount.model_validate(dict(row)) for row in rows]

    def close(self) -> None:
        self._engine.dispose()

    def _one(self, condition: sa.ColumnElement[bool], what: str) -> Entry:
        wanted = sa.select(_rows).where(condition).order_by(_rows.c.started_ns.desc()).limit(1)
        with self._told(), self._engine.connect() as db:
            row = db.execute(wanted).mappings().first()
        if row is None:
            raise Unknown(f"not in the catalogue: {what}")
        return _entry(row)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise Retryable(f"the catalogue cannot be used: {error}".splitlines()[0]) from error


def _open(url: str) -> sa.Engine:
    """An engine with tables of this version; a SQLite file that is damaged is set aside and begun anew."""
    try:
        return _prepare(url)
    except sa.exc.DatabaseError as error:
        path = sa.make_url(url).database
        if not url.startswith("sqlite") or not path or not Path(path).is_file():
            raise Retryable(f"the catalogue cannot be opened: {error}".splitlines()[0]) from error
        log.error("the catalogue %s is damaged: set aside, and made again from the datasets", path)
        for end in ("", "-wal", "-shm"):
            side = Path(path + end)
            if side.exists():
                side.replace(f"{path}.damaged{end}")
        return _prepare(url)


def _prepare(url: str) -> sa.Engine:
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _tune)
    try:
        with engine.begin() as db:
            _meta.create(db, checkfirst=True)
            if db.execute(sa.select(_meta.c.schema)).scalars().all() != [SCHEMA]:
                _tables.drop_all(db)
                _tables.create_all(db)
                db.execute(_meta.insert().values(schema=SCHEMA))
            _tables.create_all(db)
    except sa.exc.DatabaseError:
        engine.dispose()
        raise
    return engine


def _tune(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}").close()


def _conditions(query: Query) -> Iterator[sa.ColumnElement[bool]]:
    if query.instrument:
        site, _, instrument = query.instrument.rpartition("/")
        yield _rows.c.instrument == instrument
        if site:
            yield _rows.c.site == site
    for word in query.q.lower().split():
        yield _rows.c.text.contains(word, autoescape=True)
    if query.since_ns is not None:
        yield _rows.c.started_ns >= query.since_ns
    if query.until_ns is not None:
        yield _rows.c.started_ns < query.until_ns
    if query.cursor:
        yield sa.tuple_(_rows.c.started_ns, _rows.c.dataset) < sa.tuple_(*map(sa.literal, _position(query.cursor)))


def _cursor(last: Entry) -> str:
    return base64.urlsafe_b64encode(json.dumps([last.started_ns, last.dataset]).encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[int, str]:
    try:
        started, dataset = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError):
        raise Refusal("this cursor is not one of ours: begin with the first page") from None
    if not isinstance(started, int) or not isinstance(dataset, str) or abs(started) >= 1 << 63:
        raise Refusal("this cursor is not one of ours: begin with the first page")
    return started, dataset


def _entry(row: sa.RowMapping) -> Entry:
    return Entry.model_validate({key: value for key, value in row.items() if key != "text"})
