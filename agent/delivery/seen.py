"""What was seen on a disk after it was written: 56 bytes for each file, however long its path."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

_ENTRY = struct.Struct("<qqq32s")
"""Hash of the path, size, time (ns) and SHA-256."""
_KEY = struct.Struct("<q")
_SHELVES = 1024
"""An entry is looked for among a hundred where there are a hundred thousand."""


class Seen:
    """Several threads may tell of files; one asks and forgets.

    Two paths of the same hash would need the same size and time, too, to be taken for each other; then the SHA-256 is
    not that of the manifest, and the file is sent again.
    """

    def __init__(self) -> None:
        self._shelves = tuple(bytearray() for _ in range(_SHELVES))

    def __len__(self) -> int:
        return sum(map(len, self._shelves)) // _ENTRY.size

    def note(self, path: str, status: os.stat_result, digest: str) -> None:
        """A file with this hash (hex) is there as `status` tells; what was told of it before counts no more."""
        key = hash(path)
        entry = _ENTRY.pack(key, status.st_size, status.st_mtime_ns, bytes.fromhex(digest))
        self._shelves[key % _SHELVES].extend(entry)

    def digest(self, path: str, status: os.stat_result) -> str | None:
        """The hash of a file that is still as it was seen."""
        shelf, at = self._find(path)
        if at < 0:
            return None
        _, size, mtime_ns, digest = _ENTRY.unpack_from(shelf, at)
        return bytes(digest).hex() if (size, mtime_ns) == (status.st_size, status.st_mtime_ns) else None

    def forget(self, paths: Iterable[str]) -> None:
        """Nothing will be asked about these."""
        for path in paths:
            shelf, at = self._find(path)
            while at >= 0:
                del shelf[at : at + _ENTRY.size]
                shelf, at = self._find(path)

    def _find(self, path: str) -> tuple[bytearray, int]:
        """Where its last entry is; -1 for nowhere."""
        key = hash(path)
        shelf, text = self._shelves[key % _SHELVES], _KEY.pack(key)
        at = shelf.rfind(text)
        while at % _ENTRY.size and at >= 0:
            # The same eight bytes in the middle of an entry.
            at = shelf.rfind(text, 0, at + _KEY.size - 1)
        return shelf, at
