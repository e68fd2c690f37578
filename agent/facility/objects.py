"""Storage behind obstore: an S3 store, or a folder that several replicas share. Nothing of it is kept in the process.

`{dataset}/...` (the truth) and, below `.facility/`, `uploads/{id}/{start}` (chunks), `staging/{dataset}/{id}` (files
that are whole), `notes/...`. Chunks are created, never changed: of two replicas that take the same one, one succeeds.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from agent.clock import Clock, SystemClock
from agent.contract.layout import MANIFEST, check_member
from agent.contract.manifest import parse, render
from agent.contract.upload import CommitAnswer
from agent.errors import Rejected
from agent.facility.comparing import EMPTY_SHA256, compare
from agent.facility.naming import check_dataset
from agent.facility.object_uploads import Staged, Uploads
from agent.facility.objects_client import Objects
from agent.facility.refusal import Conflict, Forgotten, Refusal, Unknown
from agent.facility.settings import Settings
from agent.facility.spool import SpoolReception
from agent.facility.storage import Reception, Upload

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_DAY_NS = 86_400 * 10**9
_AT_ONCE = 8
_CLAIM_NS = 900 * 10**9
"""After so long without an end, a commit counts as one whose replica died."""
_NOTES = ".facility/notes"


class ObjectFile:
    """See Stored."""

    def __init__(self, objects: Objects, key: str, size: int) -> None:
        self._objects = objects
        self._key = key
        self.size = size

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        return self._objects.blocks(self._key, start, self.size if end is None else min(end, self.size))

    def all(self, limit: int = 1 << 28) -> bytes:
        if self.size > limit:
            raise Refusal(f"{self._key} is larger than {limit} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self._objects.get(self._key)


class ObjectStorage:
    """See Storage."""

    keeps_running_hash = False
    lends_in_place = False

    def __init__(self, settings: Settings, store: ObjectStore, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._age_ns = int(settings.expire_days * _DAY_NS)
        self._reserve = settings.min_free_bytes
        self._spool = settings.data_dir / ".spool"
        self._spool.mkdir(parents=True, exist_ok=True)
        self._objects = Objects(store)
        self._uploads = Uploads(self._objects)

    def create(self, owner: str, dataset: str, path: str, length: int) -> Upload:
        self._refuse_committed(dataset)
        upload = self._uploads.create(owner, dataset, path, length)
        if length == 0:
            return self.accept(self.receive(upload), bytes.fromhex(EMPTY_SHA256))
        return upload

    def upload(self, upload_id: str) -> Upload:
        return self._uploads.load(upload_id)

    def expires_ns(self, upload_id: str) -> int:
        return self._uploads.touched_ns(upload_id) + self._age_ns

    def receive(self, upload: Upload, *, running: bool = False) -> SpoolReception:
        if running and upload.offset:
            # The chunk before may have come to another replica.
            raise Forgotten
        return SpoolReception(upload, self._spool, self._reserve)

    def accept(self, reception: Reception, sha256: bytes) -> Upload:
        assert isinstance(reception, SpoolReception)
        upload = reception.upload
        reception.seal(sha256)
        try:
            self._uploads.add(upload, reception.blocks())
            upload = upload.model_copy(update={"offset": upload.offset + reception.size})
            if upload.left:
                return upload
            upload = upload.model_copy(update={"sha256": self._uploads.whole(upload, sha256, reception.size)})
            self._refuse_committed(upload.dataset)
            self._uploads.stage(upload)
        finally:
            reception.discard()
        return upload

    def remove(self, upload_id: str) -> None:
        self._uploads.remove(upload_id)

    def commit(self, dataset: str, manifest: bytes) -> CommitAnswer:
        wanted = parse(manifest)
        if not wanted:
            raise Refusal("the manifest names no file: deliver the dataset again")
        if self.is_committed(dataset):
            return compare(dataset, wanted, self.manifest(dataset), strict=True)
        staged = self._uploads.staged(dataset)
        # Of a file that came twice, the bytes that are wanted count, else the newest.
        held = {one.path: one for one in sorted(staged, key=lambda one: (_fits(one, wanted), one.at_ns))}
        answer = compare(dataset, wanted, {path: one.sha256 for path, one in held.items()})
        if answer.verified:
            text = render(wanted)
            self._claim(dataset, text)
            self._publish(dataset, [held[path] for path in wanted], text)
            self._tidy(dataset, staged)
        return answer

    def verify(self, dataset: str) -> CommitAnswer:
        if not self.is_committed(dataset):
            staged = sorted(self._uploads.staged(dataset), key=lambda one: one.at_ns)
            if not staged:
                raise Unknown(f"no such dataset: {dataset}")
            return CommitAnswer(dataset=dataset, verified=False, files={one.path: one.sha256 for one in staged})
        paths = sorted(path for path in self._members(dataset) if path != MANIFEST)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            hashes = pool.map(lambda path: self._hash(f"{dataset}/{path}"), paths)
            return compare(dataset, self.manifest(dataset), dict(zip(paths, hashes, strict=True)))

    def is_committed(self, dataset: str) -> bool:
        return self._objects.size(f"{check_dataset(dataset)}/{MANIFEST}") is not None

    def datasets(self) -> Iterator[str]:
        for key, _, _ in self._objects.listed(""):
            dataset, _, name = key.rpartition("/")
            if name == MANIFEST:
                with suppress(Rejected):
                    yield check_dataset(dataset)

    def manifest(self, dataset: str) -> dict[str, str]:
        try:
            return parse(self._objects.get(f"{check_dataset(dataset)}/{MANIFEST}"))
        except Unknown:
            raise Unknown(f"no such dataset: {dataset}") from None

    def open(self, dataset: str, path: str) -> ObjectFile:
        key = f"{check_dataset(dataset)}/{check_member(path)}"
        size = self._objects.size(key)
        if size is None or not self.is_committed(dataset):
            raise Unknown(f"no such file: {dataset}/{path}")
        return ObjectFile(self._objects, key, size)

    @contextmanager
    def lend(self, dataset: str, paths: Iterable[str]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._spool, prefix="lent-") as name:
            for path in paths:
                target = Path(name) / check_member(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    for block in self.open(dataset, path).blocks():
                        file.write(block)
            yield Path(name)

    def note(self, name: str) -> bytes | None:
        try:
            return self._objects.get(f"{_NOTES}/{check_member(name)}")
        except Unknown:
            return None

    def keep_note(self, name: str, text: bytes) -> None:
        self._objects.put(f"{_NOTES}/{check_member(name)}", text, over=True)

    def drop_note(self, name: str) -> None:
        self._objects.delete([f"{_NOTES}/{check_member(name)}"])

    def notes(self, folder: str) -> Iterator[str]:
        for key, _, _ in self._objects.listed(f"{_NOTES}/{check_member(folder)}/"):
            yield key.removeprefix(f"{_NOTES}/")

    def expire(self) -> int:
        return self._uploads.expire(self._clock.now_ns() - self._age_ns)

    def free_bytes(self) -> int:
        # An object store does not tell; it says no when it is full.
        return 1 << 62

    def _claim(self, dataset: str, manifest: bytes) -> None:
        """Of two different commits at the same time, one goes on. Raises Conflict."""
        key = f".facility/commits/{dataset}"
        try:
            self._objects.put(key, manifest)
        except Conflict:
            with suppress(Unknown):
                if self._objects.get(key) == manifest:
                    return
                if self._clock.now_ns() - self._objects.touched_ns(key) < _CLAIM_NS:
                    raise Conflict(f"another commit of {dataset} is under way: commit again later") from None
            self._objects.put(key, manifest, over=True)

    def _publish(self, dataset: str, files: list[Staged], manifest: bytes) -> None:
        """Every file into its place, what a dead commit left out of it, the manifest last."""
        left = self._members(dataset) - {one.path for one in files}
        self._objects.delete([f"{dataset}/{path}" for path in left])
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda one: self._uploads.place(one, f"{dataset}/{one.path}"), files))
        with suppress(Conflict):  # Another replica finished the same commit.
            self._objects.put(f"{dataset}/{MANIFEST}", manifest)

    def _tidy(self, dataset: str, staged: list[Staged]) -> None:
        for one in staged:
            self._uploads.remove(one.id)
        self._objects.delete([f".facility/commits/{dataset}"])

    def _members(self, dataset: str) -> set[str]:
        prefix = f"{check_dataset(dataset)}/"
        return {key.removeprefix(prefix) for key, _, _ in self._objects.listed(prefix)}

    def _hash(self, key: str) -> str:
        digest = hashlib.sha256()
        for block in self._objects.blocks(key, 0, self._objects.size(key) or 0):
            digest.update(block)
        return digest.hexdigest()

    def _refuse_committed(self, dataset: str) -> None:
        if self.is_committed(dataset):
            raise Conflict(f"{dataset} is committed and never changes: commit the same manifest again to confirm it")


def _fits(one: Staged, wanted: dict[str, str]) -> bool:
    return wanted.get(one.path) == one.sha256
