"""Writers that put files on a disk in the order in which the real software does. Small, synthetic, seeded."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.writers.cameras import isxd, miniscope, prairie, scanimage, sif, spe, thor
from tests.writers.cellsens import cellsens
from tests.writers.containers import (
    cxd,
    femtonics,
    fluoview,
    imaris,
    las_x,
    nis_elements,
    softworx,
    zen,
)  # fmt: skip
from tests.writers.electron import dm, mrc, sem, ser, serialem, streak_img, streak_tiff, tem, tescan, velox
from tests.writers.micromanager import mm_images14, mm_images20, mm_stack14, mm_stack20, ndtiff
from tests.writers.plates import (
    cellvoyager1000,
    cv8000,
    leica_export,
    leica_matrix,
    metamorph_nd,
    metaxpress,
    oif,
    operetta,
    scanr,
)  # fmt: skip
from tests.writers.run import Op, Run
from tests.writers.sets import companion, ome_set, ome_tiff, ome_xml, unknown, zarr04, zarr05, zarr_appended
from tests.writers.slides import imagej, lsm, metaseries, ndpi, plain_tiff, qptiff, slide, slide_levels, stk

__all__ = ["WRITERS", "Op", "Run", "thor"]

WRITERS: dict[str, Callable[[random.Random], Run]] = {
    one.__name__: one
    for one in (
        sem, tescan, slide, ndpi, streak_tiff, streak_img, imagej, mrc, serialem, ser, spe, sif, isxd, velox, dm,
        scanimage, prairie, thor, miniscope,
        zen, las_x, nis_elements, softworx, fluoview, cxd, imaris, femtonics,
        operetta, cv8000, cellvoyager1000, metaxpress, oif, leica_export, leica_matrix, scanr, metamorph_nd,
        slide_levels, qptiff, plain_tiff, lsm, stk, metaseries, tem, cellsens,
        mm_stack14, mm_stack20, mm_images14, mm_images20, ndtiff,
        ome_tiff, ome_set, companion, ome_xml, zarr04, zarr05, zarr_appended, unknown,
    )
}  # fmt: skip
"""By name, the one that `benchmarks/fuzz_formats.py` takes."""
