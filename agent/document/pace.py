"""How far apart the planes of an image lie in time and depth, as they were taken, which need not be as planned."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from itertools import pairwise

from agent.snapshot import Image


def intervals_s(image: Image) -> list[float]:
    """Seconds between the time points, measured at the same place of each; empty where a time is not known."""
    planes = image.planes
    return _steps(planes.the_t, planes.delta_s, zip(planes.the_z, planes.the_c, strict=True), image.size[4])


def depths_um(image: Image) -> list[float]:
    """Distances of neighbouring focal planes of the first stack; empty where a place is not known."""
    planes = image.planes
    steps = _steps(planes.the_z, planes.z_um, zip(planes.the_t, planes.the_c, strict=True), image.size[2])
    return [abs(step) for step in steps]


def _steps(index: array[int], values: array[float], others: Iterable[tuple[int, int]], count: int) -> list[float]:
    """Differences of neighbouring values along an index, at the first place that the other indices name."""
    first: tuple[int, int] | None = None
    found: dict[int, float] = {}
    for number, value, place in zip(index, values, others, strict=True):
        first = place if first is None else first
        if place == first:
            found.setdefault(number, value)
    if len(found) < count or not all(map(math.isfinite, found.values())):
        return []
    steps = [after - before for before, after in pairwise(found[number] for number in sorted(found))]
    return steps if all(steps) and len({step > 0 for step in steps}) == 1 else []


def even(steps: list[float], tolerance: float) -> bool:
    """Are all steps the same, to that share of the smallest?"""
    return max(steps) - min(steps) <= tolerance * min(steps)
