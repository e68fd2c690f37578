"""The catalogue: one row a dataset, in SQLite, PostgreSQL, or any database SQLAlchemy speaks to.

Nothing is only here: every row can be made again from its dataset (indexing).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel, BeforeValidator, ConfigDict
from sqlalchemy.dialects import postgresql, sqlite

from agent.clock import utc
from agent.errors import Retryable
from agent.facility import search
from agent.facility.refusal import Unknown
from agent.facility.search import Entry, Page, Query, folded
from agent.facility.tables import datasets, details, identity, open_engine, qc, quarantine

_MAX_POINTS = 5000


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


_Known = TypeVar("_Known", bound=_Row)
_Total = Annotated[int, BeforeValidator(int)]
"""A sum: databases have no integer that is large enough for every one."""


class InstrumentCount(_Row):
    """How much of an instrument lies here."""

    site: str
    instrument: str
    datasets: int
    bytes: _Total
    last_ns: int


class Quarantined(_Row):
    """A dataset that is not what its manifest says; `stored`: it was committed, or found in the store."""

    dataset: str
    site: str
    instrument: str
    reason: str
    since: str
    stored: bool


class Measurement(_Row):
    """A quality-control result; `low` and `high` are its 95 % interval."""

    site: str
    instrument: str
    metric: str
    measured_at: str
    value: float
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    sense: str | None = None
    """`at most` or `at least`: what `bound` means."""
    status: str = "none"
    kind: str | None = None


class Usage(_Row):
    """What an instrument delivered in a month (`YYYY-MM`, UTC); `seconds` of acquisition, as far as known."""

    site: str
    instrument: str
    month: str
    datasets: int
    bytes: _Total
    frames: _Total
    seconds: float


class Catalogue:
    """The rows of one facility. Raises Retryable when the database cannot be used right now."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = open_engine(url)
        self._file = identity(url)
        self.changes = 0
        """Rises with every row written here, so that a view knows when to ask again."""

    def put(self, entry: Entry, text: str = "", measured: Iterable[Measurement] = ()) -> None:
        """Add or replace the row of a dataset; `text` is what a search finds beside the names.

        `measured`: the results that its record names; those that are known already change nothing.
        """
        row, more = self.rows(entry, text)
        with self._told(), self._engine.begin() as db:
            db.execute(self._upsert(datasets, ("dataset",), row), row)
            db.execute(self._upsert(details, ("dataset",), more), more)
            self._measure(db, measured)
        self.changes += 1

    @staticmethod
    def rows(entry: Entry, text: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
        """The rows of an entry in `datasets` and in `details`."""
        said = _clean(entry.model_dump() | _keys(entry, text) | _spent(entry))
        more = {"dataset": entry.dataset} | {name: said.pop(name) for name in ("channels", "completeness")}
        return said, more

    def remove(self, dataset: str) -> None:
        """Forget a dataset, and that it was in quarantine."""
        with self._told(), self._engine.begin() as db:
            db.execute(datasets.delete().where(datasets.c.dataset == dataset))
            db.execute(details.delete().where(details.c.dataset == dataset))
            db.execute(quarantine.delete().where(quarantine.c.dataset == dataset))
        self.changes += 1

    def datasets(self) -> set[str]:
        """Every dataset that has a row."""
        with self._told(), self._engine.connect() as db:
            return set(db.execute(sa.select(datasets.c.dataset)).scalars())

    def find(self, query: Query) -> Page:
        """One page of a search. Raises Refusal for a cursor that this catalogue never gave."""
        wanted = search.select(query, self._engine.dialect.name)
        with self._told(), self._engine.connect() as db:
            found = db.execute(wanted).mappings().all()
        return search.page([search.entry(row) for row in found], query)

    def get(self, acquisition_id: str) -> Entry:
        """The newest dataset of an acquisition. Raises Unknown."""
        return self._one(datasets.c.id == acquisition_id, acquisition_id)

    def at(self, dataset: str) -> Entry:
        """The row of a dataset. Raises Unknown."""
        return self._one(datasets.c.dataset == dataset, dataset)

    def instruments(self) -> list[InstrumentCount]:
        """Every instrument with its totals, by name."""
        columns = (datasets.c.site, datasets.c.instrument)
        totals = sa.select(
            *columns,
            sa.func.count().label("datasets"),
            _total(datasets.c.bytes, "bytes"),
            sa.func.max(datasets.c.started_ns).label("last_ns"),
        )
        return self._rows(InstrumentCount, totals.group_by(*columns).order_by(*columns))

    def usage(self, instrument: str | None = None) -> list[Usage]:
        """Totals by instrument and month, the newest month first."""
        columns = (datasets.c.site, datasets.c.instrument, datasets.c.month)
        totals = sa.select(
            *columns,
            sa.func.count().label("datasets"),
            _total(datasets.c.bytes, "bytes"),
            _total(datasets.c.frames, "frames"),
            _total(datasets.c.seconds, "seconds"),
        ).where(datasets.c.month != "", *_of(datasets, instrument))
        ordered = totals.group_by(*columns).order_by(datasets.c.month.desc(), *columns[:2])
        return self._rows(Usage, ordered)

    # Quality control

    def measure(self, measured: Iterable[Measurement]) -> None:
        """Keep results; those that are known already change nothing."""
        with self._told(), self._engine.begin() as db:
            self._measure(db, measured)

    def trend(self, instrument: str | None = None, metric: str | None = None) -> list[Measurement]:
        """Results by instrument, metric and time, the oldest first; the newest 5000 of them."""
        wanted = sa.select(qc).where(*_of(qc, instrument), *([qc.c.metric == metric] if metric else []))
        newest = self._rows(Measurement, wanted.order_by(qc.c.measured_at.desc()).limit(_MAX_POINTS))
        return sorted(newest, key=lambda one: (one.site, one.instrument, one.metric, one.measured_at))

    # Quarantine

    def isolate(self, one: Quarantined) -> None:
        """List a dataset as quarantined; it is found by no search any more."""
        row = _clean(one.model_dump())
        with self._told(), self._engine.begin() as db:
            db.execute(self._upsert(quarantine, ("dataset",), row), row)
        self.changes += 1

    def release(self, dataset: str) -> bool:
        """End the quarantine of a dataset; False where there was none."""
        with self._told(), self._engine.begin() as db:
            ended = db.execute(quarantine.delete().where(quarantine.c.dataset == dataset)).rowcount
        self.changes += 1
        return bool(ended)

    def quarantined(self, dataset: str | None = None) -> list[Quarantined]:
        """What is in quarantine, the newest first."""
        wanted = sa.select(quarantine).order_by(quarantine.c.since.desc(), quarantine.c.dataset)
        return self._rows(Quarantined, wanted.where(quarantine.c.dataset == dataset) if dataset else wanted)

    def checked(self, dataset: str, at_ns: int) -> None:
        """The bytes of a dataset were compared with its manifest."""
        with self._told(), self._engine.begin() as db:
            db.execute(datasets.update().where(datasets.c.dataset == dataset).values(checked_ns=at_ns))

    def unchecked(self, before_ns: int) -> str | None:
        """A dataset whose bytes were never compared with its manifest, or not since; the longest ago."""
        age = sa.func.coalesce(datasets.c.checked_ns, 0)
        never = datasets.c.checked_ns.is_(None)
        for wanted in (never, age < before_ns):
            statement = sa.select(datasets.c.dataset).where(wanted).order_by(datasets.c.checked_ns).limit(1)
            with self._told(), self._engine.connect() as db:
                found = db.execute(statement).scalar()
            if found is not None:
                return str(found)
        return None

    def begun_anew(self) -> bool:
        """Somebody removed the file of the database: there is an empty one now, to be filled from the datasets."""
        if identity(self._url) == self._file:
            return False
        self._engine.dispose()
        self._engine = open_engine(self._url)
        self._file = identity(self._url)
        self.changes += 1
        return True

    def close(self) -> None:
        self._engine.dispose()

    def _one(self, condition: sa.ColumnElement[bool], what: str) -> Entry:
        if "\0" in what:
            raise Unknown("not in the catalogue")
        with self._told(), self._engine.connect() as db:
            row = db.execute(search.one(condition)).mappings().first()
        if row is None:
            raise Unknown(f"not in the catalogue: {what}")
        return search.entry(row)

    def _rows(self, model: type[_Known], statement: sa.Select[Any]) -> list[_Known]:
        with self._told(), self._engine.connect() as db:
            # All at once: a statement that is left in the middle would keep its connection from ever writing again.
            found = db.execute(statement).mappings().all()
        return [model.model_validate(dict(row)) for row in found]

    def _measure(self, db: sa.Connection, measured: Iterable[Measurement]) -> None:
        rows = [_clean(one.model_dump()) for one in measured]
        if rows:
            keys = ("site", "instrument", "metric", "measured_at")
            db.execute(self._insert(qc).on_conflict_do_nothing(index_elements=keys), rows)

    def _upsert(self, table: sa.Table, keys: tuple[str, ...], row: Mapping[str, Any]) -> sa.Insert:
        """Two replicas may write the same row at the same time."""
        insert: Any = self._insert(table)
        fresh = {name: insert.excluded[name] for name in row if name not in keys}
        statement: sa.Insert = insert.on_conflict_do_update(index_elements=keys, set_=fresh)
        return statement

    def _insert(self, table: sa.Table) -> Any:
        return (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert(table)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise Retryable(f"the catalogue cannot be used: {error}".splitlines()[0]) from error


def _of(table: sa.Table, instrument: str | None) -> list[sa.ColumnElement[bool]]:
    if not instrument:
        return []
    site, _, name = instrument.rpartition("/")
    return [table.c.instrument == name, *([table.c.site == site] if site else [])]


def _total(column: sa.ColumnElement[Any], name: str) -> sa.Label[Any]:
    # As floating-point numbers, exact up to 9 PB: SQLite refuses a sum of more than 63 bits, and forged sizes make one.
    return sa.func.coalesce(sa.func.sum(sa.cast(column, sa.Double)), 0).label(name)


def _keys(entry: Entry, text: str) -> dict[str, Any]:
    """The columns that a search compares with."""
    found = [entry.dataset, entry.name, entry.id, *entry.channels, text]
    found += [word for word in (entry.user, entry.project, entry.sample, entry.objective) if word]
    full = [name for name, tier in entry.completeness.items() if tier.required and tier.filled >= tier.required]
    single = {f"{name}_key": folded(getattr(entry, name) or "") for name in _SINGLE}
    return single | {
        "text": " ".join(dict.fromkeys(folded(" ".join(found)).split())),
        "channel_key": folded("\n".join(entry.channels)),
        "full_key": "".join(f"\n{folded(name)}\n" for name in full),
    }


_SINGLE = ("user", "project", "sample", "objective")


def _spent(entry: Entry) -> dict[str, Any]:
    """The month of a dataset and how long it took."""
    seconds = None
    if entry.started_at and entry.finished_at:
        try:
            ended, began = map(datetime.fromisoformat, (entry.finished_at, entry.started_at))
            seconds = max(0.0, (ended - began).total_seconds())
        except (ValueError, TypeError):
            seconds = None  # A record may say anything.
    return {"seconds": seconds, "month": f"{utc(entry.started_ns):%Y-%m}" if entry.started_ns > 0 else ""}


def _clean(row: dict[str, Any]) -> dict[str, Any]:
    """Without what a database refuses: NUL and halves of surrogate pairs in a text, numbers of more than 64 bits."""
    return {name: _clean_value(value) for name, value in row.items()}


def _clean_value(value: Any) -> Any:
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return None
    return _clean_text(value)


def _clean_text(value: Any) -> Any:
    """Numbers inside of lists and tables stay: they are stored as JSON, which has no largest one."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_clean_text(one) for one in value]
    if isinstance(value, dict):
        return {_clean_text(key): _clean_text(one) for key, one in value.items()}
    return value
