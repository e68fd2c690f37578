"""Storage in a folder: `.incoming` (uploads), `.staging` (datasets to come), `datasets` (the truth)."""

from __future__ import annotations

import shutil
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.contract.layout import MANIFEST, check_member
from agent.contract.manifest import parse, render
from agent.contract.upload import CommitAnswer
from agent.errors import NoSpace
from agent.facility.durable import disk_full_told, sha256_of
from agent.facility.incoming import FolderReception, Incoming
from agent.facility.naming import check_dataset
from agent.facility.refusal import Conflict, Refusal, Unknown
from agent.facility.settings import Settings
from agent.facility.staging import Staging, walk
from agent.facility.storage import Reception, Upload

_DAY_NS = 86_400 * 10**9


class FolderStorage:
    """See Storage. All folders lie on one file system, so that a rename is a commit."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        data = settings.data_dir
        self._clock = clock or SystemClock()
        self._age_ns = int(settings.expire_days * _DAY_NS)
        self._reserve = settings.min_free_bytes
        self._datasets = data / "datasets"
        self._datasets.mkdir(parents=True, exist_ok=True)
        self._incoming = Incoming(data / ".incoming")
        self._staging = Staging(data / ".staging")
        # A fixed set, so that locks of old datasets need no bookkeeping; two datasets may share one.
        self._locks = tuple(threading.Lock() for _ in range(64))
        for dataset in self._incoming.datasets():
            if self.is_committed(dataset):
                # Killed between the commit and what follows it.
                self._tidy(dataset)

    def create(self, owner: str, dataset: str, path: str, length: int) -> Upload:
        self._refuse_committed(dataset)
        if self.free_bytes() - length < self._reserve:
            raise NoSpace("the facility's disk is full: free space there, the agent keeps the data")
        upload = self._incoming.create(owner, dataset, path, length)
        if length == 0:
            return self.accept(self.receive(upload), bytes.fromhex(_EMPTY))
        return upload

    def upload(self, upload_id: str) -> Upload:
        return self._incoming.load(upload_id)

    def expires_ns(self, upload_id: str) -> int:
        return self._incoming.touched_ns(upload_id) + self._age_ns

    def receive(self, upload: Upload) -> FolderReception:
        try:
            return self._incoming.receive(upload)
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
                return _compare(dataset, wanted, self.manifest(dataset), strict=True)
            answer = _compare(dataset, wanted, self._staging.hashes(dataset))
            if answer.verified:
                root = self._datasets
                self._staging.publish(dataset, render(wanted), answer.unlisted, root / dataset, root)
                self._tidy(dataset)
        return answer

    def verify(self, dataset: str) -> CommitAnswer:
        if self.is_committed(dataset):
            files = walk(self._datasets / dataset)
            held = {path: sha256_of(file) for path, file in files if path != MANIFEST}
            return _compare(dataset, self.manifest(dataset), held)
        if not self._staging.holds(dataset):
            raise Unknown(f"no such dataset: {dataset}")
        with self._lock(dataset):
            return CommitAnswer(dataset=dataset, verified=False, files=self._staging.hashes(dataset))

    def is_committed(self, dataset: str) -> bool:
        return (self._datasets / dataset / MANIFEST).is_file()

    def datasets(self) -> Iterator[str]:
        for manifest in self._datasets.glob(f"*/*/*/*/*/*/{MANIFEST}"):
            yield manifest.parent.relative_to(self._datasets).as_posix()

    def manifest(self, dataset: str) -> dict[str, str]:
        try:
            return parse((self._datasets / check_dataset(dataset) / MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise Unknown(f"no such dataset: {dataset}") from None

    def file(self, dataset: str, path: str) -> Path:
        root = self._datasets / check_dataset(dataset)
        file = root / check_member(path)
        # Resolved, so that a link that somebody laid into the folder leads nowhere.
        inside = file.resolve().is_relative_to(root.resolve())
        if not inside or not self.is_committed(dataset) or not file.is_file():
            raise Unknown(f"no such file: {dataset}/{path}")
        return file

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


_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _compare(dataset: str, wanted: Mapping[str, str], held: Mapping[str, str], *, strict: bool = False) -> CommitAnswer:
    """`strict`: more files than the manifest names are a difference too."""
    missing = sorted(wanted.keys() - held.keys())
    different = sorted(path for path in wanted.keys() & held.keys() if wanted[path] != held[path])
    unlisted = sorted(held.keys() - wanted.keys())
    verified = not missing and not different and not (strict and unlisted)
    files = {path: held[path] for path in sorted(held) if not verified or path in wanted}
    return CommitAnswer(
        dataset=dataset, verified=verified, files=files, missing=missing, different=different, unlisted=unlisted
    )
