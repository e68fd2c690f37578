"""Uploads as objects: one for what it is, one for each chunk, one more where it is whole."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.facility.objects_client import Objects
from agent.facility.refusal import Conflict, Unknown
from agent.facility.storage import Upload

_ID = re.compile(r"[0-9a-f]{32}")
_ROOT = ".facility/uploads"
_STAGING = ".facility/staging"
_INFO = "info.json"
_PIECE = 32 << 20


class Staged(BaseModel):
    """A file that is whole, and waits for the commit of its dataset."""

    model_config = ConfigDict(frozen=True)

    id: str
    path: str
    length: int
    sha256: str
    at_ns: int = 0


class Uploads:
    """The uploads of a store."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def create(self, owner: str, dataset: str, path: str, length: int) -> Upload:
        upload = Upload(id=secrets.token_hex(16), owner=owner, dataset=dataset, path=path, length=length)
        self._objects.put(f"{_ROOT}/{upload.id}/{_INFO}", upload.model_dump_json().encode())
        return upload

    def load(self, upload_id: str) -> Upload:
        if not _ID.fullmatch(upload_id):
            raise Unknown("no such upload: create it again")
        try:
            upload = Upload.model_validate_json(self._objects.get(f"{_ROOT}/{upload_id}/{_INFO}"))
        except (Unknown, ValidationError):
            raise Unknown("no such upload: create it again") from None
        upload = upload.model_copy(update={"offset": sum(size for _, size in self._chunks(upload))})
        if upload.left == 0:
            with suppress(Unknown):
                text = self._objects.get(_staged(upload))
                return upload.model_copy(update={"sha256": Staged.model_validate_json(text).sha256})
            # The replica that took the last chunk goes on with it at this moment, or died over it.
            upload = upload.model_copy(update={"sha256": self._hash(upload)})
            self.stage(upload)
        return upload

    def add(self, upload: Upload, blocks: Iterable[bytes]) -> None:
        """Keep what begins at the offset, in pieces that one call can create. Raises Conflict: another was faster."""
        at = upload.offset
        try:
            for piece in _pieces(blocks):
                self._objects.put(_chunk(upload, at), piece)
                at += len(piece)
        except Conflict:
            raise Conflict(f"the upload stands at {at} no more: ask for the offset") from None

    def whole(self, upload: Upload, last: bytes, size: int) -> str:
        """SHA-256 (hex) of all chunks; `last` is the hash of the last one, of `size` bytes."""
        if size == upload.length:
            return last.hex()
        return self._hash(upload)

    def stage(self, upload: Upload) -> None:
        """Let the next commit see the file."""
        assert upload.sha256 is not None
        staged = Staged(id=upload.id, path=upload.path, length=upload.length, sha256=upload.sha256)
        self._objects.put(_staged(upload), staged.model_dump_json().encode(), over=True)

    def staged(self, dataset: str) -> list[Staged]:
        found = []
        for key, _, at_ns in self._objects.listed(f"{_STAGING}/{dataset}/"):
            with suppress(Unknown):
                one = Staged.model_validate_json(self._objects.get(key))
                found.append(one.model_copy(update={"at_ns": at_ns}))
        return found

    def place(self, staged: Staged, key: str) -> None:
        """Put a file where it belongs, from its chunks."""
        chunks = self._chunks(self._bare(staged))
        if sum(size for _, size in chunks) != staged.length:
            raise Conflict(f"{staged.path} is gone: deliver the dataset again")
        if len(chunks) == 1:
            self._objects.copy(chunks[0][0], key, staged.length)
        else:
            self._objects.put_blocks(key, self._joined(chunks))

    def touched_ns(self, upload_id: str) -> int:
        """When bytes last arrived (UTC ns)."""
        return max((at for _, _, at in self._objects.listed(f"{_ROOT}/{upload_id}/")), default=0)

    def remove(self, upload_id: str) -> None:
        keys = [key for key, _, _ in self._objects.listed(f"{_ROOT}/{upload_id}/")]
        with suppress(Unknown, ValidationError):
            upload = Upload.model_validate_json(self._objects.get(f"{_ROOT}/{upload_id}/{_INFO}"))
            keys.insert(0, _staged(upload))
        self._objects.delete(keys)

    def expire(self, limit_ns: int) -> int:
        """Remove what nothing arrived for since `limit_ns`; a dataset stays as long as one of its files is young."""
        newest: dict[str, int] = {}
        for key, _, at_ns in self._objects.listed(f"{_ROOT}/"):
            upload_id = key.removeprefix(f"{_ROOT}/").partition("/")[0]
            newest[upload_id] = max(at_ns, newest.get(upload_id, 0))
        alive: set[str] = set()
        for upload_id, at_ns in newest.items():
            if at_ns >= limit_ns:
                with suppress(Unknown):
                    alive.add(self.load(upload_id).dataset)
        old = [upload_id for upload_id, at_ns in newest.items() if at_ns < limit_ns]
        gone = [upload_id for upload_id in old if not self._belongs(upload_id, alive)]
        for upload_id in gone:
            self.remove(upload_id)
        return len(gone)

    def _belongs(self, upload_id: str, datasets: set[str]) -> bool:
        """A file that is whole waits for the rest of its dataset."""
        try:
            upload = self.load(upload_id)
        except Unknown:
            return False
        return upload.sha256 is not None and upload.dataset in datasets

    def _chunks(self, upload: Upload) -> list[tuple[str, int]]:
        """Key and size of the chunks from the start on, as far as they follow each other."""
        root = f"{_ROOT}/{upload.id}/"
        sizes = {key: size for key, size, _ in self._objects.listed(root) if not key.endswith(_INFO)}
        found: list[tuple[str, int]] = []
        offset = 0
        while (key := _chunk(upload, offset)) in sizes:
            found.append((key, sizes[key]))
            offset += sizes[key]
            if not sizes[key]:
                break
        return found

    def _joined(self, chunks: list[tuple[str, int]]) -> Iterator[bytes]:
        for key, size in chunks:
            yield from self._objects.blocks(key, 0, size)

    def _hash(self, upload: Upload) -> str:
        digest = hashlib.sha256()
        for block in self._joined(self._chunks(upload)):
            digest.update(block)
        return digest.hexdigest()

    def _bare(self, staged: Staged) -> Upload:
        return Upload(id=staged.id, owner="", dataset="", path=staged.path, length=staged.length)


def _pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """At least one, so that an empty file has its object too."""
    held: list[bytes] = []
    size = count = 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size >= _PIECE:
            yield b"".join(held)
            held, size, count = [], 0, count + 1
    if held or not count:
        yield b"".join(held)


def _chunk(upload: Upload, start: int) -> str:
    return f"{_ROOT}/{upload.id}/{start:020d}"


def _staged(upload: Upload) -> str:
    return f"{_STAGING}/{upload.dataset}/{upload.id}.json"
