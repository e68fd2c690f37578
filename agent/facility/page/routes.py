"""Addresses for people: fleet, dataset, quality control, usage, quarantine; and the stream that keeps a page live."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Query as Parameter
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from agent.contract.layout import DATA, MANIFEST, METHODS
from agent.errors import Rejected
from agent.facility.access import Reader, check_read, everything
from agent.facility.api import record_of
from agent.facility.fleet import Fleet
from agent.facility.naming import check_dataset
from agent.facility.page.asking import Asking
from agent.facility.page.charts import trends, usage_table
from agent.facility.page.render import policy, render
from agent.facility.parts import Parts, Shared, parts_of
from agent.facility.refusal import Refusal, Unknown
from agent.facility.storage import Storage

_MAX_METHODS = 64 * 1024
_MAX_PICTURES = 99
_MAX_DOCUMENTS = 20
_FLEET_WIDE = [Depends(everything)]
_Instrument = Annotated[str, Parameter(max_length=130)]


def page_routes() -> APIRouter:
    """The pages; one router an app, for it keeps the last picture of the fleet."""
    routes = APIRouter(include_in_schema=False)
    picture = Picture()

    @routes.head("/", dependencies=_FLEET_WIDE)
    @routes.get("/", dependencies=_FLEET_WIDE)
    def fleet(parts: Shared, asked: Annotated[Asking, Parameter()]) -> HTMLResponse:
        found = parts.catalogue.find(asked.query())
        more = asked.address(found.next) if found.next else None
        return _page(parts, "fleet.html", fleet=parts.fleet.now(), entries=found.items, more=more, asked=asked)

    @routes.get("/events", dependencies=_FLEET_WIDE)
    async def events(parts: Shared) -> StreamingResponse:
        async def fragments(version: int) -> Mapping[str, str]:
            return await picture.at(version, parts)

        return StreamingResponse(
            parts.hub.stream(fragments),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    _figures(routes)

    @routes.get("/preview/{dataset:path}/{number}.png")
    def preview(dataset: str, number: int, request: Request, parts: Shared, who: Reader) -> Response:
        check_dataset(dataset)
        check_read(request, parts, who, dataset)
        found = parts.previews.picture(dataset, number) if 0 <= number <= _MAX_PICTURES else None
        if found is None:
            raise Unknown("there is no such picture")
        headers = {"Cache-Control": "max-age=600", "X-Content-Type-Options": "nosniff"}
        return Response(found, media_type="image/png", headers=headers)

    @routes.get("/view/{dataset:path}")
    def view(dataset: str, request: Request, parts: Shared, who: Reader) -> HTMLResponse:
        check_dataset(dataset)
        check_read(request, parts, who, dataset)
        quarantined = parts.catalogue.quarantined(dataset)
        return _page(
            parts,
            "dataset.html",
            dataset=dataset,
            entry=parts.catalogue.at(dataset),
            record=record_of(parts.storage, dataset),
            hashes=(hashes := _hashes(parts.storage, dataset)),
            sizes=_sizes(parts.storage, dataset, hashes),
            methods=_methods(parts.storage, dataset),
            preview=parts.previews.of(dataset),
            put_off=parts.previews.is_waiting(dataset),
            quarantined=quarantined[0] if quarantined else None,
        )

    return routes


def _figures(routes: APIRouter) -> None:
    """Pages of numbers about the whole fleet."""

    @routes.get("/qc", dependencies=_FLEET_WIDE)
    def qc(parts: Shared, instrument: _Instrument = "") -> HTMLResponse:
        shown = trends(parts.catalogue.trend(instrument or None))
        return _page(parts, "qc.html", trends=shown, instrument=instrument)

    @routes.get("/usage", dependencies=_FLEET_WIDE)
    def usage(parts: Shared, instrument: _Instrument = "") -> HTMLResponse:
        table = usage_table(parts.catalogue.usage(instrument or None))
        return _page(parts, "usage.html", table=table, instrument=instrument)

    @routes.get("/quarantine", dependencies=_FLEET_WIDE)
    def quarantine(parts: Shared) -> HTMLResponse:
        return _page(parts, "quarantine.html", datasets=parts.catalogue.quarantined())


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
    return _page(parts_of(request), "error.html", status, message=message, number=status)


def _page(parts: Parts, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    headers = {
        "Content-Security-Policy": policy(),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    text = render(template, title=parts.settings.title, here=template.removesuffix(".html"), **values)
    return HTMLResponse(text, status_code=status, headers=headers)


def _fragments(parts: Parts) -> dict[str, str]:
    now: Fleet = parts.fleet.now()
    found = {
        "link": render("link.html", fleet=now),
        "summary": render("summary.html", fleet=now),
        "recent": render("recent.html", entries=now.recent),
    }
    return found | {f"scope-{scope.key}": render("card.html", scope=scope) for scope in now.microscopes}


def _hashes(storage: Storage, dataset: str) -> dict[str, str]:
    try:
        return storage.manifest(dataset)
    except Rejected:
        return {}


def _sizes(storage: Storage, dataset: str, hashes: Mapping[str, str]) -> dict[str, int]:
    """Bytes of the documents, whose sizes no record tells; those of the data are in it."""
    found = {}
    for path in [*(path for path in hashes if not path.startswith(f"{DATA}/")), MANIFEST][:_MAX_DOCUMENTS]:
        with suppress(Refusal):
            found[path] = storage.open(dataset, path).size
    return found


def _methods(storage: Storage, dataset: str) -> str | None:
    try:
        return storage.open(dataset, METHODS).all(_MAX_METHODS).decode("utf-8", "replace")
    except Refusal:
        return None
