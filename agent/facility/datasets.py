"""Commit, verify and download of datasets."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from agent.contract.layout import MANIFEST
from agent.contract.upload import DATASETS, CommitAnswer
from agent.errors import ScopeAgentError
from agent.facility.access import Reader, Writer, audit, check_read, check_write
from agent.facility.indexing import index
from agent.facility.intake import drain
from agent.facility.naming import check_dataset
from agent.facility.parts import Parts, Shared
from agent.facility.refusal import TooLarge

_LEVELS = 6
log = logging.getLogger(__name__)

routes = APIRouter(tags=["datasets"])


@routes.put(DATASETS + "/{dataset:path}/" + MANIFEST, response_model=CommitAnswer)
async def commit(dataset: str, request: Request, parts: Shared, who: Writer) -> Response:
    """Make a dataset visible; 409 when files are missing or differ."""
    check_dataset(dataset)
    check_write(who, dataset)
    manifest = await _body(request, parts.settings.max_manifest_bytes)
    answer = await run_in_threadpool(_commit, parts, dataset, manifest)
    audit.info("%s commits %s: %s", who.name, dataset, "verified" if answer.verified else "refused")
    if answer.verified:
        parts.hub.wake()
    return JSONResponse(answer.model_dump(), status_code=200 if answer.verified else 409)


@routes.get(DATASETS + "/{dataset:path}/verify", response_model=CommitAnswer)
async def verify(dataset: str, parts: Shared, who: Writer) -> Response:
    """Hash what is stored now; 409 for a dataset that is not committed yet."""
    check_dataset(dataset)
    check_read(who, dataset)
    async with parts.hashing:
        answer = await run_in_threadpool(parts.storage.verify, dataset)
    committed = answer.verified or parts.storage.is_committed(dataset)
    return JSONResponse(answer.model_dump(), status_code=200 if committed else 409)


@routes.get("/files/{path:path}")
def download(path: str, parts: Shared, who: Reader) -> FileResponse:
    """A file of a committed dataset, as an attachment: what a user uploaded is never shown as a page of ours."""
    levels = path.split("/")
    dataset, member = "/".join(levels[:_LEVELS]), "/".join(levels[_LEVELS:])
    check_dataset(dataset)
    check_read(who, dataset)
    file = parts.storage.file(dataset, member)
    return FileResponse(
        file,
        filename=file.name,
        media_type="application/octet-stream",
        headers={"Content-Security-Policy": "sandbox; default-src 'none'"},
    )


def _commit(parts: Parts, dataset: str, manifest: bytes) -> CommitAnswer:
    answer = parts.storage.commit(dataset, manifest)
    if answer.verified:
        try:
            index(parts.catalogue, parts.storage, dataset)
        except ScopeAgentError:
            # The dataset is safe; the catalogue catches up at the next start.
            log.exception("%s is committed but not catalogued", dataset)
    return answer


async def _body(request: Request, limit: int) -> bytes:
    pieces, total = [], 0
    async for piece in request.stream():
        total += len(piece)
        if total > limit:
            await drain(request)
            raise TooLarge(f"the manifest is longer than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)
