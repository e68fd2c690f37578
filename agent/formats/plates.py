"""Which well of a plate each image was taken in, as OME wants it: one plate, its wells, a sample for each image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ome_types import OME

MAX_SIDE = 256
"""Rows or columns; the largest plates that are made have 48 columns."""


def well(name: str) -> tuple[int, int] | None:
    """(row, column) from 0 of `B02` and `AA12`; None for everything else."""
    found = re.fullmatch(r"([A-Za-z]{1,2})(\d{1,3})", name.strip())
    if found is None:
        return None
    row = 0
    for letter in found[1].upper():
        row = row * 26 + ord(letter) - 64
    return _sane(row - 1, int(found[2]) - 1)


def _sane(row: int, column: int) -> tuple[int, int] | None:
    return (row, column) if 0 <= row < MAX_SIDE and 0 <= column < MAX_SIDE else None


def with_plate(
    ome: OME, name: str, wells: Sequence[tuple[int, int] | None], rows: int | None = None, columns: int | None = None
) -> OME:
    """`ome` with a plate in which image i lies in `wells[i]`, (row, column) from 0; unchanged where none is known.

    `rows` and `columns` are the size of the plate, left out where they cannot be right.
    """
    from ome_types import model

    places: dict[tuple[int, int], list[model.WellSample]] = {}
    for index, (image, place) in enumerate(zip(ome.images, wells, strict=False)):
        if place is None or _sane(*place) is None:
            continue
        sample = model.WellSample(id=f"WellSample:0:{index}", index=index, image_ref=model.ImageRef(id=image.id))
        places.setdefault(place, []).append(sample)
    if not places:
        return ome
    plate = model.Plate(
        id="Plate:0",
        name=name or None,
        row_naming_convention=model.NamingConvention.LETTER,
        column_naming_convention=model.NamingConvention.NUMBER,
        wells=[
            model.Well(id=f"Well:0:{number}", row=row, column=column, well_samples=places[row, column])
            for number, (row, column) in enumerate(sorted(places))
        ],
        rows=_size(rows, max(row for row, _ in places)),
        columns=_size(columns, max(column for _, column in places)),
    )
    return ome.model_copy(update={"plates": [plate]})


def _size(said: int | None, last: int) -> int | None:
    return said if said is not None and last < said <= MAX_SIDE else None
