"""Unfinished uploads in a folder: `{root}/<id>/part` and `{root}/<id>/info.json`.

`info.json` names the offset up to which chunks were checked. Bytes behind it are leftovers of a chunk that was
cut or refused; the next chunk writes over them. The hash of the whole file runs along in memory; when it is not
there, after a restart, the file is hashed again from disk once it is complete.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent.contract.upload import CHECKSUM_MISMATCH
from agent.facility.durable import begin_writing, disk_full_told, sha256_of, write_atomic
from agent.facility.refusal import Conflict, Forgotten, Refusal, Unknown
from agent.facility.storage import Upload

if TYPE_CHECKING:
    from hashlib import _Hash

_ID = re.compile(r"[0-9a-f]{32}")
_INFO = "info.json"
_PART = "part"
_MAX_RUNNING = 4096


class FolderReception:
    """A chunk on its way into a part file. `discard` may come while another thread still writes.

    `whole` is the hash of what comes before it, where that is known; `running`: the checksum will be that of both.
    """

    def __init__(self, upload: Upload, part: Path, whole: _Hash | None, *, running: bool) -> None:
        self.upload = upload
        self.size = 0
        self._lock = threading.Lock()
        # From the start of the file, the chunk's hash is the hash of the whole.
        self._whole = whole if upload.offset else hashlib.sha256()
        self._chunk = self._whole if self._whole is not None and (running or not upload.offset) else hashlib.sha256()
        self._file = part.open("r+b", buffering=0)
        self._file.seek(upload.offset)

    def write(self, block: bytes) -> None:
        with self._lock, disk_full_told():
            if self._file.closed:
                return
            view = memoryview(block)
            while view:
                view = view[self._file.write(view) or 0 :]
            self._chunk.update(block)
            if self._whole is not None and self._whole is not self._chunk:
                self._whole.update(block)
            self.size += len(block)

    def seal(self, sha256: bytes) -> _Hash | None:
        """Close after checking; the hash of everything up to here where it is known."""
        with self._lock, disk_full_told():
            if self._file.closed:
                raise Conflict("the chunk was given up: ask for the offset and send again")
            if self._chunk.digest() != sha256:
                raise Refusal(
                    "the chunk does not match its checksum and was discarded: send it again", CHECKSUM_MISMATCH
                )
            if self.size == self.upload.left:
                os.fsync(self._file.fileno())
            else:
                begin_writing(self._file.fileno())
            self._file.close()
            return self._whole

    def discard(self) -> None:
        with self._lock:
            if not self._file.closed:
                with suppress(OSError):
                    self._file.truncate(self.upload.offset)
                self._file.close()


class Incoming:
    """The unfinished uploads of a facility."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running: OrderedDict[str, tuple[int, _Hash]] = OrderedDict()
        self._guard = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)
        self._of: defaultdict[str, set[str]] = defaultdict(set)
        for folder in root.iterdir():
            with suppress(Unknown):
                self._of[self.load(folder.name).dataset].add(folder.name)

    def of(self, dataset: str) -> set[str]:
        """Ids of all uploads into a dataset: also of those whose sender never learned that they were created."""
        with self._guard:
            return set(self._of.get(dataset, ()))

    def datasets(self) -> list[str]:
        """Datasets with uploads."""
        with self._guard:
            return list(self._of)

    def create(self, owner: str, dataset: str, path: str, length: int) -> Upload:
        upload = Upload(id=secrets.token_hex(16), owner=owner, dataset=dataset, path=path, length=length)
        with disk_full_told():
            self._folder(upload.id).mkdir()
            try:
                self.part(upload).touch()
                self.save(upload)
            except OSError:
                self.remove(upload.id)
                raise
        with self._guard:
            self._of[dataset].add(upload.id)
        return upload

    def load(self, upload_id: str) -> Upload:
        if not _ID.fullmatch(upload_id):
            raise Unknown("no such upload: create it again")
        try:
            upload = Upload.model_validate_json((self._folder(upload_id) / _INFO).read_bytes())
            if upload.sha256 is not None:
                return upload
            size = self.part(upload).stat().st_size
        except (FileNotFoundError, ValidationError):
            raise Unknown("no such upload: create it again") from None
        # A power cut may have taken bytes that the offset had counted.
        return upload.model_copy(update={"offset": min(upload.offset, size)})

    def save(self, upload: Upload) -> None:
        """Not synced: what a power cut takes is sent again, or found by the hash of the whole."""
        info = self._folder(upload.id) / _INFO
        write_atomic(info, upload.model_dump_json().encode(), durable=False)

    def receive(self, upload: Upload, *, running: bool) -> FolderReception:
        offset, known = self._running.get(upload.id, (-1, None))
        whole = known.copy() if known and offset == upload.offset else None
        if running and upload.offset and whole is None:
            raise Forgotten
        return FolderReception(upload, self.part(upload), whole, running=running)

    def advance(self, reception: FolderReception, sha256: bytes) -> Upload:
        """Count a checked chunk; `sha256` of the answer is set once the file is whole. Raises Refusal."""
        whole = reception.seal(sha256)
        upload = reception.upload
        offset = upload.offset + reception.size
        self._remember(upload.id, (offset, whole) if whole is not None and offset < upload.length else None)
        if offset == upload.length:
            return upload.model_copy(update={"offset": offset, "sha256": self._whole(upload, whole)})
        upload = upload.model_copy(update={"offset": offset})
        with disk_full_told():
            self.save(upload)
        return upload

    def part(self, upload: Upload) -> Path:
        return self._folder(upload.id) / _PART

    def touched_ns(self, upload_id: str) -> int:
        """When bytes last arrived (UTC ns)."""
        return (self._folder(upload_id) / _INFO).stat().st_mtime_ns

    def remove(self, upload_id: str) -> None:
        self._remember(upload_id, None)
        shutil.rmtree(self._folder(upload_id), ignore_errors=True)
        with self._guard:
            for dataset in [dataset for dataset, ids in self._of.items() if upload_id in ids]:
                self._of[dataset].discard(upload_id)
                if not self._of[dataset]:
                    del self._of[dataset]

    def older_than(self, limit_ns: int) -> Iterator[str]:
        """Uploads that nothing arrived for since `limit_ns`."""
        for folder in self._root.iterdir():
            try:
                touched = self.touched_ns(folder.name)
            except FileNotFoundError:
                touched = folder.stat().st_mtime_ns
            if touched < limit_ns:
                yield folder.name

    def _remember(self, upload_id: str, running: tuple[int, _Hash] | None) -> None:
        """Keep the hash so far, or forget it; of many uploads the oldest are forgotten and hashed from disk later."""
        with self._guard:
            self._running.pop(upload_id, None)
            if running is not None:
                self._running[upload_id] = running
                while len(self._running) > _MAX_RUNNING:
                    self._running.popitem(last=False)

    def _whole(self, upload: Upload, running: _Hash | None) -> str:
        return running.hexdigest() if running is not None else sha256_of(self.part(upload))

    def _folder(self, upload_id: str) -> Path:
        return self._root / upload_id
