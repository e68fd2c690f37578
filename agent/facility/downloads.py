"""What readers take away: files, their documents by name, and a whole dataset as one zip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from agent.contract.layout import COMPANION, CRATE, METHODS, RECORD
from agent.contract.upload import DATASETS
from agent.errors import Damaged
from agent.facility.access import Reader, audit, check_read
from agent.facility.naming import check_dataset
from agent.facility.parts import Parts, Shared
from agent.facility.refusal import Refusal
from agent.facility.storage import Stored
from agent.facility.zipping import zip_blocks

_LEVELS = 6
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_SAFE = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
"""What a user uploaded is never shown as a page of ours."""
_DOCUMENTS = {
    "record": (RECORD, "application/json"),
    "ome-xml": (COMPANION, "application/xml"),
    "crate": (CRATE, "application/ld+json"),
    "methods": (METHODS, "text/plain; charset=utf-8"),
}

_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The bytes, as an attachment"}
}
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {}}, "description": "The dataset, not compressed"}
}

routes = APIRouter(tags=["download"])


@routes.get("/files/{path:path}", responses=_BYTES, response_class=StreamingResponse)
def download(path: str, request: Request, parts: Shared, who: Reader) -> StreamingResponse:
    """A file of a committed dataset, or a range of its bytes."""
    levels = path.split("/")
    dataset, member = "/".join(levels[:_LEVELS]), "/".join(levels[_LEVELS:])
    check_dataset(dataset)
    check_read(request, parts, who, dataset)
    file = parts.storage.open(dataset, member)
    audit(request, parts, "download", "done", who, dataset=dataset, file=member)
    return _ranged(request, file, levels[-1])


@routes.head("/files/{path:path}", include_in_schema=False)
def announce(path: str, request: Request, parts: Shared, who: Reader) -> Response:
    """What a download would answer, without the bytes: programs that load in parts ask first."""
    would = download(path, request, parts, who)
    return Response(status_code=would.status_code, headers=dict(would.headers))


@routes.get(DATASETS + "/{dataset:path}/zip", responses=_ZIP, response_class=StreamingResponse)
def whole(dataset: str, request: Request, parts: Shared, who: Reader) -> StreamingResponse:
    """A whole dataset as a zip; each file is compared with the manifest on its way, a difference breaks the zip off."""
    check_dataset(dataset)
    check_read(request, parts, who, dataset)
    bad = parts.catalogue.quarantined(dataset)
    if bad:
        raise Refusal(f"{dataset} is in quarantine: {bad[0].reason}", HTTPStatus.CONFLICT)
    hashes = parts.storage.manifest(dataset)
    audit(request, parts, "download", "done", who, dataset=dataset, file="zip")
    leaf = dataset.rpartition("/")[2]
    return StreamingResponse(
        _told(parts, dataset, zip_blocks(parts.storage, dataset, hashes)),
        media_type="application/zip",
        headers=_SAFE | {"Content-Disposition": f'attachment; filename="{leaf}.zip"'},
    )


@routes.get("/api/datasets/{dataset:path}/{document}", response_class=StreamingResponse)
def document(
    dataset: str,
    document: Literal["record", "ome-xml", "crate", "methods"],
    request: Request,
    parts: Shared,
    who: Reader,
) -> StreamingResponse:
    """The record, the OME-XML, the RO-Crate or the methods text of a dataset."""
    check_dataset(dataset)
    check_read(request, parts, who, dataset)
    name, media_type = _DOCUMENTS[document]
    file = parts.storage.open(dataset, name)
    headers = _SAFE | {"Content-Length": str(file.size)}
    return StreamingResponse(file.blocks(), media_type=media_type, headers=headers)


def _told(parts: Parts, dataset: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from blocks
    except Damaged as error:
        # The status is sent already: that the zip is cut off is the only answer left.
        parts.quarantine.add(dataset, str(error), stored=True)
        raise


def _ranged(request: Request, file: Stored, name: str) -> StreamingResponse:
    headers = _SAFE | {"Accept-Ranges": "bytes", "Content-Disposition": _attachment(name)}
    start, end, status = 0, file.size, HTTPStatus.OK
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked and (asked[1] or asked[2]):
        start = int(asked[1]) if asked[1] else max(0, file.size - int(asked[2]))
        end = min(file.size, int(asked[2]) + 1) if asked[1] and asked[2] else file.size
        if start >= end:
            raise Refusal(f"the file has {file.size} bytes", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(
        file.blocks(start, end), status_code=status, media_type="application/octet-stream", headers=headers
    )


def _attachment(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
