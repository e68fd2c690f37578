"""The skeleton of a TIFF file: its chain of image file directories (IFDs) and whether their data is there.

Written by us because tifffile raises eight kinds of exception on damaged files and costs 0.3 s to import.
Reads headers and indexes only; nothing here grows with what a header claims, only with what the file holds.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agent.formats.port import Verdict, Wholeness

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
IMAGE_DESCRIPTION, SOFTWARE, DATE_TIME = 270, 305, 306
_SUBFILE, _WIDTH, _SUB_IFDS, _METAMORPH = 254, 256, 330, 33629
_OFFSETS = ((273, 279), (324, 325))
_PLACES = {273, 324, 513, _SUB_IFDS}
"""Strips, tiles, a JPEG stream, or images of their own: an image has one of them."""
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_WHOLE = Verdict(Wholeness.WHOLE, "every plane that the file lists is there")
_MAX_ENTRIES = 4096
_MAX_ARRAY = 64 << 20


class TroubleError(Exception):
    """The file cannot be followed any further; carries the verdict."""

    def __init__(self, state: Wholeness, reason: str) -> None:
        super().__init__(reason)
        self.verdict = Verdict(state, reason)


class Tag(NamedTuple):
    """An entry of an IFD: `at` is where its value lies in the file, `size` how many bytes it has."""

    type: int
    values: int
    at: int
    size: int


@dataclass(slots=True)
class Layout:
    """What the chain holds. `planes` counts the full-size IFDs whose data lies inside the file."""

    size: int
    byteorder: str = "<"
    big: bool = False
    ifds: int = 0
    planes: int = 0
    first: dict[int, Tag] = field(default_factory=dict)
    """Tags of the first IFD."""
    end: int = 0
    """Where the last thing ends that something points to."""
    plane_bytes: int = 0
    """Bytes of the last plane, and where they end."""
    plane_end: int = 0
    verdict: Verdict = _WHOLE


Visit = Callable[[BinaryIO, Layout, dict[int, Tag]], None]


def layout(path: Path, max_ifds: int | None = None, visit: Visit | None = None) -> Layout:
    """Follow the chain of a TIFF file. Of the first `max_ifds` only the headers are read. Raises OSError only.

    `visit` sees the tags of every IFD of the chain whose data is there; it may raise TroubleError.
    """
    with path.open("rb") as file:
        found = Layout(os.fstat(file.fileno()).st_size)
        try:
            first = _header(file, found)
            if first == 0:
                raise TroubleError(Wholeness.GROWING, "the file has a header and no image yet")
            _chain(file, found, first, max_ifds, visit)
        except TroubleError as trouble:
            found.verdict = trouble.verdict
        else:
            if max_ifds is None:
                _tail(file, found)
    return found


def _header(file: BinaryIO, found: Layout) -> int:
    """Offset of the first IFD."""
    head = file.read(16)
    if len(head) < 8:
        raise TroubleError(Wholeness.GROWING, "the file has no header yet")
    if head[:4] not in MAGIC:
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as a TIFF file does")
    found.byteorder = "<" if head[:2] == b"II" else ">"
    found.big = 43 in (head[2], head[3])
    found.end = 16 if found.big else 8
    if not found.big:
        return int(struct.unpack_from(found.byteorder + "I", head, 4)[0])
    if len(head) < 16:
        raise TroubleError(Wholeness.GROWING, "the file has no header yet")
    return int(struct.unpack_from(found.byteorder + "Q", head, 8)[0])


def _chain(file: BinaryIO, found: Layout, first: int, max_ifds: int | None, visit: Visit | None) -> None:
    seen: set[int] = set()
    offset = first
    while offset and (max_ifds is None or found.ifds < max_ifds):
        if offset in seen:
            raise TroubleError(Wholeness.DAMAGED, "the list of images runs in a circle")
        seen.add(offset)
        tags, following = _ifd(file, found, offset)
        if not found.ifds:
            found.first = tags
        found.ifds += 1
        offset = following
        if max_ifds is not None:
            continue
        if offset not in seen and (_WIDTH not in tags or not _PLACES & tags.keys()):
            # Of a file that got its full size ahead of its content, as copying programs make it.
            raise TroubleError(Wholeness.GROWING, f"the header of image {found.ifds - 1} does not say where it is yet")
        _data(file, found, tags)
        reduced = tags.get(_SUBFILE)
        if reduced is None or not _first_value(file, found, reduced) & 1:
            found.planes += 1
        if visit is not None:
            visit(file, found, tags)
        for sub in _numbers(file, found, tags.get(_SUB_IFDS)):
            if sub not in seen:
                seen.add(sub)
                _data(file, found, _ifd(file, found, sub)[0])


def _ifd(file: BinaryIO, found: Layout, offset: int) -> tuple[dict[int, Tag], int]:
    """The tags of an IFD and the offset of the next one."""
    wide = found.big
    number, entry, link = (8, 20, 8) if wide else (2, 12, 4)
    file.seek(_inside(offset, number, found, "the list of images goes on behind the end of the file"))
    count = int.from_bytes(file.read(number), "little" if found.byteorder == "<" else "big")
    if not 0 < count <= _MAX_ENTRIES:
        raise TroubleError(Wholeness.DAMAGED, f"image {found.ifds} has an impossible header ({count} entries)")
    length = number + count * entry + link
    _inside(offset, length, found, f"the header of image {found.ifds} is cut off")
    raw = file.read(count * entry + link)
    if len(raw) < count * entry + link:
        raise TroubleError(Wholeness.GROWING, f"the header of image {found.ifds} is cut off")
    found.end = max(found.end, offset + length)
    tags: dict[int, Tag] = {}
    form = found.byteorder + ("HHQ8s" if wide else "HHI4s")
    place = 12 if wide else 8
    for i, (code, kind, values, _) in enumerate(struct.iter_unpack(form, raw[: count * entry])):
        size = _SIZES.get(kind, 1) * values
        at = offset + number + i * entry + place
        if size > link:
            at = int(struct.unpack_from(found.byteorder + ("Q" if wide else "I"), raw, i * entry + place)[0])
            _inside(at, size, found, f"header values of image {found.ifds} lie behind the end of the file")
            found.end = max(found.end, at + size)
        # Micro-Manager writes a second description for ImageJ behind the OME-XML: the first one counts.
        tags.setdefault(code, Tag(kind, values, at, size))
    return tags, int(struct.unpack_from(found.byteorder + ("Q" if wide else "I"), raw, count * entry)[0])


def _data(file: BinaryIO, found: Layout, tags: dict[int, Tag]) -> None:
    """The strips or tiles must lie inside the file; those of zero bytes are left out by the writer."""
    for offsets_tag, counts_tag in _OFFSETS:
        if offsets_tag not in tags:
            continue
        offsets = _numbers(file, found, tags[offsets_tag])
        counts = _numbers(file, found, tags.get(counts_tag))
        end = max((o + c for o, c in zip(offsets, counts, strict=False) if c), default=0)
        if end > found.size:
            raise TroubleError(
                Wholeness.GROWING, f"the pixels of image {found.ifds - 1} are cut off by the end of the file"
            )
        found.end = max(found.end, end)
        found.plane_bytes, found.plane_end = sum(counts), end


def _numbers(file: BinaryIO, found: Layout, tag: Tag | None) -> array[int] | tuple[()]:
    """Unsigned integers of a tag."""
    if tag is None or tag.type not in _CODES:
        return ()
    if tag.size > _MAX_ARRAY:
        raise TroubleError(Wholeness.DAMAGED, f"a header claims {tag.values} parts of one image")
    values = array(_CODES[tag.type])
    if values.itemsize != _SIZES[tag.type]:
        raise TroubleError(Wholeness.UNKNOWN, "this machine has unusual integer sizes")
    file.seek(tag.at)
    raw = file.read(tag.size)
    if len(raw) != tag.size:
        raise TroubleError(Wholeness.GROWING, "header values are cut off by the end of the file")
    values.frombytes(raw)
    if (found.byteorder == "<") != (sys.byteorder == "little"):
        values.byteswap()
    return values


def _first_value(file: BinaryIO, found: Layout, tag: Tag) -> int:
    values = _numbers(file, found, tag)
    return values[0] if values else 0


def _inside(offset: int, length: int, found: Layout, reason: str) -> int:
    if offset + length > found.size:
        raise TroubleError(Wholeness.GROWING, reason)
    return offset


def _tail(file: BinaryIO, found: Layout) -> None:
    """Planes that the chain does not list: ImageJ stacks list one IFD, unfinished files not yet all."""
    if found.ifds == 1 and found.plane_bytes and _METAMORPH not in found.first:
        head = b"".join(text_chunks(file, found, IMAGE_DESCRIPTION, limit=2048))
        if head.startswith(b"ImageJ="):
            _imagej(found, head)
    left = found.size - found.end
    follows = found.plane_bytes > 0 and found.plane_end == found.end
    if follows and left >= found.plane_bytes and found.verdict.state is Wholeness.WHOLE:
        found.verdict = Verdict(
            Wholeness.UNKNOWN, f"{left} bytes at the end belong to no listed image: maybe still being written"
        )


def _imagej(found: Layout, head: bytes) -> None:
    """ImageJ writes one IFD and then all planes one behind the other."""
    images = next((line[7:] for line in head.splitlines() if line.startswith(b"images=")), b"1")
    count = int(images) if images.isdigit() and len(images) < 12 else 1
    start = found.end - found.plane_bytes
    there = (found.size - start) // found.plane_bytes
    found.planes = min(count, there)
    found.end = start + found.planes * found.plane_bytes
    if there < count:
        found.verdict = Verdict(Wholeness.GROWING, f"{there} of {count} planes of the ImageJ stack are there")


def text_chunks(file: BinaryIO, found: Layout, code: int, limit: int | None = None) -> Iterator[bytes]:
    """The text of a tag of the first IFD in pieces, so that a description of 100 MB never lies in memory."""
    tag = found.first.get(code)
    left = 0 if tag is None else min(tag.size, tag.size if limit is None else limit)
    at = 0 if tag is None else tag.at
    while left > 0:
        file.seek(at)
        piece = file.read(min(left, 1 << 16))
        if not piece:
            return
        at, left = at + len(piece), left - len(piece)
        yield piece.rstrip(b"\0") if left <= 0 else piece


def text(path: Path, found: Layout, code: int, limit: int = 1 << 20) -> str:
    """The text of a tag of the first IFD, at most `limit` bytes of it; empty when there is none."""
    with path.open("rb") as file:
        raw = b"".join(text_chunks(file, found, code, limit))
    return raw.rstrip(b"\0").decode("utf-8", errors="replace")


def short(path: Path, found: Layout, code: int) -> int | None:
    """The first integer of a tag of the first IFD; None when there is none."""
    tag = found.first.get(code)
    if tag is None:
        return None
    with path.open("rb") as file:
        try:
            values = _numbers(file, found, tag)
        except TroubleError:
            return None
    return int(values[0]) if values else None
