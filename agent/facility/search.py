"""What can be asked of the catalogue, and what it answers."""

from __future__ import annotations

import base64
import binascii
import json
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from agent.contract.record import Tier
from agent.facility.refusal import Refusal
from agent.facility.tables import datasets, details, quarantine

QcStatus = Literal["fail", "overdue", "pass", "none"]
"""The worst status of any metric when the dataset was acquired; `none`: nothing was measured."""

_INT64 = 1 << 63


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
    complete: int | None = None
    """Percent of the required fields of all tiers that are filled."""
    qc: QcStatus = "none"
    problem: str | None = None
    """Why the record could not be read, or what contradicts the place where the dataset lies."""


class Page(BaseModel):
    """Entries, newest first; `next` is the cursor of the page after, None on the last."""

    items: list[Entry]
    next: str | None = None


class Query(BaseModel):
    """What to look for; times in UTC ns, `instrument` with or without `site/`, `q` words that all occur.

    `user`, `project`, `sample`, `objective` and `channel` are parts of the names, in any letter case. `complete`: at
    least so many percent. `tier`: nothing required of that tier is missing. What is in quarantine is never found.
    """

    instrument: str | None = None
    q: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    user: str | None = None
    project: str | None = None
    sample: str | None = None
    objective: str | None = None
    channel: str | None = None
    complete: int | None = None
    tier: str | None = None
    qc: QcStatus | None = None
    limit: int = 50
    cursor: str | None = None


def select(query: Query, dialect: str) -> sa.Select[Any]:
    """The statement that answers a query, with one row more than asked for, to see whether there is another page."""
    newest = (datasets.c.started_ns.desc(), datasets.c.dataset.desc())
    where = _conditions(query, _FASTEST.get(dialect, _like))
    found = sa.select(datasets).where(*where).order_by(*newest).limit(query.limit + 1).subquery()
    whole = sa.select(found, details.c.channels, details.c.completeness)
    joined = whole.join(details, details.c.dataset == found.c.dataset)
    return joined.order_by(found.c.started_ns.desc(), found.c.dataset.desc())


def one(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The statement for the newest row of which a condition holds."""
    whole = sa.select(datasets, details.c.channels, details.c.completeness)
    joined = whole.join(details, details.c.dataset == datasets.c.dataset)
    return joined.where(condition).order_by(datasets.c.started_ns.desc()).limit(1)


def page(rows: list[Entry], query: Query) -> Page:
    """The page that the rows of `select` make."""
    items = rows[: query.limit]
    return Page(items=items, next=_cursor(items[-1]) if len(rows) > query.limit else None)


def entry(row: sa.RowMapping) -> Entry:
    """The entry of a row; columns that only serve the search are left out."""
    return Entry.model_validate({key: row[key] for key in Entry.model_fields})


def _conditions(query: Query, holds: Holds) -> Iterator[sa.ColumnElement[bool]]:
    if query.instrument:
        site, _, instrument = query.instrument.rpartition("/")
        yield datasets.c.instrument == instrument
        if site:
            yield datasets.c.site == site
    # The longest first: it is most likely the rarest, and what fails it is not compared with the others.
    for word in sorted(set(_plain(query.q).split()), key=lambda word: (-len(word), word)):
        yield holds(datasets.c.text, word)
    for name in ("user", "project", "sample", "objective", "channel"):
        if part := _plain(getattr(query, name) or ""):
            yield holds(datasets.c[f"{name}_key"], part)
    if query.tier:
        yield holds(datasets.c.full_key, f"\n{_plain(query.tier)}\n")
    if query.complete is not None:
        yield datasets.c.complete >= query.complete
    if query.qc:
        yield datasets.c.qc == query.qc
    if query.since_ns is not None:
        yield datasets.c.started_ns >= _within(query.since_ns)
    if query.until_ns is not None:
        yield datasets.c.started_ns < _within(query.until_ns)
    if query.cursor:
        here = sa.tuple_(datasets.c.started_ns, datasets.c.dataset)
        yield here < sa.tuple_(*map(sa.literal, _position(query.cursor)))
    yield ~sa.exists().where(quarantine.c.dataset == datasets.c.dataset)


Holds = Callable[[sa.ColumnElement[str], str], sa.ColumnElement[bool]]
"""Is a text part of another? A search that finds little asks this of every row."""


def _like(column: sa.ColumnElement[str], part: str) -> sa.ColumnElement[bool]:
    return column.contains(part, autoescape=True)


def _strpos(column: sa.ColumnElement[str], part: str) -> sa.ColumnElement[bool]:
    return sa.func.strpos(column, part) > 0


_FASTEST: dict[str, Holds] = {"postgresql": _strpos}
"""PostgreSQL looks for a text twice as fast as for a pattern, SQLite the other way round."""


def _within(ns: int) -> int:
    """A time that a database can hold: years 1 and 9999 are asked for too."""
    return max(1 - _INT64, min(_INT64 - 1, ns))


def folded(text: str) -> str:
    """As the search columns hold it: without letter case, and the same for `u` with two dots, however it was typed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _plain(text: str) -> str:
    """Folded, and without NUL, which PostgreSQL refuses."""
    return folded(text).replace("\0", "\N{REPLACEMENT CHARACTER}")


def _cursor(last: Entry) -> str:
    return base64.urlsafe_b64encode(json.dumps([last.started_ns, last.dataset]).encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[int, str]:
    try:
        started, dataset = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise Refusal("this cursor is not one of ours: begin with the first page") from None
    good = isinstance(started, int) and isinstance(dataset, str) and "\0" not in dataset
    if not good or isinstance(started, bool) or abs(started) >= _INT64:
        raise Refusal("this cursor is not one of ours: begin with the first page")
    return started, dataset
