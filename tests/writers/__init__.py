"""Writers that put files on a disk in the order in which the real software does. Small, synthetic, seeded."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.writers.cameras import isxd, miniscope, prairie, scanimage, sif, spe, thor
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
from tests.writers.electron import dm, mrc, sem, ser, serialem, streak_img, streak_tiff, tescan, velox
from tests.writers.plates import (
    cellvoyager1000,
    leica_export,
    leica_matrix,
    metamorph_nd,
    oif,
    operetta,
    scanr,
)  # fmt: skip
from tests.writers.run import Op, Run
from tests.writers.slides import imagej, lsm, metaseries, ndpi, plain_tiff, qptiff, slide, slide_levels, stk

__all__ = ["WRITERS", "Op", "Run", "thor"]

WRITERS: dict[str, Callable[[random.Random], Run]] = {
    one.__name__: one
    for one in (
        sem, tescan, slide, ndpi, streak_tiff, streak_img, imagej, mrc, serialem, ser, spe, sif, isxd, velox, dm,
        scanimage, prairie, thor, miniscope,
        zen, las_x, nis_elements, softworx, fluoview, cxd, imaris, femtonics,
        operetta, cellvoyager1000, oif, leica_export, leica_matrix, scanr, metamorph_nd,
        slide_levels, qptiff, plain_tiff, lsm, stk, metaseries,
    )
}  # fmt: skip
"""By name, the one that `benchmarks/fuzz_formats.py` takes."""
