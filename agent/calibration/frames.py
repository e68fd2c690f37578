"""Checks that every analysis makes on its images before it believes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import Rejected

Image = NDArray[Any]
Floats = NDArray[np.float64]

_DEPTHS = (8, 10, 11, 12, 14, 16)
_PILED = 10
_BRIGHT = 200
"""ADU; below, a few values hold all pixels and pile up by themselves."""
_NEAR = 5


def check_stack(what: str, stack: Image, axes: str, least: int) -> Image:
    """The stack, or Rejected: wrong number of axes, too few frames, axes in another order, not a number."""
    if stack.ndim != len(axes):
        raise Rejected(f"{what}: {stack.ndim} axes of size {stack.shape} are no {axes} image")
    if axes != "YX" and stack.shape[0] < least:
        raise Rejected(f"{what}: {stack.shape[0]} frame(s), at least {least} are needed")
    height, width = stack.shape[-2:]
    if min(height, width) < 16:
        raise Rejected(f"{what}: frames of {width} x {height} pixels; are the axes {axes}? Size is {stack.shape}")
    first = stack.shape[0]
    # Frames are fewer than pixels and about square: an axis of a few entries at the end is time or depth.
    if axes != "YX" and first > 4 * width and min(height, first) > 2 * width:
        raise Rejected(f"{what}: size {stack.shape} looks like frames last; give the axes as {axes}")
    if stack.dtype.kind == "c" or stack.dtype.kind not in "uif":
        raise Rejected(f"{what}: {stack.dtype} is no intensity")
    if stack.dtype.kind == "f" and not np.isfinite(stack).all():
        raise Rejected(f"{what}: some pixels are not numbers")
    if stack.max() == stack.min():
        raise Rejected(f"{what}: every pixel is {stack.flat[0]}: nothing was imaged")
    return stack


def saturation_level(stacks: Sequence[Image], full_scale: float | None = None) -> float | None:
    """Value at which pixels saturate: as given, or the largest one where many pixels pile up; None: nowhere."""
    top = max(float(stack.max()) for stack in stacks)
    if full_scale is not None:
        return full_scale if top >= full_scale else None
    piled = sum(int(np.count_nonzero(stack == top)) for stack in stacks)
    if piled < _PILED:
        return None
    if top in [2.0**bits - 1 for bits in _DEPTHS]:
        return top
    # A full well below the end of the scale: light thins out towards its largest value, a clipped one does not.
    reached = [stack[(stack < top) & (stack >= 0.98 * top)] for stack in stacks]
    below = np.concatenate([values.ravel() for values in reached])
    if top < _BRIGHT or not below.size:
        return None
    near = int(np.unique(below, return_counts=True)[1][-_NEAR:].max())
    return top if piled > 4 * near else None


def range_of(stacks: Sequence[Image], full_scale: float | None = None) -> float:
    """The camera's largest value: as given, or the smallest bit depth that holds every pixel."""
    if full_scale is not None:
        return full_scale
    top = max(float(stack.max()) for stack in stacks)
    return next((2.0**bits - 1 for bits in _DEPTHS if top < 2**bits), top)


def moments(stack: Image) -> tuple[Floats, Floats]:
    """(mean, variance) of each pixel over the frames, one frame in memory at a time."""
    total = np.zeros(stack.shape[1:])
    for frame in stack:
        total += frame
    mean = total / len(stack)
    squares = np.zeros(stack.shape[1:])
    for frame in stack:
        squares += np.square(frame - mean)
    return mean, squares / max(len(stack) - 1, 1)


def variance_error(variances: Floats, samples: Floats | None = None) -> float:
    """Standard error of the mean of many values, from their scatter."""
    values = variances if samples is None else samples
    return float(values.std(ddof=1) / np.sqrt(values.size))
