"""Slide scanners, and the TIFF files of the laser microscopes."""

from __future__ import annotations

import random

from tests.writers.run import Run, noise, put, tiff


def slide(dice: random.Random) -> Run:
    run = Run("svs")
    put(run, "s.svs", tiff(dice, b"Aperio Image Library\n1x1|MPP = 0.5|AppMag = 20", None, False), dice)
    return run


def ndpi(dice: random.Random) -> Run:
    run = Run("ndpi")
    put(run, "n.ndpi", tiff(dice, b"", (65420, 1, b"\1" * 8), False), dice)
    return run


def imagej(dice: random.Random) -> Run:
    count = dice.randint(2, 6)
    run = Run("imagej-tiff")
    pieces = tiff(dice, b"ImageJ=1.53\nimages=%d\nslices=%d\n" % (count, count), None, True)
    put(run, "i.tif", [*pieces, (None, noise(dice, count - 1))], dice)
    return run
