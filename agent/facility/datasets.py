"""Commit and verify of datasets."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from agent.clock import SystemClock
from agent.contract.layout import MANIFEST
from agent.contract.upload import DATASETS, CommitAnswer
from agent.errors import ScopeAgentError
from agent.facility.access import Writer, audit, check_read, check_write
from agent.facility.comparing import told
from agent.facility.indexing import index
from agent.facility.intake import drain
from agent.facility.naming import check_dataset
from agent.facility.parts import Parts, Shared
from agent.facility.refusal import Refusal

log = logging.getLogger(__name__)

routes = APIRouter(tags=["datasets"])
_MANIFEST_BODY = {"requestBody": {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}}


@routes.put(DATASETS + "/{dataset:path}/" + MANIFEST, response_model=CommitAnswer, openapi_extra=_MANIFEST_BODY)
async def commit(dataset: str, request: Request, parts: Shared, who: Writer) -> Response:
    """Make a dataset visible; 409 when files are missing or differ."""
    check_dataset(dataset)
    check_write(request, parts, who, dataset)
    manifest = await _body(request, parts.settings.max_manifest_bytes, parts.settings.stall_s)
    answer = await run_in_threadpool(_commit, parts, dataset, manifest)
    audit(request, parts, "commit", "done" if answer.verified else "refused", who, dataset=dataset)
    parts.hub.wake()
    return JSONResponse(answer.model_dump(), status_code=200 if answer.verified else 409)


@routes.get(DATASETS + "/{dataset:path}/verify", response_model=CommitAnswer)
async def verify(dataset: str, request: Request, parts: Shared, who: Writer) -> Response:
    """Hash what is stored now; 409 for a dataset that is not committed yet."""
    check_dataset(dataset)
    check_read(request, parts, who, dataset)
    async with parts.hashing:
        answer = await run_in_threadpool(parts.checker.check, dataset)
    committed = answer.verified or await run_in_threadpool(parts.storage.is_committed, dataset)
    return JSONResponse(answer.model_dump(), status_code=200 if committed else 409)


def _commit(parts: Parts, dataset: str, manifest: bytes) -> CommitAnswer:
    answer = parts.storage.commit(dataset, manifest)
    try:
        if answer.verified:
            index(parts.catalogue, parts.storage, dataset)
            # Its bytes were hashed when they arrived.
            parts.catalogue.checked(dataset, SystemClock().now_ns())
            parts.quarantine.end(dataset)
            parts.previews.want(dataset)
        elif answer.files and not parts.storage.is_committed(dataset):
            parts.quarantine.add(dataset, told(answer), stored=False)
    except ScopeAgentError:
        # The dataset is as it is; the catalogue catches up at the next start.
        log.exception("%s is committed, but the catalogue does not know", dataset)
    return answer


async def _body(request: Request, limit: int, stall_s: float) -> bytes:
    pieces, total = [], 0
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(stall_s) as patience:
            async for piece in request.stream():
                patience.reschedule(clock() + stall_s)
                total += len(piece)
                if total > limit:
                    await drain(request)
                    told = f"the manifest is longer than {limit} bytes"
                    raise Refusal(told, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                pieces.append(piece)
    except TimeoutError:
        raise Refusal(f"nothing arrived for {stall_s:g} s: send it again", HTTPStatus.REQUEST_TIMEOUT) from None
    return b"".join(pieces)
