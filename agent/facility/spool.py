"""A chunk that is arriving, in a temporary file, until it is known to be right. Losing it loses nothing."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from agent.contract.upload import CHECKSUM_MISMATCH
from agent.errors import NoSpace
from agent.facility.durable import disk_full_told
from agent.facility.refusal import Conflict, Refusal
from agent.facility.storage import Upload

_BLOCK = 1 << 20
_IN_MEMORY = 4 << 20


class SpoolReception:
    """See Reception; in memory while it is small. `discard` may come while another thread still writes."""

    def __init__(self, upload: Upload, folder: Path, reserve: int) -> None:
        self.upload = upload
        self.size = 0
        self._folder = folder
        self._reserve = reserve
        self._lock = threading.Lock()
        self._chunk = hashlib.sha256()
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed by discard

    def write(self, block: bytes) -> None:
        with self._lock, disk_full_told():
            if self._file.closed:
                return
            if self.size >= _IN_MEMORY and shutil.disk_usage(self._folder).free < self._reserve:
                raise NoSpace("the facility's disk is full: free space there, the agent keeps the data")
            self._file.write(block)
            self._chunk.update(block)
            self.size += len(block)

    def seal(self, sha256: bytes) -> None:
        """Raises Refusal, Conflict."""
        with self._lock:
            if self._file.closed:
                raise Conflict("the chunk was given up: ask for the offset and send again")
            if self._chunk.digest() != sha256:
                raise Refusal(
                    "the chunk does not match its checksum and was discarded: send it again", CHECKSUM_MISMATCH
                )

    def blocks(self) -> Iterator[bytes]:
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            yield block

    def discard(self) -> None:
        with self._lock:
            self._file.close()
