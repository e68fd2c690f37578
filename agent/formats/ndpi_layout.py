"""The chain of NDPI files above 4 GB: 32-bit TIFF whose places have 32 more bits behind each directory."""

from __future__ import annotations

import struct
from pathlib import Path

from agent.formats import binary
from agent.formats.port import Verdict
from agent.formats.tiff_layout import TroubleError

WIDE = (1 << 32) - 1
_OFFSET, _LENGTH = 273, 279
_MAX_IMAGES = 10_000
_LONG = 4


def verdict(path: Path) -> Verdict:
    """Whole when the chain ends and the pixels of every image lie in the file."""
    seen: set[int] = set()
    try:
        with binary.opened(path) as file:
            (at,) = file.unpack("<Q", 4, "the header")
            while at:
                if at in seen or len(seen) > _MAX_IMAGES:
                    return binary.damaged("the list of images runs in a circle")
                seen.add(at)
                at = _image(file, at)
    except TroubleError as trouble:
        return trouble.verdict
    if not seen:
        return binary.growing("the file has a header and no image yet")
    return binary.whole("every image that the file lists is there")


def _image(file: binary.Binary, at: int) -> int:
    """Check one image; the place of the next one."""
    (count,) = file.unpack("<H", at, "an image's header")
    entries = file.read(at + 2, count * 12 + 8 + count * 4, "an image's header")
    high = struct.unpack_from(f"<{count}I", entries, count * 12 + 8)
    places: dict[int, int] = {}
    for number, (code, kind, values, low) in enumerate(struct.iter_unpack("<HHII", entries[: count * 12])):
        if code in (_OFFSET, _LENGTH) and kind == _LONG and values == 1:
            places[code] = low | high[number] << 32
    if _OFFSET in places and _LENGTH in places:
        file.inside(places[_OFFSET], places[_LENGTH], "the pixels of an image")
    return int(struct.unpack_from("<Q", entries, count * 12)[0])
