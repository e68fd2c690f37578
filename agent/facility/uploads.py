"""tus 1.0 over HTTP: create, append, ask, end (contract.upload)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from agent.contract.upload import UPLOAD
from agent.errors import ScopeAgentError
from agent.facility import tus
from agent.facility.access import Writer, check_write, writer
from agent.facility.intake import Lease, Turns, drain, pump
from agent.facility.naming import check_dataset, check_file
from agent.facility.parts import Parts, Shared
from agent.facility.refusal import Conflict, Refusal
from agent.facility.storage import Upload
from agent.facility.tokens import Identity


@asynccontextmanager
async def _answerable(request: Request) -> AsyncIterator[None]:
    """Let the sender finish before a refusal, so that it gets to read it."""
    try:
        yield
    except ScopeAgentError as refusal:
        if not (isinstance(refusal, Refusal) and refusal.status == HTTPStatus.REQUEST_TIMEOUT):
            await drain(request)
        raise


def router() -> APIRouter:
    """The endpoints below `/upload`; one router an app, for it holds whose turn it is."""
    routes = APIRouter(tags=["upload"])
    turns = Turns()

    @routes.options(UPLOAD, status_code=204)
    @routes.options(UPLOAD + "/{upload_id}", status_code=204)
    def abilities(request: Request, parts: Shared) -> Response:
        if "authorization" in request.headers:
            # So that an agent can check its token without writing anything.
            writer(request, parts)
        return Response(
            status_code=204,
            headers=tus.abilities(parts.settings.max_file_bytes, running=parts.storage.keeps_running_hash),
        )

    @routes.post(UPLOAD, status_code=201)
    async def create(request: Request, parts: Shared, who: Annotated[Identity, Depends(writer)]) -> Response:
        async with _answerable(request):
            return await _create(request, parts, who, turns)

    @routes.patch(UPLOAD + "/{upload_id}", status_code=204)
    async def append(upload_id: str, request: Request, parts: Shared, who: Writer) -> Response:
        async with _answerable(request):
            tus.check_version(request.headers)
            tus.check_body_type(request.headers)
            async with turns.take(upload_id, parts.settings.stall_s) as lease:
                upload = await _mine(parts, upload_id, who)
                offset = tus.number(request.headers, "Upload-Offset")
                if upload.sha256 is not None or offset != upload.offset:
                    raise Conflict(f"the upload stands at {upload.offset}, not at {offset}: send from there")
                upload = await _receive(request, parts, upload, lease)
        return await _standing(parts, upload, 204)

    @routes.head(UPLOAD + "/{upload_id}")
    async def ask(upload_id: str, request: Request, parts: Shared, who: Writer) -> Response:
        tus.check_version(request.headers)
        async with turns.take(upload_id, parts.settings.stall_s):
            upload = await _mine(parts, upload_id, who)
        return await _standing(parts, upload, 200, {"Upload-Length": str(upload.length), "Cache-Control": "no-store"})

    @routes.delete(UPLOAD + "/{upload_id}", status_code=204)
    async def end(upload_id: str, request: Request, parts: Shared, who: Writer) -> Response:
        tus.check_version(request.headers)
        async with turns.take(upload_id, parts.settings.stall_s):
            await _mine(parts, upload_id, who)
            await run_in_threadpool(parts.storage.remove, upload_id)
        return Response(status_code=204, headers=tus.RESUMABLE)

    return routes


async def _create(request: Request, parts: Parts, who: Identity, turns: Turns) -> Response:
    headers, settings = request.headers, parts.settings
    tus.check_version(headers)
    length = tus.number(headers, "Upload-Length")
    if length > settings.max_file_bytes:
        raise Refusal(f"the file is larger than {settings.max_file_bytes} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    told = tus.metadata(headers, settings.max_metadata_bytes)
    dataset, path = check_dataset(told.get("dataset", "")), check_file(told.get("path", ""))
    check_write(request, parts, who, dataset)
    has_body = bool(tus.announced(headers)) or "transfer-encoding" in headers
    if has_body:
        _check_chunk(headers, length)
    upload = await run_in_threadpool(parts.storage.create, who.name, dataset, path, length)
    if has_body and length:
        try:
            async with turns.take(upload.id, settings.stall_s) as lease:
                upload = await _receive(request, parts, upload, lease)
        except ScopeAgentError:
            # Its address was never told: nobody could go on with it.
            await run_in_threadpool(parts.storage.remove, upload.id)
            raise
    return await _standing(parts, upload, 201, {"Location": tus.location(upload)})


def _check_chunk(headers: Mapping[str, str], left: int) -> None:
    """What can be refused before a byte is read."""
    tus.check_body_type(headers)
    tus.checksum(headers)
    if (tus.announced(headers) or 0) > left:
        raise Refusal("the body is longer than the rest of the file", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


async def _receive(request: Request, parts: Parts, upload: Upload, lease: Lease) -> Upload:
    """Append the body as one chunk: all of it counts, or nothing."""
    _check_chunk(request.headers, upload.left)
    told = tus.checksum(request.headers)
    reception = await run_in_threadpool(parts.storage.receive, upload, running=told.running)
    try:
        await pump(request, reception, upload.left, lease)
        lease.settle()
        return await run_in_threadpool(parts.storage.accept, reception, told.digest)
    except ClientDisconnect:
        raise Conflict("the sender went away before the chunk was whole") from None
    finally:
        await run_in_threadpool(reception.discard)


async def _mine(parts: Parts, upload_id: str, who: Identity) -> Upload:
    upload = await run_in_threadpool(parts.storage.upload, upload_id)
    if upload.owner != who.name:
        raise Refusal("this upload belongs to another instrument: use its token", HTTPStatus.FORBIDDEN)
    return upload


async def _standing(parts: Parts, upload: Upload, status: int, more: Mapping[str, str] | None = None) -> Response:
    expires = await run_in_threadpool(parts.storage.expires_ns, upload.id)
    return Response(status_code=status, headers=tus.standing(upload, expires) | dict(more or {}))
