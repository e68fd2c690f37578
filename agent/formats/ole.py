"""OLE compound files (OIB, CXD): sectors chained by a table, read without believing what the header claims."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.formats.binary import MAX_PIECE, Binary, head, opened
from agent.formats.port import Wholeness
from agent.formats.tiff_layout import TroubleError

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_END, _FREE = 0xFFFFFFFE, 0xFFFFFFFF
_LAST_SECTOR = 0xFFFFFFFA
_STORAGE, _STREAM, _ROOT = 1, 2, 5
_NONE = 0xFFFFFFFF


def is_compound(path: Path, suffix: str) -> bool:
    """A file of this suffix that begins as a compound file does, as far as it is written."""
    if path.suffix.lower() != suffix or not path.is_file():
        return False
    start = head(path, len(MAGIC))
    return start == MAGIC[: len(start)]


def counted(path: Path, count: Callable[[Compound], int]) -> int | None:
    """What `count` finds in a file; None where it cannot be read."""
    with opened(path) as file:
        try:
            return count(Compound(file))
        except TroubleError:
            return None


@dataclass(frozen=True, slots=True)
class Stream:
    """Where a stream begins, and its size."""

    start: int
    size: int


class Compound:
    """An open compound file. `streams` by path with slashes. Raises TroubleError where it is cut off or damaged."""

    def __init__(self, file: Binary) -> None:
        self.file = file
        if file.read(0, 8, "the header") != MAGIC:
            raise TroubleError(Wholeness.DAMAGED, "the file does not begin as a compound file does")
        head = file.read(0, 512, "the header")
        shift, mini_shift = struct.unpack_from("<HH", head, 30)
        if shift not in (9, 12) or mini_shift != 6:
            raise TroubleError(Wholeness.DAMAGED, "the header of the compound file is damaged")
        self._sector, self._mini = 1 << shift, 1 << mini_shift
        tables, directory = struct.unpack_from("<I", head, 44)[0], struct.unpack_from("<I", head, 48)[0]
        self._cutoff, mini_table, _, more, more_count = struct.unpack_from("<5I", head, 56)
        self._table = self._read_table(head, tables, more, more_count)
        self.streams: dict[str, Stream] = {}
        entries = self._directory(directory)
        root = next((entry for entry in entries if entry[1] == _ROOT), None)
        if root is None:
            raise TroubleError(Wholeness.DAMAGED, "the compound file has no directory")
        self._mini_chain, self._mini_bytes = (self._chain(root[5]), int(root[6])) if root[6] else ([], 0)
        raw = b"".join(self._read_sector(one) for one in self._chain(mini_table)) if mini_table < _LAST_SECTOR else b""
        self._mini_table = struct.unpack(f"<{len(raw) // 4}I", raw)
        self._walk(entries, root[4], "", 0, set())

    def _offset(self, sector: int) -> int:
        return (sector + 1) * int(self._sector)

    def _read_sector(self, sector: int) -> bytes:
        return self.file.read(self._offset(sector), self._sector, f"sector {sector}")

    def _read_table(self, head: bytes, count: int, more: int, more_count: int) -> tuple[int, ...]:
        """The table that names the next sector of each sector."""
        if count * self._sector > self.file.size or more_count * self._sector > self.file.size:
            raise TroubleError(Wholeness.GROWING, "the table of the sectors is larger than the file")
        places = list(struct.unpack_from("<109I", head, 76))
        for _ in range(more_count):
            if more >= _LAST_SECTOR:
                break
            words = struct.unpack(f"<{self._sector // 4}I", self._read_sector(more))
            places += words[:-1]
            more = words[-1]
        used = [place for place in places[: max(count, 109)] if place < _LAST_SECTOR][:count]
        if count * self._sector > MAX_PIECE:
            raise TroubleError(Wholeness.DAMAGED, "the table of the sectors is too large")
        raw = b"".join(self._read_sector(place) for place in used)
        return struct.unpack(f"<{len(raw) // 4}I", raw)

    def _chain(self, start: int) -> list[int]:
        found: list[int] = []
        sector = start
        while sector < _LAST_SECTOR:
            if sector >= len(self._table) or len(found) > len(self._table):
                raise TroubleError(Wholeness.DAMAGED, "a chain of sectors leads nowhere or in a circle")
            found.append(sector)
            sector = self._table[sector]
        return found

    def _directory(self, start: int) -> list[tuple[str, int, int, int, int, int, int]]:
        """(name, kind, left, right, child, start, size) of every entry."""
        raw = b"".join(self._read_sector(one) for one in self._chain(start)[:16384])
        found = []
        for at in range(0, len(raw) - 127, 128):
            length, kind = struct.unpack_from("<HB", raw, at + 64)
            left, right, child = struct.unpack_from("<3I", raw, at + 68)
            begin, size = struct.unpack_from("<IQ", raw, at + 116)
            if self._sector == 512:
                size &= 0xFFFFFFFF
            name = raw[at : at + max(0, min(length, 64) - 2)].decode("utf-16-le", "replace")
            found.append((name, kind, left, right, child, begin, size))
        return found

    def _walk(
        self, entries: list[tuple[str, int, int, int, int, int, int]], index: int, path: str, depth: int, seen: set[int]
    ) -> None:
        todo = [(index, path, depth)]
        while todo:
            index, path, depth = todo.pop()
            if index == _NONE or index >= len(entries) or index in seen or depth > 64:
                continue
            seen.add(index)
            name, kind, left, right, child, start, size = entries[index]
            todo += [(left, path, depth), (right, path, depth)]
            if kind == _STREAM:
                self.streams[path + name] = Stream(start, size)
            elif kind == _STORAGE:
                todo.append((child, f"{path}{name}/", depth + 1))

    def check(self) -> None:
        """Every stream's sectors lie in the file and are as many as its size needs. Raises TroubleError."""
        if self._mini_chain:
            self._check(self._mini_chain, self._mini_bytes, "of the small streams")
        for name, stream in self.streams.items():
            if stream.size >= self._cutoff:
                self._check(self._chain(stream.start), stream.size, name)

    def _check(self, chain: list[int], size: int, name: str) -> None:
        if len(chain) * self._sector < size:
            raise TroubleError(Wholeness.DAMAGED, f"stream {name} is shorter than the directory says")
        # The last sector of a file may be cut where the stream ends.
        rest = size - (len(chain) - 1) * self._sector
        for sector in chain[:-1]:
            self.file.inside(self._offset(sector), self._sector, f"stream {name}")
        self.file.inside(self._offset(chain[-1]), min(rest, self._sector), f"stream {name}")

    def read(self, name: str, limit: int = 4 << 20) -> bytes:
        """At most `limit` bytes of a stream. Raises TroubleError; KeyError when there is none."""
        stream = self.streams[name]
        size = min(stream.size, limit)
        if stream.size >= self._cutoff:
            need = -(-size // self._sector)
            parts = []
            for sector in self._chain(stream.start)[:need]:
                at = self._offset(sector)
                parts.append(self.file.read(at, min(self._sector, self.file.size - at), f"stream {name}"))
            return b"".join(parts)[:size]
        return self._read_mini(stream, size)

    def _read_mini(self, stream: Stream, size: int) -> bytes:
        """Small streams share the sectors of the root."""
        per = self._sector // self._mini
        found = b""
        mini = stream.start
        while len(found) < size and mini < _LAST_SECTOR:
            if mini // per >= len(self._mini_chain) or mini >= len(self._mini_table):
                raise TroubleError(Wholeness.DAMAGED, "a small stream leads nowhere")
            at = self._offset(self._mini_chain[mini // per]) + mini % per * self._mini
            found += self.file.read(at, self._mini, "a small stream")
            mini = self._mini_table[mini]
        return found[:size]
