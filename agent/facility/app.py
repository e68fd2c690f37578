"""The application: its parts, its endpoints, and what is answered where something is wrong."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from agent import __version__
from agent.errors import NoSpace, Rejected, Retryable, ScopeAgentError
from agent.facility import api, datasets, downloads, uploads
from agent.facility.audit import Audit
from agent.facility.catalogue import Catalogue
from agent.facility.checking import Checker
from agent.facility.fleet import FleetView
from agent.facility.folder import FolderStorage
from agent.facility.limits import Limit
from agent.facility.live import Mirror
from agent.facility.living import lifespan
from agent.facility.page.routes import error_page, page_routes
from agent.facility.parts import Parts
from agent.facility.previews import Previews
from agent.facility.quarantine import Quarantine
from agent.facility.refusal import Refusal
from agent.facility.settings import Settings
from agent.facility.storage import Storage
from agent.facility.stream import Hub
from agent.facility.tokens import TokenFile

_BURST_S = 10


def open_storage(settings: Settings) -> Storage:
    """The storage that the settings name. Raises Misconfigured."""
    if not settings.is_remote:
        return FolderStorage(settings)
    from agent.facility.objects import ObjectStorage
    from agent.facility.objects_client import connect

    return ObjectStorage(settings, connect(settings))


def create_app(settings: Settings) -> FastAPI:
    """The facility as an ASGI application. Raises Retryable when the catalogue cannot be opened, Misconfigured."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # The usual documentation pages load scripts from elsewhere; openapi.json does not.
    app = FastAPI(title="scope-agent facility", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.parts = _parts(settings)
    app.add_exception_handler(ScopeAgentError, _answer)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(HTTPException, _not_served)
    app.include_router(uploads.router())
    for routes in (datasets.routes, downloads.routes, api.routes, api.health_routes, page_routes()):
        app.include_router(routes)
    return app


def _parts(settings: Settings) -> Parts:
    storage, catalogue, mirror = open_storage(settings), Catalogue(settings.catalogue), Mirror(settings.prefix)
    quarantine = Quarantine(catalogue, storage, settings.prefix)
    failures_per_s = settings.failures_per_minute / 60
    return Parts(
        settings=settings,
        storage=storage,
        catalogue=catalogue,
        tokens=TokenFile(settings.tokens),
        mirror=mirror,
        hub=Hub(settings.max_viewers),
        fleet=FleetView(mirror, catalogue),
        quarantine=quarantine,
        checker=Checker(catalogue, storage, quarantine, settings.recheck_days),
        previews=Previews(storage, mirror.is_acquiring),
        audit=Audit(settings.audit),
        reading=Limit(settings.reads_per_s, _BURST_S * settings.reads_per_s),
        writing=Limit(settings.writes_per_s, _BURST_S * settings.writes_per_s),
        failing=Limit(failures_per_s, settings.failures_per_minute),
    )


async def _answer(request: Request, error: Exception) -> Response:
    """One line in JSON, or a page for a person."""
    status = _status(error)
    if _is_person(request):
        answer: Response = error_page(request, status, str(error))
    else:
        answer = JSONResponse({"detail": str(error)}, status_code=status)
    if status == HTTPStatus.UNAUTHORIZED:
        reading = request.method == "GET" and not request.url.path.endswith("/verify")
        answer.headers["WWW-Authenticate"] = 'Basic realm="facility", charset="UTF-8"' if reading else "Bearer"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        answer.headers["Retry-After"] = "2"
    if request.url.path.startswith("/upload"):
        answer.headers["Tus-Resumable"] = "1.0.0"
        answer.headers["Tus-Version"] = "1.0.0"
    return answer


async def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if not _is_person(request):
        return await request_validation_exception_handler(request, error)
    told = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return error_page(request, HTTPStatus.UNPROCESSABLE_ENTITY, told)


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not _is_person(request):
        return await http_exception_handler(request, error)
    return error_page(
        request, error.status_code, "There is no such page." if error.status_code == 404 else error.detail
    )


def _is_person(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _status(error: Exception) -> int:
    match error:
        case Refusal():
            return error.status
        case NoSpace():
            return HTTPStatus.INSUFFICIENT_STORAGE
        case Rejected():
            return HTTPStatus.BAD_REQUEST
        case Retryable():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR
