"""The JSON API for reading, and the health of the facility."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi import Query as Parameter
from pydantic import AwareDatetime, BaseModel, ValidationError

from agent.clock import SystemClock, iso
from agent.contract.record import Record
from agent.contract.upload import HEALTH
from agent.facility.access import everything
from agent.facility.catalogue import Entry, Page, Query
from agent.facility.fleet import Fleet
from agent.facility.indexing import read_record
from agent.facility.parts import Shared
from agent.facility.refusal import Unknown
from agent.facility.storage import Storage

routes = APIRouter(tags=["catalogue"], dependencies=[Depends(everything)])
health_routes = APIRouter(tags=["health"])


class Detail(BaseModel):
    """An acquisition: its row, the hashes of its files, and its record where it can be read."""

    entry: Entry
    files: dict[str, str]
    record: Record | None


@health_routes.get(HEALTH)
def health() -> dict[str, str]:
    """Alive, and what time it is here."""
    return {"status": "ok", "time": iso(SystemClock().now_ns())}


@routes.get("/api/acquisitions")
def acquisitions(
    parts: Shared,
    instrument: Annotated[str | None, Parameter(max_length=130)] = None,
    q: Annotated[str, Parameter(max_length=200)] = "",
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: Annotated[int, Parameter(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Parameter(max_length=400)] = None,
) -> Page:
    """Search, newest first. `q`: words that all occur in names, user, project, sample, objective or channels."""
    return parts.catalogue.find(
        Query(instrument=instrument, q=q, since_ns=_ns(since), until_ns=_ns(until), limit=limit, cursor=cursor)
    )


@routes.get("/api/acquisitions/{acquisition_id}")
def acquisition(acquisition_id: str, parts: Shared) -> Detail:
    """One acquisition by its id."""
    entry = parts.catalogue.get(acquisition_id)
    return Detail(
        entry=entry, files=parts.storage.manifest(entry.dataset), record=_record(parts.storage, entry.dataset)
    )


@routes.get("/api/fleet")
def fleet(parts: Shared) -> Fleet:
    """Every instrument as it is now."""
    return parts.fleet.now()


def _record(storage: Storage, dataset: str) -> Record | None:
    try:
        return read_record(storage, dataset)
    except (Unknown, ValidationError):
        return None


def _ns(when: datetime | None) -> int | None:
    return int(when.timestamp() * 1_000_000) * 1000 if when is not None else None
