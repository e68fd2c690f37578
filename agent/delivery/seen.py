"""What was seen on a disk after it was written: two hundred bytes for each file, however long its path."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

_ENTRY = struct.Struct("<qq32s")
"""Size, time (ns) and SHA-256."""


class Seen:
    """Several threads may tell of files."""

    def __init__(self) -> None:
        self._entries: dict[int, bytes] = {}
        """By the hash of the path. Two paths with the same one would need the same size and time, too; then the hash
        of the content differs from the manifest's, and the file is sent again.
        """

    def note(self, path: str, status: os.stat_result, digest: str) -> None:
        """A file with this hash (hex) is there as `status` tells."""
        self._entries[hash(path)] = _ENTRY.pack(status.st_size, status.st_mtime_ns, bytes.fromhex(digest))

    def digest(self, path: str, status: os.stat_result) -> str | None:
        """The hash of a file that is still as it was seen."""
        entry = self._entries.get(hash(path))
        if entry is None:
            return None
        size, mtime_ns, digest = _ENTRY.unpack(entry)
        return digest.hex() if (size, mtime_ns) == (status.st_size, status.st_mtime_ns) else None

    def forget(self, paths: Iterable[str]) -> None:
        """Nothing will be asked about these."""
        for path in paths:
            self._entries.pop(hash(path), None)
