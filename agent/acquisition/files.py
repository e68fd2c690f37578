"""The files of an acquisition, many in little memory: a hundred thousand are 1 MB instead of 45.

Every thread that looks for work reads the acquisition from the outbox, and what it read it also leaves behind in its
heap: so little must be read.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

_FEW = 1000
"""Up to so many are kept as they are."""
_BETWEEN_NAMES = "//"
"""Stands in no relative POSIX name."""
_BETWEEN_IDS = "\n"
_FAST = 1


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that the acquisition software wrote."""

    path: str
    """Absolute."""
    name: str
    """Relative to the dataset's root, POSIX; `data/{name}` at the facility."""
    size: int
    mtime_ns: int
    file_id: str


@dataclass(frozen=True, slots=True, eq=False)
class ManyFiles(Sequence[SourceFile]):
    """Files as columns; each is made anew when it is asked for. Equal to the tuple of the same files."""

    total: int
    names: bytes
    """Packed by zlib, like the other columns."""
    numbers: bytes
    """Size and time (ns) of each: pairs of signed 64 bit, in the byte order of this machine."""
    ids: bytes
    folders: tuple[tuple[int, str], ...]
    """What stands before the name in the path, and from which file on."""
    odd: tuple[tuple[int, SourceFile], ...] = ()
    """Files whose path does not end in their name, with their place."""

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[SourceFile]:
        numbers = memoryview(zlib.decompress(self.numbers)).cast("q")
        odd, folders = dict(self.odd), dict(self.folders)
        before = ""
        texts = zip(_pieces(self.names, _BETWEEN_NAMES), _pieces(self.ids, _BETWEEN_IDS), strict=True)
        for place, (name, file_id) in enumerate(texts):
            before = folders.get(place, before)
            path = before + name.replace("/", os.sep)
            plain = SourceFile(path, name, numbers[2 * place], numbers[2 * place + 1], file_id)
            yield odd.get(place, plain) if odd else plain

    @overload
    def __getitem__(self, place: int) -> SourceFile: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[SourceFile, ...]: ...

    def __getitem__(self, place: int | slice) -> SourceFile | tuple[SourceFile, ...]:
        """From the first on: meant for the first."""
        if isinstance(place, slice):
            return tuple(self)[place]
        at = place + len(self) if place < 0 else place
        for file in islice(self, at, at + 1) if at >= 0 else ():
            return file
        raise IndexError(place)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ManyFiles | tuple):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))


Files = ManyFiles | tuple[SourceFile, ...]


def compact(files: Iterable[SourceFile]) -> Files:
    """The files, in little memory when they are many."""
    coming = iter(files)
    first = tuple(islice(coming, _FEW + 1))
    if len(first) <= _FEW:
        return first
    names, ids = _Text(_BETWEEN_NAMES), _Text(_BETWEEN_IDS)
    numbers, folders, odd = array("q"), list[tuple[int, str]](), list[tuple[int, SourceFile]]()
    place = 0
    for some in (first, coming):
        for file in some:
            before = _before(file)
            if before is None:
                odd.append((place, file))
            elif not folders or folders[-1][1] != before:
                folders.append((place, before))
            names.add("" if before is None else file.name)
            ids.add("" if before is None else file.file_id)
            numbers.extend((0, 0) if before is None else (file.size, file.mtime_ns))
            place += 1
    return ManyFiles(place, names.whole(), zlib.compress(numbers, _FAST), ids.whole(), tuple(folders), tuple(odd))


def _before(file: SourceFile) -> str | None:
    """What stands before the name in the path; None where the columns cannot tell this file."""
    if _BETWEEN_NAMES in file.name or file.name[:1] == "/" or file.name[-1:] in ("/", "") or "\n" in file.file_id:
        return None
    path = file.name.replace("/", os.sep)
    return file.path[: len(file.path) - len(path)] if file.path.endswith(path) else None


class _Text:
    """Pieces with something between them, packed a thousand at a time."""

    def __init__(self, between: str) -> None:
        self._between, self._packed, self._last = between, bytearray(), list[str]()
        self._packing = zlib.compressobj(_FAST)

    def add(self, piece: str) -> None:
        self._last.append(piece)
        if len(self._last) == _FEW:
            self._pack()
            # What comes next stands behind a separator.
            self._last.append("")

    def _pack(self) -> None:
        text = self._between.join(self._last)
        self._packed += self._packing.compress(text.encode("utf-8", "surrogatepass"))
        self._last.clear()

    def whole(self) -> bytes:
        self._pack()
        return bytes(self._packed + self._packing.flush())


def _pieces(packed: bytes, between: str) -> Iterator[str]:
    """What was packed, one after the other."""
    text, at = zlib.decompress(packed).decode("utf-8", "surrogatepass"), 0
    while True:
        end = text.find(between, at)
        if end < 0:
            yield text[at:]
            return
        yield text[at:end]
        at = end + len(between)
