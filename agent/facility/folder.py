"""Storage in a folder: the datasets (the truth); beside them uploads, datasets to come, and notes."""

from __future__ import annotations

import logging
import shutil
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path, PurePosixPath

from agent.clock import Clock, SystemClock
from agent.contract.layout import MANIFEST, check_member
from agent.contract.manifest import parse, render
from agent.contract.upload import CommitAnswer
from agent.errors import Misconfigured, NoSpace, Rejected
from agent.facility.comparing import EMPTY_SHA256, compare
from agent.facility.durable import disk_full_told, sha256_of, write_atomic
from agent.facility.incoming import FolderReception, Incoming
from agent.facility.naming import check_dataset
from agent.facility.refusal import Conflict, Refusal, Unknown
from agent.facility.settings import Settings
from agent.facility.staging import Staging, walk
from agent.facility.storage import Reception, Upload

log = logging.getLogger(__name__)

_DAY_NS = 86_400 * 10**9
_BLOCK = 1 << 20


class FolderFile:
    """See Stored."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        left = (self.size if end is None else min(end, self.size)) - start
        with self._path.open("rb") as file:
            file.seek(start)
            while left > 0 and (block := file.read(min(_BLOCK, left))):
                left -= len(block)
                yield block

    def all(self, limit: int = 1 << 28) -> bytes:
        if self.size > limit:
            raise Refusal(f"{self._path.name} is larger than {limit} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self._path.read_bytes()


class FolderStorage:
    """See Storage. All folders lie on one file system, so that a rename is a commit."""

    keeps_running_hash = True
    lends_in_place = True

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        data, self._shows_only = _private(settings)
        self._clock = clock or SystemClock()
        self._age_ns = int(settings.expire_days * _DAY_NS)
        self._reserve = settings.min_free_bytes
        self._datasets = settings.datasets
        self._notes = data / ".notes"
        self._incoming = Incoming(data / ".incoming")
        self._staging = Staging(data / ".staging")
        # A fixed set, so that locks of old datasets need no bookkeeping; two datasets may share one.
        self._locks = tuple(threading.Lock() for _ in range(64))
        for dataset in self._incoming.datasets():
            if self.is_committed(dataset):
                # Killed between the commit and what follows it.
                self._tidy(dataset)

    def create(self, owner: str, dataset: str, path: str, length: int) -> Upload:
        if self._shows_only:
            raise Refusal("nothing can be written into this store: ask who keeps it", HTTPStatus.FORBIDDEN)
        if self.free_bytes() - length < self._reserve:
            raise NoSpace("the facility's disk is full: free space there, the agent keeps the data")
        with self._lock(dataset):
            self._refuse_committed(dataset)
            upload = self._incoming.create(owner, dataset, path, length)
        if length == 0:
            return self.accept(self.receive(upload), bytes.fromhex(EMPTY_SHA256))
        return upload

    def upload(self, upload_id: str) -> Upload:
        return self._incoming.load(upload_id)

    def expires_ns(self, upload_id: str) -> int:
        return self._incoming.touched_ns(upload_id) + self._age_ns

    def receive(self, upload: Upload, *, running: bool = False) -> FolderReception:
        try:
            return self._incoming.receive(upload, running=running)
        except FileNotFoundError:
            raise Unknown("no such upload: create it again") from None

    def accept(self, reception: Reception, sha256: bytes) -> Upload:
        assert isinstance(reception, FolderReception)
        upload = self._incoming.advance(reception, sha256)
        if upload.sha256 is not None:
            with self._lock(upload.dataset):
                self._refuse_committed(upload.dataset)
                self._staging.put(upload, self._incoming.part(upload))
                with disk_full_told():
                    self._incoming.save(upload)
        return upload

    def remove(self, upload_id: str) -> None:
        self._incoming.remove(upload_id)

    def commit(self, dataset: str, manifest: bytes) -> CommitAnswer:
        wanted = parse(manifest)
        if not wanted:
            raise Refusal("the manifest names no file: deliver the dataset again")
        with self._lock(dataset):
            if self.is_committed(dataset):
                return compare(dataset, wanted, self.manifest(dataset), strict=True)
            answer = compare(dataset, wanted, self._staging.hashes(dataset))
            if answer.verified:
                root = self._datasets
                self._staging.publish(dataset, render(wanted), answer.unlisted, root / dataset, root)
                self._tidy(dataset)
        return answer

    def verify(self, dataset: str) -> CommitAnswer:
        if self.is_committed(dataset):
            files = walk(self._datasets / dataset)
            held = {path: sha256_of(file) for path, file in files if path != MANIFEST}
            return compare(dataset, self.manifest(dataset), held)
        if not self._staging.holds(dataset):
            raise Unknown(f"no such dataset: {dataset}")
        with self._lock(dataset):
            return CommitAnswer(dataset=dataset, verified=False, files=self._staging.hashes(dataset))

    def is_committed(self, dataset: str) -> bool:
        return (self._datasets / dataset / MANIFEST).is_file()

    def datasets(self) -> Iterator[str]:
        for manifest in self._datasets.glob(f"*/*/*/*/*/*/{MANIFEST}"):
            # What was laid here by hand may have any name.
            with suppress(Rejected):
                yield check_dataset(manifest.parent.relative_to(self._datasets).as_posix())

    def manifest(self, dataset: str) -> dict[str, str]:
        try:
            return parse((self._datasets / check_dataset(dataset) / MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise Unknown(f"no such dataset: {dataset}") from None

    def open(self, dataset: str, path: str) -> FolderFile:
        return FolderFile(self._file(dataset, path))

    @contextmanager
    def lend(self, dataset: str, paths: Iterable[str]) -> Iterator[Path]:
        for path in paths:
            self._file(dataset, path)
        yield self._datasets / dataset

    def note(self, name: str) -> bytes | None:
        try:
            return self._note(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def keep_note(self, name: str, text: bytes) -> None:
        with disk_full_told():
            self._note(name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._note(name), text)

    def drop_note(self, name: str) -> None:
        self._note(name).unlink(missing_ok=True)

    def notes(self, folder: str) -> Iterator[str]:
        for name, _ in walk(self._note(folder)):
            # A draft that a crash left is none.
            if not PurePosixPath(name).name.startswith("."):
                yield f"{folder}/{name}"

    def expire(self) -> int:
        limit = self._clock.now_ns() - self._age_ns
        uploads = list(self._incoming.older_than(limit))
        for upload_id in uploads:
            self._incoming.remove(upload_id)
        datasets = list(self._staging.older_than(limit))
        for dataset in datasets:
            with self._lock(dataset):
                self._staging.clear(dataset)
        return len(uploads) + len(datasets)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._datasets).free

    def _file(self, dataset: str, path: str) -> Path:
        root = self._datasets / check_dataset(dataset)
        file = root / check_member(path)
        # Resolved, so that a link that somebody laid into the folder leads nowhere.
        inside = file.resolve().is_relative_to(root.resolve())
        if not inside or not self.is_committed(dataset) or not file.is_file():
            raise Unknown(f"no such file: {dataset}/{path}")
        return file

    def _note(self, name: str) -> Path:
        return self._notes / check_member(name)

    def _tidy(self, dataset: str) -> None:
        """Forget what brought a dataset that is committed now."""
        for upload_id in self._staging.uploads(dataset) | self._incoming.of(dataset):
            self._incoming.remove(upload_id)
        self._staging.clear(dataset)

    def _refuse_committed(self, dataset: str) -> None:
        if self.is_committed(dataset):
            raise Conflict(f"{dataset} is committed and never changes: commit the same manifest again to confirm it")

    def _lock(self, dataset: str) -> threading.Lock:
        return self._locks[zlib.crc32(dataset.encode()) % len(self._locks)]


def _private(settings: Settings) -> tuple[Path, bool]:
    """The folder beside the datasets; of an archive that cannot be written, one in the data folder, and True."""
    try:
        settings.datasets.mkdir(parents=True, exist_ok=True)
        settings.private.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if not settings.datasets.is_dir():
            raise Misconfigured(f"{settings.datasets} cannot be used: {error.strerror or error}") from error
        log.warning("%s cannot be written: it is shown, and nothing is received", settings.datasets)
        return settings.data_dir, True
    return settings.private, False
