"""The first directory of a TIFF or BigTIFF, read by hand: a few hundred bytes instead of a library's full parse."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

IMAGE_DESCRIPTION = 270
_MAX_ENTRIES = 4096
_PEEK = 1024

_STACK, _LSM = 33629, 34412


class NotPatchable(Exception):
    """Why a file cannot carry a new description."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a TIFF of one kind and byte order stores its directories."""

    order: str
    big: bool

    @property
    def pointer(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def counter(self) -> str:
        return self.order + ("Q" if self.big else "H")

    @property
    def first_at(self) -> int:
        """Where the header keeps the address of the first directory."""
        return 8 if self.big else 4

    @property
    def entry_size(self) -> int:
        return 20 if self.big else 12

    @property
    def align(self) -> int:
        return 8 if self.big else 2

    @property
    def limit(self) -> int:
        return 2**64 - 1 if self.big else 2**32 - 1

    def entry(self, tag: int, kind: int, count: int, at: int, value: bytes) -> bytes:
        """One directory entry; a value that fits stands inside the entry, as TIFF demands."""
        head = struct.pack(self.order + ("HHQ" if self.big else "HHI"), tag, kind, count)
        width = struct.calcsize(self.pointer)
        if len(value) <= width:
            return head + value.ljust(width, b"\0")
        return head + struct.pack(self.pointer, at)

    def directory_size(self, entries: int) -> int:
        return struct.calcsize(self.counter) + entries * self.entry_size + struct.calcsize(self.pointer)

    def directory(self, entries: list[bytes], next_ifd: bytes) -> bytes:
        return struct.pack(self.counter, len(entries)) + b"".join(entries) + next_ifd


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory: `(tag, raw entry)` pairs, and the raw address of the next directory."""

    layout: Layout
    entries: tuple[tuple[int, bytes], ...]
    next_ifd: bytes


def read_first(file: BinaryIO, size: int) -> Directory:
    """The first directory of an open file of `size` bytes, or NotPatchable."""
    layout = _layout(file)
    (at,) = struct.unpack(layout.pointer, _read(file, layout.first_at, struct.calcsize(layout.pointer)))
    if not layout.first_at < at < size:
        raise NotPatchable("its header points outside of the file")
    width = struct.calcsize(layout.counter)
    (count,) = struct.unpack(layout.counter, _read(file, at, width))
    if not 0 < count <= _MAX_ENTRIES:
        raise NotPatchable(f"its first directory claims {count} entries")
    raw = _read(file, at + width, count * layout.entry_size)
    step = layout.entry_size
    entries = tuple(
        (struct.unpack_from(layout.order + "H", raw, i)[0], raw[i : i + step]) for i in range(0, len(raw), step)
    )
    following = _read(file, at + width + len(raw), struct.calcsize(layout.pointer))
    return Directory(layout, entries, following)


def refuse_hidden_planes(first: Directory) -> None:
    """Raise NotPatchable where planes lie behind a directory in a way that only the vendor's readers know."""
    for tag, entry in first.entries:
        if tag == _LSM:
            raise NotPatchable("Zeiss LSM keeps thumbnails between its planes")
        # The number of values of this tag is the number of planes; PrairieView writes it with 1.
        if tag == _STACK and struct.unpack_from(first.layout.pointer, entry, 4)[0] > 1:
            raise NotPatchable("a MetaMorph stack has one directory for all of its planes")


def describes_in_ome(file: BinaryIO, first: Directory) -> bool:
    """Is the first description OME-XML?"""
    return b"<OME" in (text := _description_start(file, first)) or b":OME" in text


def _description_start(file: BinaryIO, first: Directory) -> bytes:
    layout = first.layout
    for tag, entry in first.entries:
        if tag != IMAGE_DESCRIPTION:
            continue
        (count,) = struct.unpack_from(layout.pointer, entry, 4)
        value = entry[-struct.calcsize(layout.pointer) :]
        if count <= len(value):
            return value[:count]
        file.seek(struct.unpack(layout.pointer, value)[0])
        return file.read(min(count, _PEEK))
    return b""


def _layout(file: BinaryIO) -> Layout:
    head = _read(file, 0, 8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    magic = struct.unpack((order or "<") + "H", head[2:4])[0]
    if order is None or magic not in (42, 43):
        raise NotPatchable("it is not a TIFF")
    if magic == 43 and struct.unpack(order + "HH", head[4:8]) != (8, 0):
        raise NotPatchable("its BigTIFF header is damaged")
    return Layout(order, magic == 43)


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    data = file.read(count)
    if len(data) < count:
        raise NotPatchable("it ends in the middle of its first directory")
    return data
