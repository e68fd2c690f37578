"""Where the planes of vendors' TIFF files lie: what an OME-XML needs to lead from a plane to its file and directory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.formats import tiff_layout
from agent.formats.port import Dataset, Metadata, Place
from agent.formats.tiff_page import Head

if TYPE_CHECKING:
    from ome_types.model import Pixels

MAX_PLANES = 100_000
"""Places that are listed; so many make 15 MB of OME-XML."""
_TIFF = (".tif", ".tiff", ".tf2", ".tf8", ".btf")


def name_in(dataset: Dataset, path: Path) -> str:
    """The dataset-relative name of a file."""
    return path.relative_to(dataset.root).as_posix()


def placed(said: Metadata, dataset: Dataset, places: Iterable[Place]) -> Metadata:
    """`said` with the places of those images whose first file is as large, and of that type, as the vendor's text says.

    A plane that was taken twice keeps its last place. Files that are not there have none.
    """
    if said.ome is None:
        return said
    by_plane: dict[tuple[str, int, int, int], Place] = {}
    there = {name_in(dataset, path) for path in dataset.files}
    for one in places:
        if one.file in there and one.file.lower().endswith(_TIFF):
            by_plane[one.image, one.z, one.c, one.t] = one
            if len(by_plane) > MAX_PLANES:
                more = f"more than {MAX_PLANES} planes are too many to be addressed one by one"
                return replace(said, notes=(*said.notes, more))
    images: dict[str, list[Place]] = {}
    for one in by_plane.values():
        images.setdefault(one.image, []).append(one)
    found: list[Place] = []
    notes = list(said.notes)
    for image in said.ome.images:
        mine = images.get(image.id, [])
        pixels = image.pixels
        told = (pixels.size_x, pixels.size_y, pixels.type.value, _samples(pixels))
        if mine and (doubt := _doubt(dataset.root / mine[0].file, told)):
            notes.append(f"{mine[0].file} {doubt}, other than its description says: its planes are not addressed")
            continue
        found += mine
    return replace(said, places=tuple(found), notes=tuple(notes))


def _samples(pixels: Pixels) -> int:
    return max(pixels.channels[0].samples_per_pixel or 1, 1) if pixels.channels else 1


def _doubt(path: Path, told: tuple[int, int, str, int]) -> str:
    page = Head(path).page
    held = (page.width, page.height, page.pixels, page.samples)
    return "" if held == told else f"holds {page.width} x {page.height} {page.pixels} with {page.samples} samples"


def in_one_file(said: Metadata, dataset: Dataset) -> Metadata:
    """`said` with the places of one image in one file: its first plane, or as many as the file has directories."""
    if said.ome is None or len(said.ome.images) != 1:
        return said
    (image,) = said.ome.images
    count = image.pixels.size_z * (image.pixels.size_c // _samples(image.pixels)) * image.pixels.size_t
    if count not in (1, tiff_layout.layout(dataset.main).ifds):
        return said
    return placed(said, dataset, [Place(image.id, name_in(dataset, dataset.main), count=count)])
