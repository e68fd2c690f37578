"""Target `facility`: the project's own server over HTTP(S), tus 1.0 for files, then a commit (contract.upload)."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from agent.contract import upload
from agent.contract.layout import MANIFEST
from agent.delivery.port import Held, Outgoing
from agent.delivery.settings import DeliverySettings
from agent.errors import Misconfigured, Mismatch, NoSpace, Rejected, Retryable, Unreachable

_TUS = {"Tus-Resumable": upload.TUS_VERSION}
_BODY = _TUS | {"Content-Type": "application/offset+octet-stream"}


class FacilityTarget:
    """See Target. Chunks carry SHA-256; the facility answers with its own hash of the whole file."""

    name = "facility"

    def __init__(self, settings: DeliverySettings) -> None:
        self._chunk = settings.chunk_mib << 20
        self._last: tuple[str, Held] | None = None
        self._client = httpx.Client(
            base_url=str(settings.url),
            headers=_authorization(read_token(settings)),
            verify=str(settings.ca_file) if settings.ca_file else True,
            timeout=httpx.Timeout(settings.stall_s, connect=min(settings.stall_s, 10)),
            # A facility is reached directly; a proxy for the web would only stand in the way.
            trust_env=False,
        )

    def check(self) -> None:
        self._ask("OPTIONS", upload.UPLOAD)

    def send(self, dataset: str, file: Outgoing) -> str:
        location, offset = self._resume(file)
        if location is None:
            created = self._create(dataset, file)
            if created.status_code == 409:
                return self._committed(dataset, file, created)
            if created.headers.get(upload.SHA256_HEADER):
                return str(created.headers[upload.SHA256_HEADER])
            location, offset = str(created.headers["Location"]), int(created.headers.get("Upload-Offset", 0))
            file.on_upload(location)
        return self._patch(location, offset, file)

    def commit(self, dataset: str, manifest: bytes) -> Held:
        path = f"{upload.DATASETS}/{quote(dataset)}/{MANIFEST}"
        answer = self._ask("PUT", path, content=manifest, accept=(200, 409))
        return _held(answer)

    def held(self, dataset: str) -> Held:
        answer = self._ask("GET", f"{upload.DATASETS}/{quote(dataset)}/verify", accept=(200, 404, 409))
        if answer.status_code != 200:
            raise Rejected(f"the facility has no committed dataset {dataset}")
        return _held(answer)

    def close(self) -> None:
        self._client.close()

    def _resume(self, file: Outgoing) -> tuple[str | None, int]:
        """Location and offset of an earlier try; an answer of another length or age is no place to resume."""
        if file.upload is None:
            return None, 0
        answer = self._ask("HEAD", file.upload, headers=_TUS, accept=(200, 204, 404, 410))
        if answer.status_code in (404, 410) or answer.headers.get("Upload-Length") != str(file.size):
            return None, 0
        return file.upload, int(answer.headers["Upload-Offset"])

    def _create(self, dataset: str, file: Outgoing) -> httpx.Response:
        """Create the upload; a file of one chunk goes out with it."""
        headers = _TUS | {
            "Upload-Length": str(file.size),
            "Upload-Metadata": f"dataset {_b64(dataset)},path {_b64(file.target)}",
        }
        body = b""
        if file.size <= self._chunk:
            body = b"".join(file.blocks(0))
            headers |= _BODY | {"Upload-Checksum": _checksum(body)}
        return self._ask("POST", upload.UPLOAD, headers=headers, content=body, accept=(201, 409))

    def _committed(self, dataset: str, file: Outgoing, refusal: httpx.Response) -> str:
        """No more files are taken for this dataset: an earlier try of ours was committed, or it is another's."""
        if self._last is None or self._last[0] != dataset:
            try:
                self._last = (dataset, self.held(dataset))
            except Rejected:
                raise _refusal(refusal) from None
        digest = self._last[1].files.get(file.target)
        if digest is None:
            raise Mismatch(f"{dataset} exists at the facility without {file.target}: it is another acquisition's")
        return digest

    def _patch(self, location: str, offset: int, file: Outgoing) -> str:
        digest: str | None = None
        for chunk in _chunks(file.blocks(offset), self._chunk):
            headers = _BODY | {"Upload-Offset": str(offset), "Upload-Checksum": _checksum(chunk)}
            answer = self._ask("PATCH", location, headers=headers, content=chunk, accept=(204,))
            offset += len(chunk)
            digest = answer.headers.get(upload.SHA256_HEADER)
        if digest is None:
            # Everything had arrived before the last cut: only its hash is missing.
            answer = self._ask("HEAD", location, headers=_TUS, accept=(200, 204))
            digest = answer.headers.get(upload.SHA256_HEADER)
        if digest is None:
            raise Retryable(f"the facility holds {offset} of {file.size} bytes of {file.target}")
        return digest

    def _ask(self, method: str, path: str, *, accept: tuple[int, ...] = (200, 204), **how: Any) -> httpx.Response:
        with _translated(self._client.base_url):
            answer = self._client.request(method, path, **how)
        if answer.status_code in accept:
            return answer
        raise _refusal(answer)


def read_token(settings: DeliverySettings) -> str:
    """The access token; empty where none is configured."""
    if settings.token_file is None:
        return os.environ.get(settings.token_env, "")
    try:
        return settings.token_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Misconfigured(f"delivery.token_file {settings.token_file} cannot be read: {error}") from error


def _authorization(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _refusal(answer: httpx.Response) -> Exception:
    """The error of our tree for an answer that was not wanted."""
    told = answer.text.strip().replace("\n", " ")[:300]
    said = f"the facility answered {answer.status_code} to {answer.request.method} {answer.request.url.path}: {told}"
    match answer.status_code:
        case 401 | 403:
            return Misconfigured(f"{said} (check the token: 'scope-agent facility token create')")
        case 507 | 413:
            return NoSpace(said) if answer.status_code == 507 else Rejected(said)
        case upload.CHECKSUM_MISMATCH:
            return Retryable(f"{said} (a chunk arrived damaged)")
        case 404 | 409 | 410 | 423 | 429:
            return Retryable(said)
        case code if code >= 500:
            return Retryable(said)
        case _:
            return Rejected(said)


@contextmanager
def _translated(address: httpx.URL) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise Unreachable(f"the facility at {address} did not answer in time") from error
    except httpx.TransportError as error:
        raise Unreachable(f"the facility at {address} cannot be reached: {error}") from error


def _held(answer: httpx.Response) -> Held:
    try:
        said = upload.CommitAnswer.model_validate_json(answer.content)
    except ValidationError as error:
        raise Mismatch(f"the facility's answer is not understood: {answer.text[:200]!r}") from error
    return Held(said.files, tuple(said.missing), tuple(said.different))


def _chunks(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Blocks joined to chunks of `size` bytes; the last may be shorter."""
    held: list[bytes] = []
    length = 0
    for block in blocks:
        held.append(block)
        length += len(block)
        if length >= size:
            whole = b"".join(held)
            yield whole[:size]
            held, length = ([whole[size:]], len(whole) - size) if len(whole) > size else ([], 0)
    if length:
        yield b"".join(held)


def _checksum(body: bytes) -> str:
    return f"sha256 {base64.b64encode(hashlib.sha256(body).digest()).decode()}"


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
