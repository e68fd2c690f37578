"""Addresses for people: the fleet, a dataset, and the stream that keeps the fleet live."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameter
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from agent.contract.layout import METHODS
from agent.contract.record import Record
from agent.facility.access import Reader, check_read, everything
from agent.facility.catalogue import Query
from agent.facility.fleet import Fleet
from agent.facility.indexing import read_record
from agent.facility.naming import check_dataset
from agent.facility.page.render import policy, render
from agent.facility.parts import Parts, Shared, parts_of
from agent.facility.refusal import Unknown
from agent.facility.storage import Storage

_MAX_METHODS = 64 * 1024


def page_routes() -> APIRouter:
    """The pages; one router an app, for it keeps the last picture of the fleet."""
    routes = APIRouter(include_in_schema=False)
    picture = Picture()

    @routes.get("/", dependencies=[Depends(everything)])
    def fleet(
        parts: Shared,
        q: Annotated[str, Parameter(max_length=200)] = "",
        instrument: Annotated[str, Parameter(max_length=130)] = "",
        cursor: Annotated[str | None, Parameter(max_length=400)] = None,
    ) -> HTMLResponse:
        searching = bool(q or instrument or cursor)
        now = parts.fleet.now()
        found = parts.catalogue.find(Query(instrument=instrument or None, q=q, limit=20, cursor=cursor))
        return _html(
            render(
                "fleet.html",
                title=parts.settings.title,
                fleet=now,
                entries=found.items,
                next=found.next,
                q=q,
                instrument=instrument,
                searching=searching,
            )
        )

    @routes.get("/events", dependencies=[Depends(everything)])
    async def events(parts: Shared) -> StreamingResponse:
        async def fragments(version: int) -> Mapping[str, str]:
            return await picture.at(version, parts)

        return StreamingResponse(
            parts.hub.stream(fragments),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    @routes.get("/view/{dataset:path}")
    def view(dataset: str, parts: Shared, who: Reader) -> HTMLResponse:
        check_dataset(dataset)
        check_read(who, dataset)
        storage = parts.storage
        return _html(
            render(
                "dataset.html",
                title=parts.settings.title,
                dataset=dataset,
                entry=parts.catalogue.at(dataset),
                record=_record(storage, dataset),
                hashes=storage.manifest(dataset),
                methods=_methods(storage, dataset),
            )
        )

    return routes


class Picture:
    """The fleet as fragments of HTML, made once for all who look."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._version = 0
        self._fragments: Mapping[str, str] = {}

    async def at(self, version: int, parts: Parts) -> Mapping[str, str]:
        """`{element id: html}`, as new as `version` or newer."""
        async with self._lock:
            if self._version < version:
                newest = parts.hub.version
                self._fragments = await run_in_threadpool(_fragments, parts)
                self._version = newest
            return self._fragments


def error_page(request: Request, status: int, message: str) -> HTMLResponse:
    """A refusal, for a person."""
    title = parts_of(request).settings.title
    return _html(render("error.html", title=title, status=status, message=message), status)


def _fragments(parts: Parts) -> dict[str, str]:
    now: Fleet = parts.fleet.now()
    found = {
        "link": render("link.html", fleet=now),
        "summary": render("summary.html", fleet=now),
        "recent": render("recent.html", entries=now.recent),
    }
    return found | {f"scope-{scope.key}": render("card.html", scope=scope) for scope in now.microscopes}


def _record(storage: Storage, dataset: str) -> Record | None:
    try:
        return read_record(storage, dataset)
    except (Unknown, ValidationError):
        return None


def _methods(storage: Storage, dataset: str) -> str | None:
    try:
        with storage.file(dataset, METHODS).open("rb") as file:
            return file.read(_MAX_METHODS).decode("utf-8", "replace")
    except Unknown:
        return None


def _html(text: str, status: int = 200) -> HTMLResponse:
    headers = {
        "Content-Security-Policy": policy(),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return HTMLResponse(text, status_code=status, headers=headers)
