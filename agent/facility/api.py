"""The JSON API for reading, and the health of the facility."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi import Query as Parameter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from agent.clock import SystemClock, iso
from agent.contract.record import Record
from agent.contract.upload import HEALTH
from agent.errors import Rejected
from agent.facility.access import everything
from agent.facility.amendments import Amendment, amendments
from agent.facility.catalogue import Measurement, Quarantined, Usage
from agent.facility.fleet import Fleet
from agent.facility.indexing import read_record
from agent.facility.parts import Shared
from agent.facility.previews import Preview
from agent.facility.search import Entry, Page, QcStatus, Query
from agent.facility.storage import Storage

_WORDS = 200
_NAME = 130
_Word = Annotated[str | None, Parameter(max_length=_WORDS)]
_Instrument = Annotated[str | None, Parameter(max_length=_NAME, description="`instrument` or `site/instrument`")]


class Refused(BaseModel):
    """Why a request was not served, in one line."""

    detail: str


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refused, "description": text}
    for status, text in [
        (400, "Not understood"), (401, "No valid token"), (403, "The token is not for this"),
        (429, "Too many requests"), (503, "Not now"),
    ]
}  # fmt: skip
_OR_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Refused, "description": "Nothing of that name"}}

routes = APIRouter(tags=["catalogue"], dependencies=[Depends(everything)], responses=_ERRORS)
health_routes = APIRouter(tags=["health"])


class Detail(BaseModel):
    """An acquisition: its row, the hashes of its files, and its record where it can be read."""

    entry: Entry
    files: dict[str, str]
    record: Record | None
    quarantine: Quarantined | None = None
    preview: Preview | None = None
    amendments: list[Amendment] = []
    """What is to be read into the record, in the order of their times; the entry has them in it."""


class Asked(BaseModel):
    """What a search can ask for."""

    model_config = ConfigDict(extra="forbid")

    instrument: str | None = Field(None, max_length=_NAME, description="`instrument` or `site/instrument`")
    q: str = Field("", max_length=_WORDS, description="words that all occur: names, user, sample, objective, channels")
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    user: str | None = Field(None, max_length=_WORDS)
    project: str | None = Field(None, max_length=_WORDS)
    sample: str | None = Field(None, max_length=_WORDS)
    objective: str | None = Field(None, max_length=_WORDS)
    channel: str | None = Field(None, max_length=_WORDS)
    complete: int | None = Field(None, ge=0, le=100, description="at least so many percent of what is required")
    tier: str | None = Field(None, max_length=60, description="a tier of which nothing is missing")
    qc: QcStatus | None = Field(None, description="the worst status of any metric then")
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=400, description="`next` of the page before")

    def query(self) -> Query:
        said = self.model_dump(exclude={"since", "until"})
        return Query(**said, since_ns=_ns(self.since), until_ns=_ns(self.until))


@health_routes.head(HEALTH, include_in_schema=False)
@health_routes.get(HEALTH)
def health() -> dict[str, str]:
    """Alive, and what time it is here."""
    return {"status": "ok", "time": iso(SystemClock().now_ns())}


@routes.get("/api/acquisitions")
def acquisitions(parts: Shared, asked: Annotated[Asked, Parameter()]) -> Page:
    """Search, newest first."""
    return parts.catalogue.find(asked.query())


@routes.get("/api/acquisitions/{acquisition_id}", responses=_OR_UNKNOWN)
def acquisition(acquisition_id: str, parts: Shared) -> Detail:
    """One acquisition by its id."""
    entry = parts.catalogue.get(acquisition_id)
    quarantined = parts.catalogue.quarantined(entry.dataset)
    try:
        files = parts.storage.manifest(entry.dataset)
    except Rejected:
        files = {}
    return Detail(
        entry=entry,
        files=files,
        record=record_of(parts.storage, entry.dataset),
        quarantine=quarantined[0] if quarantined else None,
        preview=parts.previews.of(entry.dataset),
        amendments=amendments(parts.storage, entry),
    )


@routes.get("/api/fleet")
def fleet(parts: Shared) -> Fleet:
    """Every instrument as it is now."""
    return parts.fleet.now()


@routes.get("/api/quarantine")
def quarantine(parts: Shared) -> list[Quarantined]:
    """Datasets that are not what their manifest says, and why; the newest first."""
    return parts.catalogue.quarantined()


@routes.get("/api/qc")
def qc(parts: Shared, instrument: _Instrument = None, metric: _Word = None) -> list[Measurement]:
    """Quality-control results by instrument, metric and time; the newest 5000."""
    return parts.catalogue.trend(instrument, metric)


@routes.get("/api/usage")
def usage(parts: Shared, instrument: _Instrument = None) -> list[Usage]:
    """What each instrument delivered each month, the newest month first."""
    return parts.catalogue.usage(instrument)


def record_of(storage: Storage, dataset: str) -> Record | None:
    """The record of a dataset, where it can be read."""
    try:
        return read_record(storage, dataset)
    except (Rejected, ValidationError):
        return None


def _ns(when: datetime | None) -> int | None:
    return int(when.timestamp() * 1_000_000) * 1000 if when is not None else None
