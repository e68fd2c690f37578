"""The headers of tus 1.0: parsed strictly, answered completely."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from email.utils import format_datetime
from http import HTTPStatus
from typing import NamedTuple

from agent.clock import utc
from agent.contract.upload import ALGORITHMS_HEADER, OF_CHUNK, RUNNING, SHA256_HEADER, TUS_VERSION, UPLOAD
from agent.facility.refusal import Refusal
from agent.facility.storage import Upload

RESUMABLE = {"Tus-Resumable": TUS_VERSION}
BODY_TYPE = "application/offset+octet-stream"
_EXTENSIONS = "creation,creation-with-upload,checksum,termination,expiration"
_MAX_DIGITS = 18


class Checksum(NamedTuple):
    """What a body must hash to: by itself, or with all bytes of the file before it (`running`)."""

    digest: bytes
    running: bool


def abilities(max_size: int, *, running: bool) -> dict[str, str]:
    """Headers of the answer to OPTIONS; `running`: the storage knows the hash of what came before a chunk."""
    return RESUMABLE | {
        "Tus-Version": TUS_VERSION,
        "Tus-Extension": _EXTENSIONS,
        "Tus-Max-Size": str(max_size),
        ALGORITHMS_HEADER: f"{OF_CHUNK},{RUNNING}" if running else OF_CHUNK,
    }


def check_version(headers: Mapping[str, str]) -> None:
    """Raises Refusal."""
    if headers.get("tus-resumable") != TUS_VERSION:
        raise Refusal(
            f"send the header 'Tus-Resumable: {TUS_VERSION}': no other version is spoken here",
            HTTPStatus.PRECONDITION_FAILED,
        )


def check_body_type(headers: Mapping[str, str]) -> None:
    """Raises Refusal."""
    if headers.get("content-type") != BODY_TYPE:
        raise Refusal(f"send chunks with 'Content-Type: {BODY_TYPE}'", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def number(headers: Mapping[str, str], name: str) -> int:
    """A header that counts bytes, or Refusal."""
    text = headers.get(name.lower(), "")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise Refusal(f"the header {name} must be a number of bytes")
    return int(text)


def metadata(headers: Mapping[str, str], max_bytes: int) -> dict[str, str]:
    """Upload-Metadata as `{key: text}`, or Refusal."""
    header = headers.get("upload-metadata", "")
    if len(header) > max_bytes:
        raise Refusal(f"Upload-Metadata is longer than {max_bytes} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise Refusal(f"Upload-Metadata: the value of {key[:40]!r} is not base64 of UTF-8 text") from None
    return found


def checksum(headers: Mapping[str, str]) -> Checksum:
    """What Upload-Checksum tells, or Refusal: without one, nothing is accepted."""
    algorithm, _, value = headers.get("upload-checksum", "").partition(" ")
    if algorithm not in (OF_CHUNK, RUNNING):
        raise Refusal("send 'Upload-Checksum: sha256 <base64>' over the body of every request that carries bytes")
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise Refusal("Upload-Checksum is not the base64 of 32 bytes")
    return Checksum(digest, algorithm == RUNNING)


def announced(headers: Mapping[str, str]) -> int | None:
    """Length of the body where the request tells it."""
    return number(headers, "Content-Length") if "content-length" in headers else None


def standing(upload: Upload, expires_ns: int) -> dict[str, str]:
    """Headers that tell where an upload stands."""
    headers = RESUMABLE | {
        "Upload-Offset": str(upload.offset),
        "Upload-Expires": format_datetime(utc(expires_ns), usegmt=True),
    }
    return headers | ({SHA256_HEADER: upload.sha256} if upload.sha256 else {})


def location(upload: Upload) -> str:
    """Relative, so that it holds behind a proxy too."""
    return f"{UPLOAD}/{upload.id}"
