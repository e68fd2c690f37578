"""The segments of a ZEISS CZI file: header, directory of subblocks, metadata, attachments.

Every segment begins with a name of 16 bytes, its allocated and its used size. ZEN writes the positions of
directory and metadata into the header last and sets UpdatePending while it works.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.formats.binary import MAX_PIECE, Binary, damaged, growing, whole
from agent.formats.port import Verdict, Wholeness
from agent.formats.tiff_layout import TroubleError

MAGIC = b"ZISRAWFILE"
_SEGMENT = 32
PIXELS = {
    0: ("uint8", 1),
    1: ("uint16", 1),
    2: ("float", 1),
    3: ("uint8", 3),
    4: ("uint16", 3),
    8: ("float", 3),
    9: ("uint8", 4),
    10: ("complex", 1),
    11: ("double-complex", 1),
    12: ("int32", 1),
    13: ("double", 1),
}
"""OME type and samples by the number of a CZI pixel type."""
_MAX_ENTRIES = 5_000_000


@dataclass(frozen=True, slots=True)
class Header:
    """`part` is 0 for the main file; all parts name the same `primary`."""

    primary: bytes
    part: int
    directory: int
    metadata: int
    pending: bool
    attachments: int


@dataclass(slots=True)
class Block:
    """A subblock: (start, size) by dimension letter, at full size or a reduced copy (pyramid)."""

    pixels: int
    position: int
    part: int
    reduced: bool
    dims: dict[str, tuple[int, int]] = field(default_factory=dict)
    entry_bytes: int = 0


def header(file: Binary) -> Header:
    """Raises TroubleError."""
    if file.read(0, 10, "the header") != MAGIC:
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as a CZI file does")
    primary, part, directory, metadata, pending, attachments = file.unpack("<16x16s16xiqqiq", _SEGMENT, "the header")
    return Header(primary, part, directory, metadata, pending != 0, attachments)


def _segment(file: Binary, at: int, name: bytes) -> int:
    """Used size of a segment that must have this name and lie inside the file."""
    kind, allocated, used = file.unpack("<16sqq", at, name.decode().lower())
    if kind.rstrip(b"\0") != name:
        raise TroubleError(Wholeness.DAMAGED, f"at byte {at} there is no {name.decode()} where the header says so")
    size = used or allocated
    if size < 0:
        raise TroubleError(Wholeness.DAMAGED, f"{name.decode()} has an impossible size")
    file.inside(at + _SEGMENT, size, name.decode().lower())
    return int(size)


def blocks(file: Binary, found: Header) -> Iterator[Block]:
    """Every entry of the directory. Raises TroubleError."""
    size = _segment(file, found.directory, b"ZISRAWDIRECTORY")
    (count,) = file.unpack("<i", found.directory + _SEGMENT, "the directory")
    if not 0 <= count <= _MAX_ENTRIES or count * 32 > size:
        raise TroubleError(Wholeness.DAMAGED, f"the directory claims {count} subblocks")
    start = found.directory + _SEGMENT + 128
    length = min(size - 128, file.size - start)
    if length > MAX_PIECE * 4:
        raise TroubleError(Wholeness.DAMAGED, f"the directory claims {length} bytes")
    at, raw, base = 0, b"", start
    for _ in range(count):
        # In pieces, so that the directory of a slide scan does not lie in memory as a whole.
        if at + 2048 > len(raw) and base + len(raw) < start + length:
            base, at = base + at, 0
            raw = file.read(base, min(1 << 20, start + length - base), "the directory")
        block = _entry(raw, at)
        yield block
        at += block.entry_bytes


def _entry(raw: bytes, at: int) -> Block:
    try:
        schema, pixels, position, part, _, pyramid, dims = struct.unpack_from("<2siqiiB5xi", raw, at)
        if schema != b"DV" or not 0 <= dims <= 32:
            raise TroubleError(Wholeness.DAMAGED, "an entry of the directory is not one")
        block = Block(pixels, position, part, pyramid != 0, entry_bytes=32 + 20 * dims)
        for number in range(dims):
            name, start, size, _, stored = struct.unpack_from("<4siifi", raw, at + 32 + 20 * number)
            block.dims[name.rstrip(b"\0 ").decode("ascii", "replace")] = (start, size)
            block.reduced |= stored not in (0, size)
    except struct.error:
        raise TroubleError(Wholeness.DAMAGED, "the directory ends before its last entry") from None
    return block


def metadata(file: Binary, found: Header) -> bytes:
    """The metadata XML. Raises TroubleError."""
    _segment(file, found.metadata, b"ZISRAWMETADATA")
    (size,) = file.unpack("<i", found.metadata + _SEGMENT, "the metadata")
    return file.read(found.metadata + _SEGMENT + 256, size, "the metadata")


def block_metadata(file: Binary, block: Block) -> bytes:
    """The XML of one subblock (time, stage); empty when it has none. Raises TroubleError."""
    (size,) = file.unpack("<i", block.position + _SEGMENT, "a subblock")
    if not 0 < size <= 1 << 20:
        return b""
    return file.read(block.position + _SEGMENT + max(256, 16 + block.entry_bytes), size, "a subblock")


def _attachments(file: Binary, found: Header) -> Iterator[tuple[int, bytes]]:
    """Place and name of every attachment."""
    (count,) = file.unpack("<i", found.attachments + _SEGMENT, "the attachments")
    for number in range(min(max(count, 0), 1000)):
        entry = found.attachments + _SEGMENT + 256 + 128 * number
        position, name = file.unpack("<12xq28x80s", entry, "an attachment")
        yield position, name.split(b"\0")[0]


def timestamps(file: Binary, found: Header) -> list[float]:
    """Seconds by time point, from the attachment that LSM software writes; empty without one."""
    if found.attachments <= 0:
        return []
    if file.read(found.attachments, 14, "the attachments").rstrip(b"\0") != b"ZISRAWATTDIR":
        return []
    for position, name in _attachments(file, found):
        if name == b"TimeStamps":
            data = position + _SEGMENT + 256
            _, many = file.unpack("<ii", data, "the time stamps")
            return list(file.unpack(f"<{min(max(many, 0), 1_000_000)}d", data + 8, "the time stamps"))
    return []


def verdict(file: Binary) -> Verdict:
    """Whole when nothing is pending and header, directory, metadata and every subblock lie in the file."""
    found = header(file)
    if found.pending:
        return growing("the header says that the software is still writing (UpdatePending)")
    if found.part == 0 and (found.directory <= 0 or found.metadata <= 0):
        return growing("the header does not point at the directory and the metadata yet")
    if found.part == 0:
        _segment(file, found.metadata, b"ZISRAWMETADATA")
        metadata(file, found)
    last, count = 0, 0
    for block in blocks(file, found) if found.directory > 0 else ():
        if block.part == found.part:
            if block.position <= 0:
                return damaged("a subblock has an impossible place")
            last = max(last, block.position)
        count += 1
    if last:
        _segment(file, last, b"ZISRAWSUBBLOCK")
    if found.attachments > 0:
        _segment(file, found.attachments, b"ZISRAWATTDIR")
        for position, _ in _attachments(file, found):
            _segment(file, position, b"ZISRAWATTACH")
    return whole(f"the directory, the metadata and all {count} subblocks are there")
