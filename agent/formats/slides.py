"""Whole-slide TIFF: Aperio .svs, Hamamatsu .ndpi, Akoya .qptiff. Pyramid levels are no images of their own."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from agent.formats import ndpi_layout, slide_metadata, tiff_layout
from agent.formats.binary import head as first_bytes
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.slide_metadata import NDPI_FORMAT
from agent.formats.tiff_layout import IMAGE_DESCRIPTION, Layout, Tag
from agent.formats.tiff_page import Head, Page, text_value
from agent.formats.vendor_tiff import VendorTiff


def pages(dataset: Dataset) -> list[tuple[Page, str]]:
    """Every image of the chain with its description."""
    found: list[tuple[Page, str]] = []

    def one(file: BinaryIO, layout: Layout, tags: dict[int, Tag]) -> None:
        if len(found) < slide_metadata.MAX_PAGES:
            found.append((Page(file, layout, tags), text_value(file, tags.get(IMAGE_DESCRIPTION), 1 << 20)))

    tiff_layout.layout(dataset.main, visit=one)
    return found


class _Slide(VendorTiff):
    """A slide has a suffix of its own: it is known before its first image is."""

    def matches(self, path: Path) -> bool:
        if super().matches(path):
            return True
        if path.suffix.lower() != f".{self.name}" or not path.is_file():
            return False
        first = first_bytes(path, 4)
        if len(first) < 4:
            return any(magic.startswith(first) for magic in tiff_layout.MAGIC)
        head = Head(path)
        return not head.tags and head.layout.verdict.state is Wholeness.GROWING

    def is_whole(self, dataset: Dataset) -> Verdict:
        # A smaller copy may follow.
        return super().is_whole(dataset).without_end()


class Svs(_Slide):
    """Aperio ScanScope."""

    name = "svs"

    def claims(self, head: Head) -> bool:
        return head.text(IMAGE_DESCRIPTION, 64).startswith("Aperio")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images of the chain, levels and pictures of the slide among them."""
        return tiff_layout.layout(dataset.main).ifds

    def read(self, head: Head, dataset: Dataset) -> Metadata:
        return slide_metadata.aperio(head, pages(dataset))


class QpTiff(_Slide):
    """Akoya and PerkinElmer: one page a channel, XML in each."""

    name = "qptiff"

    def claims(self, head: Head) -> bool:
        said = head.text(IMAGE_DESCRIPTION, 4096)
        return "<PerkinElmer-QPI-ImageDescription" in said

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Channels of the full image."""
        return slide_metadata.full_size(pages(dataset))

    def read(self, head: Head, dataset: Dataset) -> Metadata:
        return slide_metadata.akoya(head, pages(dataset))


class Ndpi(_Slide):
    """Hamamatsu NanoZoomer. Files above 4 GB are TIFF with 64-bit places that the TIFF header does not announce."""

    name = "ndpi"

    def claims(self, head: Head) -> bool:
        return NDPI_FORMAT in head.tags

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.main.stat().st_size > ndpi_layout.WIDE:
            return ndpi_layout.verdict(dataset.main).without_end()
        return super().is_whole(dataset)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images of the chain, levels and pictures of the slide among them."""
        if dataset.main.stat().st_size > ndpi_layout.WIDE:
            return None
        found = tiff_layout.layout(dataset.main)
        return None if found.verdict.state is Wholeness.DAMAGED else found.ifds

    def read(self, head: Head, dataset: Dataset) -> Metadata:
        return slide_metadata.nanozoomer(head, pages(dataset))
