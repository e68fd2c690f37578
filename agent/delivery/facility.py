"""Target `facility`: the project's own server over HTTP(S), tus 1.0 for files, then a commit (contract.upload)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from pydantic import ValidationError

from agent.contract import upload
from agent.contract.layout import MANIFEST, RECORD
from agent.delivery.ahead import ahead
from agent.delivery.port import Held, Outgoing
from agent.delivery.refusal import refusal
from agent.delivery.settings import DeliverySettings, read_token
from agent.delivery.wire import Answer, Body, Wire
from agent.errors import Mismatch, Rejected, Retryable, Unreachable

_TUS = {"Tus-Resumable": upload.TUS_VERSION}
_BODY = _TUS | {"Content-Type": "application/offset+octet-stream"}
_VERIFY_S = 3600.0
"""Patience with a facility that hashes a whole dataset before it answers."""
_COMMIT_S = 120.0
"""A facility that lost its ledger hashes again before it commits, and goes on with that while we ask again."""
_STALE = 3
"""An offset told right after a cut may be an old one: so often it is asked for anew."""


class FacilityTarget:
    """See Target. Chunks carry SHA-256; the facility answers with its own hash of the whole file."""

    name = "facility"

    def __init__(self, settings: DeliverySettings) -> None:
        self._settings = settings
        self._chunk = self.at_once = settings.chunk_mib << 20
        self._last: tuple[str, Held] | None = None
        self._takes_running: bool | None = None
        """The facility takes checksums of all bytes so far; asked before the first file that is more than a chunk."""
        self._token = read_token(settings)
        self._wire = Wire(str(settings.url), "the facility", settings.stall_s, settings.ca_file)

    def check(self) -> None:
        answer = self._ask("OPTIONS", upload.UPLOAD)
        self._takes_running = upload.RUNNING in answer.headers.get(upload.ALGORITHMS_HEADER).split(",")

    def doubts(self) -> list[str]:
        return []

    def send(self, dataset: str, file: Outgoing) -> str:
        location, offset = self._resume(file)
        if location is None:
            created = self._create(dataset, file)
            if created.status == 409:
                return self._committed(dataset, file, created)
            if digest := created.headers.get(upload.SHA256_HEADER):
                return digest
            location, offset = created.headers.get("Location"), int(created.headers.get("Upload-Offset", "0"))
            file.on_upload(location)
        return self._send_rest(location, offset, file)

    def commit(self, dataset: str, manifest: bytes) -> Held:
        path = f"{upload.DATASETS}/{quote(dataset)}/{MANIFEST}"
        return _held(self._ask("PUT", path, body=Body.of(manifest), accept=(200, 409), patience_s=_COMMIT_S), dataset)

    def held(self, dataset: str) -> Held:
        path = f"{upload.DATASETS}/{quote(dataset)}/verify"
        answer = self._ask("GET", path, accept=(200, 404, 409), patience_s=_VERIFY_S)
        if answer.status != 200:
            raise Rejected(f"the facility has no committed dataset {dataset}")
        return _held(answer, dataset)

    def record(self, dataset: str, name: str = RECORD) -> bytes | None:
        # Only what is committed is answered.
        answer = self._ask("GET", f"/files/{quote(f'{dataset}/{name}')}", accept=(200, 404))
        return answer.body if answer.status == 200 else None

    def abandon(self, upload: str) -> None:
        if not upload.startswith(("/", "http:", "https:")):
            return  # another kind of target left it in the outbox, or it is no upload
        self._ask("DELETE", upload, headers=_TUS, accept=(200, 204, 403, 404, 410))

    def close(self) -> None:
        self._wire.close()

    def _resume(self, file: Outgoing) -> tuple[str | None, int]:
        """Location and offset of an earlier try; an answer of another length or age is no place to resume."""
        if file.upload is None:
            return None, 0
        answer = self._ask("HEAD", file.upload, headers=_TUS, accept=(200, 204, 403, 404, 410))
        if answer.status in (403, 404, 410):
            return None, 0
        if answer.headers.get("Upload-Length") != str(file.size):
            self.abandon(file.upload)
            return None, 0
        return file.upload, int(answer.headers["Upload-Offset"])

    def _create(self, dataset: str, file: Outgoing) -> Answer:
        """Create the upload; a file of one chunk goes out with it."""
        headers = _TUS | {
            "Upload-Length": str(file.size),
            "Upload-Metadata": f"dataset {_b64(dataset)},path {_b64(file.target)}",
        }
        body = Body()
        if file.size <= self._chunk:
            body = Body.of(*file.blocks(0))
            headers |= _BODY | {"Upload-Checksum": _told(_digest(body, file))}
        return self._ask("POST", upload.UPLOAD, headers=headers, body=body, accept=(201, 409))

    def _committed(self, dataset: str, file: Outgoing, refused: Answer) -> str:
        """No more files are taken for this dataset: an earlier try of ours was committed, or it is another's."""
        if self._last is None or self._last[0] != dataset:
            try:
                self._last = (dataset, self.held(dataset))
            except Rejected:
                raise refusal(self._wire.what, refused) from None
        digest = self._last[1].files.get(file.target)
        if digest is None:
            raise Mismatch(f"{dataset} exists at the facility without {file.target}: it is another acquisition's")
        return digest

    def _send_rest(self, location: str, offset: int, file: Outgoing) -> str:
        """Chunks from `offset` on; a cut is gone on from for as long as every try gets further."""
        stale = 0
        if self._takes_running is None:
            self.check()
        so_far = file.so_far if self._takes_running else None
        while True:
            began = offset
            try:
                offset, digest = self._patch(location, offset, file, so_far)
                return digest or self._whole(location, file)
            except _Forgotten:
                so_far = None
            except _Elsewhere:
                stale += 1
                if stale > _STALE:
                    raise Retryable(f"the facility tells changing offsets for {file.target}") from None
            except Unreachable:
                offset = self._offset(location)
                if offset <= began:
                    raise
                continue
            offset = self._offset(location)

    def _patch(
        self, location: str, offset: int, file: Outgoing, so_far: Callable[[], str] | None
    ) -> tuple[int, str | None]:
        digest: str | None = None
        with ahead(_chunks(file.blocks(offset), self._chunk, so_far)) as chunks:
            for body, checksum in chunks:
                headers = _BODY | {"Upload-Offset": str(offset), "Upload-Checksum": checksum}
                answer = self._ask("PATCH", location, headers=headers, body=body, accept=(204, 409, 412))
                if answer.status == 409:
                    raise _Elsewhere
                if answer.status == 412:
                    raise _Forgotten
                offset += body.size
                digest = answer.headers.told(upload.SHA256_HEADER)
        return offset, digest

    def _offset(self, location: str) -> int:
        answer = self._ask("HEAD", location, headers=_TUS, accept=(200, 204))
        return int(answer.headers["Upload-Offset"])

    def _whole(self, location: str, file: Outgoing) -> str:
        """Everything had arrived before the last cut: only its hash is missing."""
        answer = self._ask("HEAD", location, headers=_TUS, accept=(200, 204))
        digest = answer.headers.told(upload.SHA256_HEADER)
        if digest is None:
            raise Retryable(f"the facility holds {answer.headers.get('Upload-Offset')} of {file.size} bytes")
        return digest

    def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accept: tuple[int, ...] = (200, 204),
        patience_s: float = 0.0,
    ) -> Answer:
        def ask() -> Answer:
            told = {**(headers or {}), **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
            return self._wire.ask(method, path, headers=told, body=body, patience_s=patience_s)

        answer = ask()
        if answer.status == 401 and (token := read_token(self._settings)) != self._token:
            # Somebody renewed the token while we ran.
            self._token = token
            answer = ask()
        if answer.status in accept:
            return answer
        raise refusal(self._wire.what, answer)


class _Elsewhere(Exception):
    """The upload does not stand where we thought."""


class _Forgotten(Exception):
    """The facility does not know the hash of what it holds so far, as after a restart."""


def _held(answer: Answer, dataset: str) -> Held:
    try:
        said = upload.CommitAnswer.model_validate_json(answer.body)
    except ValidationError as error:
        raise Retryable(f"the facility's answer is not understood: {answer.text[:200]!r}") from error
    if said.dataset != dataset:
        raise Retryable(f"the facility answered for {said.dataset} when it was asked for {dataset}: asking again")
    return Held(said.files, tuple(said.missing), tuple(said.different))


def _chunks(blocks: Iterator[bytes], size: int, so_far: Callable[[], str] | None = None) -> Iterator[tuple[Body, str]]:
    """Blocks gathered to chunks of at least `size` bytes, but the last, each with its checksum.

    Hashing costs most: where the hash of all bytes `so_far` is known, it is the checksum.
    """
    pieces: list[bytes] = []
    length, digest = 0, hashlib.sha256()

    def chunk() -> tuple[Body, str]:
        told = _told(digest.digest()) if so_far is None else _told(bytes.fromhex(so_far()), upload.RUNNING)
        return Body(tuple(pieces), length), told

    for block in blocks:
        if so_far is None:
            # Hashed while the block is still in the processor's cache.
            digest.update(block)
        pieces.append(block)
        length += len(block)
        if length >= size:
            yield chunk()
            pieces, length, digest = [], 0, hashlib.sha256()
    if length:
        yield chunk()


def _digest(body: Body, file: Outgoing) -> bytes:
    """The chunk is the whole file: its hash is known already."""
    if file.digest is not None:
        return bytes.fromhex(file.digest())
    return hashlib.sha256(b"".join(body.pieces)).digest()


def _told(digest: bytes, algorithm: str = upload.OF_CHUNK) -> str:
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
