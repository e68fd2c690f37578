"""The application: its parts, its endpoints, and what runs beside them for as long as it lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from agent import __version__
from agent.errors import NoSpace, Rejected, Retryable, ScopeAgentError
from agent.facility import api, datasets, uploads
from agent.facility.broker import Subscriber
from agent.facility.catalogue import Catalogue
from agent.facility.fleet import FleetView
from agent.facility.folder import FolderStorage
from agent.facility.indexing import reconcile
from agent.facility.live import Mirror
from agent.facility.page.routes import error_page, page_routes
from agent.facility.parts import Parts
from agent.facility.refusal import Refusal
from agent.facility.settings import Settings
from agent.facility.stream import Hub
from agent.facility.tokens import TokenFile

log = logging.getLogger(__name__)

_HOUSEKEEPING_S = 3600.0


def create_app(settings: Settings) -> FastAPI:
    """The facility as an ASGI application. Raises Retryable when the catalogue cannot be opened."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    mirror = Mirror(settings.prefix)
    catalogue = Catalogue(settings.catalogue)
    parts = Parts(
        settings=settings,
        storage=FolderStorage(settings),
        catalogue=catalogue,
        tokens=TokenFile(settings.tokens),
        mirror=mirror,
        hub=Hub(settings.max_viewers),
        fleet=FleetView(mirror, catalogue),
    )
    # The usual documentation pages load scripts from elsewhere; openapi.json does not.
    app = FastAPI(title="scope-agent facility", version=__version__, lifespan=_lifespan, docs_url=None, redoc_url=None)
    app.state.parts = parts
    app.add_exception_handler(ScopeAgentError, _answer)
    app.include_router(uploads.router())
    for routes in (datasets.routes, api.routes, api.health_routes, page_routes()):
        app.include_router(routes)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    parts.hub.bind()
    parts.mirror.on_change = parts.hub.wake
    subscriber = Subscriber(parts.settings, parts.mirror) if parts.settings.broker_host else None
    if subscriber:
        subscriber.start()
    keeping = asyncio.create_task(_housekeeping(parts))
    try:
        yield
    finally:
        parts.hub.close()
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        if subscriber:
            await run_in_threadpool(subscriber.stop)
        parts.catalogue.close()


async def _housekeeping(parts: Parts) -> None:
    """At start and every hour: catch up with the datasets, remove what was abandoned."""
    while True:
        try:
            changed = await run_in_threadpool(reconcile, parts.catalogue, parts.storage)
            expired = await run_in_threadpool(parts.storage.expire)
        except (ScopeAgentError, OSError):
            log.exception("housekeeping did not finish: trying again in an hour")
        else:
            if changed:
                log.info("catalogue: %d datasets caught up with", changed)
                parts.hub.wake()
            if expired:
                log.info("removed %d abandoned uploads", expired)
        await asyncio.sleep(_HOUSEKEEPING_S)


async def _answer(request: Request, error: Exception) -> Response:
    """One line in JSON, or a page for a person."""
    status = _status(error)
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        answer: Response = error_page(request, status, str(error))
    else:
        answer = JSONResponse({"detail": str(error)}, status_code=status)
    if status == 401:
        reading = request.method == "GET" and not request.url.path.startswith("/datasets")
        answer.headers["WWW-Authenticate"] = 'Basic realm="facility", charset="UTF-8"' if reading else "Bearer"
    if request.url.path.startswith("/upload"):
        answer.headers["Tus-Resumable"] = "1.0.0"
        answer.headers["Tus-Version"] = "1.0.0"
    return answer


def _status(error: Exception) -> int:
    match error:
        case Refusal():
            return error.status
        case NoSpace():
            return 507
        case Rejected():
            return 400
        case Retryable():
            return 503
        case _:
            return 500
