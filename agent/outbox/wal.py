"""What SQLite passes over in silence: a write-ahead log that ends, for it, before its end.

From the first frame with a wrong checksum on SQLite forgets the log, for a write that a crash cut off looks the same.
But each commit was on the disk before the next began: a commit with more behind it was promised.

File format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct(">IIIIII8x")
"""Magic, version, page size, number of the checkpoint, two salts; checksums."""
_FRAME = struct.Struct(">IIII8x")
"""Page, pages of the database where this is a commit or 0, two salts; checksums."""
_MAGIC = (0x377F0682, 0x377F0683)


@dataclass(frozen=True, slots=True)
class Log:
    """A log as its frames name themselves, whatever their checksums."""

    salts: tuple[int, int]
    promised: int
    """Frames up to the last commit that has more behind it."""


def read(path: Path) -> Log | None:
    """None where there is no log, or an empty one. ValueError for a file that is none."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if not header:
            return None
        magic, _, page, _, *salts = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
        if magic not in _MAGIC:
            raise ValueError(f"{path.name} is no write-ahead log")
        promised = committed = number = 0
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            _, commit, *own = _FRAME.unpack(frame)
            if own != salts:
                break  # of an earlier round
            promised, number = committed, number + 1
            committed = number if commit else committed
            file.seek(page, 1)
    return Log((salts[0], salts[1]), promised)
