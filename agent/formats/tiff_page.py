"""The first image of a TIFF file: its tags as values, without a reader that would need 0.3 s to be imported.

Nothing is read that lies behind the end of the file, nothing larger than a limit.
"""

from __future__ import annotations

import struct
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from agent.formats import tiff_layout
from agent.formats.ome_build import pixel_type
from agent.formats.tiff_layout import Layout, Tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ome_types.model import Image

MAX_VALUE = 16 << 20
"""Bytes of one tag that are read."""
SUBFILE, WIDTH, HEIGHT, BITS, SAMPLES, SAMPLE_FORMAT, PHOTOMETRIC = 254, 256, 257, 258, 277, 339, 262
MAKE, MODEL, ARTIST, X_RESOLUTION, RESOLUTION_UNIT = 271, 272, 315, 282, 296
_FORMS = {1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d"}
_FORMS |= {16: "Q", 17: "q", 18: "Q"}
_KINDS = {1: "uint", 2: "int", 3: "float"}
_COMPLEX = 6


def raw_value(file: BinaryIO, tag: Tag | None, limit: int = MAX_VALUE) -> bytes:
    """The bytes of a tag, at most `limit` of them; empty where there is no such tag."""
    if tag is None:
        return b""
    file.seek(tag.at)
    return file.read(min(tag.size, limit))


def values(file: BinaryIO, found: Layout, tag: Tag | None, limit: int = MAX_VALUE) -> tuple[Any, ...]:
    """The numbers of a tag, a fraction as two of them; empty where there are none."""
    if tag is None or tag.type not in _FORMS:
        return ()
    form = _FORMS[tag.type]
    width = struct.calcsize("<" + form)
    raw = raw_value(file, tag, limit)
    count = len(raw) // width * len(form)
    return struct.unpack(f"{found.byteorder}{count}{form[0]}", raw[: len(raw) // width * width])


def text_value(file: BinaryIO, tag: Tag | None, limit: int = MAX_VALUE) -> str:
    """The text of a tag, to its first zero; UTF-8, or Windows-1252 where it is not."""
    raw = raw_value(file, tag, limit).split(b"\0", 1)[0]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


class Page:
    """What an IFD says of its image."""

    def __init__(self, file: BinaryIO, found: Layout, tags: dict[int, Tag]) -> None:
        def first(code: int, default: int) -> int:
            said = values(file, found, tags.get(code), 64)
            return int(said[0]) if said else default

        self.width, self.height = first(WIDTH, 0), first(HEIGHT, 0)
        self.samples = first(SAMPLES, 1)
        self.bits = first(BITS, 1)
        self.kind = first(SAMPLE_FORMAT, 1)
        self.subfile = first(SUBFILE, 0)

    @property
    def dtype(self) -> str:
        """As numpy names it; empty where there is no such type."""
        if self.bits == 1:
            return "bool"
        if self.kind == _COMPLEX:
            return f"complex{self.bits}"
        kind = _KINDS.get(self.kind, "uint")
        # 10, 12 and 14 bits are kept in the next wider type.
        bits = next((wide for wide in (8, 16, 32, 64) if wide >= self.bits), 0)
        return f"{kind}{bits}" if bits else ""

    @property
    def pixels(self) -> str | None:
        """OME pixel type; None where OME has none or the image has no size."""
        return pixel_type(self.dtype) if self.width > 0 and self.height > 0 and 0 < self.samples < 64 else None

    def image(
        self,
        number: int,
        name: str,
        *,
        steps: Mapping[str, tuple[float, str]] | None = None,
        channels: Sequence[Mapping[str, Any]] = (),
        planes: Sequence[Mapping[str, Any]] = (),
        date: Any = None,
    ) -> Image | None:
        """OME image of one plane; None where OME has no pixel type for it."""
        from agent.formats import ome_build

        if self.pixels is None:
            return None
        return ome_build.image(
            number,
            name,
            {"x": self.width, "y": self.height},
            self.pixels,
            steps=steps,
            channels=channels,
            samples=self.samples,
            planes=planes,
            date=date,
        )


class Head:
    """The first IFD of a TIFF file, as far as it is there; empty for every other file. Raises OSError only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layout = tiff_layout.layout(path, max_ifds=1)

    @property
    def tags(self) -> dict[int, Tag]:
        return self.layout.first

    def text(self, code: int, limit: int = MAX_VALUE) -> str:
        """The text of a tag; empty where there is none."""
        if code not in self.tags:
            return ""
        with self.path.open("rb") as file:
            return text_value(file, self.tags[code], limit)

    def raw(self, code: int, limit: int = MAX_VALUE) -> bytes:
        """The bytes of a tag; empty where there are none."""
        if code not in self.tags:
            return b""
        with self.path.open("rb") as file:
            return raw_value(file, self.tags[code], limit)

    def values(self, code: int) -> tuple[Any, ...]:
        """The numbers of a tag; empty where there are none."""
        with self.path.open("rb") as file:
            return values(file, self.layout, self.tags.get(code))

    @cached_property
    def page(self) -> Page:
        """What it says of its image."""
        with self.path.open("rb") as file:
            return Page(file, self.layout, self.tags)

    def software(self) -> dict[str, str]:
        """What the TIFF's own tag names."""
        name = self.text(tiff_layout.SOFTWARE, 4096).strip()
        return {"TIFF Software": name} if name else {}
