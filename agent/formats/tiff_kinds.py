"""Images of different sizes or types in one plain TIFF file: they are no series of one another."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from agent.formats import ome_build
from agent.formats.tiff_page import BITS, SUBFILE, WIDTH, Page

if TYPE_CHECKING:
    from ome_types import OME

    from agent.formats.tiff_layout import Layout, Tag

_MAX_KINDS = 1000
_ENTRY = 20
"""Most bytes of an entry of an IFD."""


class TiffKinds:
    """Sees every IFD; `images` are the full-size ones by (width, height, samples, OME type)."""

    def __init__(self) -> None:
        self.images: dict[tuple[int, int, int, str | None], list[int]] = {}
        self._known: dict[bytes, list[int]] = {}

    def __call__(self, file: BinaryIO, found: Layout, tags: dict[int, Tag]) -> None:
        """The next IFD. What tells its kind mostly lies side by side: one read for a page like the one before."""
        said = b""
        first, last = tags.get(SUBFILE, tags.get(WIDTH)), tags.get(BITS)
        if first is not None and last is not None and 0 < last.at - first.at <= 3 * _ENTRY:
            file.seek(first.at)
            said = file.read(last.at + last.size - first.at)
        numbers = self._known.get(said) if said else None
        if numbers is None:
            page = Page(file, found, tags)
            if page.subfile & 1:
                return
            numbers = self.images.setdefault((page.width, page.height, page.samples, page.pixels), [])
            self._known[said] = numbers
        numbers.append(found.ifds - 1)

    def ome(self, name: str) -> OME | None:
        """One image of each kind, its planes as frames; None where OME has a type for none of them."""
        from ome_types import OME
        from ome_types.model import Image, TiffData

        images: list[Image] = []
        for (width, height, samples, pixels), ifds in islice(self.images.items(), _MAX_KINDS):
            if pixels is None:
                continue
            sizes = {"x": width, "y": height, "t": len(ifds)}
            image = ome_build.image(len(images), f"{name} #{len(images)}", sizes, pixels, samples=samples)
            image.pixels.metadata_only = None
            image.pixels.tiff_data_blocks = [TiffData(ifd=ifd, plane_count=1, first_t=t) for t, ifd in enumerate(ifds)]
            images.append(image)
        return OME(images=images) if images else None
