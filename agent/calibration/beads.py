"""Finds beads in a stack and fits a 3-D Gaussian to each; every bead that is left out is counted with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from agent.calibration.frames import Floats, Image, check_stack
from agent.errors import Rejected

GAUSS = 2.354820045030949
_SNR = 10.0
_GOOD_R2 = 0.8
_OUTLIER = 3.5
_TWO = 5.0
_ALIKE = 0.04
"""Scatter of the logarithm of area that bright beads have at least, as lenses are not perfect."""
_ROUNDS = 60
_SETTLED = 1e-6
_HALVES = 8


@dataclass(frozen=True, slots=True)
class Bead:
    """A fitted bead; positions and FWHM in pixels (z, y, x); z is 0 and its FWHM NaN in a single plane."""

    centre: Floats
    fwhm: Floats
    asymmetry: float
    """Largest over smallest lateral FWHM, whatever their direction."""
    amplitude: float
    background: float
    r2: float
    likeness: float
    """R2 after both bead and fit were smoothed by a pixel: a dim bead is as good as a bright one, only noisier."""
    axial: float = np.nan
    """Width above the middle over that below it, along z; NaN in a single plane or where it cannot be told."""


@dataclass(slots=True)
class Found:
    """The beads that count, and how many do not, by reason."""

    beads: list[Bead] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    radius: tuple[int, int] = (0, 0)
    """Half-size of the cut-outs, pixels (z, lateral)."""


def find(stack: Image, saturates: float | None = None) -> Found:
    """Beads of a (Z, Y, X) stack, one plane allowed. Rejected when there is none at all."""
    check_stack("beads", stack, "ZYX", 1)
    image = stack.astype(np.float64)
    found = Found()
    places = _candidates(image)
    if not len(places):
        raise Rejected("no bead stands out of the background: are beads in focus, and is this the right channel?")
    found.radius = _radius(image, places)
    lateral = found.radius[1]
    kept = _apart(places, lateral, image.shape, found.rejected)
    fitted = []
    for z, y, x in kept:
        cut = _cut(image, (z, y, x), found.radius)
        if saturates is not None and cut.values.max() >= saturates:
            found.rejected["saturated"] += 1
            continue
        bead = _fit(cut)
        reason = _fault(bead, image.shape[0], lateral)
        if bead is None or reason:
            found.rejected[reason or "bad_fit_gaussian"] += 1
        else:
            fitted.append(bead)
    found.beads = _alike(fitted, found.rejected)
    return found


def fit_at(stack: Image, centre: Floats, radius: tuple[int, int]) -> Bead | None:
    """The bead near a place (z, y, x) of another channel; None when there is no good one."""
    lateral = radius[1]
    y, x = (round(float(c)) for c in centre[1:])
    if not (lateral <= y < stack.shape[1] - lateral and lateral <= x < stack.shape[2] - lateral):
        return None
    near = stack[:, y - 2 : y + 3, x - 2 : x + 3].astype(np.float64)
    peak = np.unravel_index(int(ndimage.gaussian_filter(near, 0.7).argmax()), near.shape)
    start = (int(peak[0]), y - 2 + int(peak[1]), x - 2 + int(peak[2]))
    if not (lateral <= start[1] < stack.shape[1] - lateral and lateral <= start[2] < stack.shape[2] - lateral):
        return None
    bead = _fit(_cut(stack.astype(np.float64, copy=False), start, radius))
    return None if bead is None or _fault(bead, stack.shape[0], lateral) else bead


def _candidates(image: Floats) -> Floats:
    """Peaks of the maximum projection that stand out of the noise, (n, 3) as z, y, x."""
    # Smoothed after the projection: a plane at a time would cost more than all the fits.
    projection = ndimage.gaussian_filter(image.max(axis=0), 1.0)
    background = float(np.median(projection))
    noise = 1.4826 * float(np.median(np.abs(projection - background))) + 1e-9
    peaks = projection == ndimage.maximum_filter(projection, 7)
    strong = float(np.sort(projection[peaks])[-5:].mean()) - background
    peaks &= projection > background + max(_SNR * noise, 0.1 * strong)
    y, x = np.nonzero(peaks)
    z = [int(_column(image, int(row), int(column)).argmax()) for row, column in zip(y, x, strict=True)]
    return np.stack([np.array(z, dtype=int), y, x], axis=1)


def _column(image: Floats, y: int, x: int) -> Floats:
    """Profile along z through a place, averaged over its neighbours."""
    near = image[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
    return np.asarray(ndimage.gaussian_filter1d(near.mean(axis=(1, 2)), 1.0))


def _radius(image: Floats, places: Floats) -> tuple[int, int]:
    """Cut-outs of twice the typical FWHM to each side."""
    lateral, axial = [], []
    for z, y, x in places[:200]:
        plane = image[z]
        lateral += [_width(plane[y], x), _width(plane[:, x], y)]
        axial.append(_width(image[:, y, x], z))
    half = max(4, int(np.ceil(1.8 * float(np.median(lateral)))))
    depth = 0 if image.shape[0] == 1 else max(3, int(np.ceil(1.8 * float(np.median(axial)))))
    return depth, min(half, min(image.shape[1:]) // 4)


def _width(line: Floats, peak: int) -> float:
    """Samples above half of the maximum around a peak."""
    low = float(np.median(line)) if line.size > 30 else float(line.min())
    above = line > low + (line[peak] - low) / 2
    left = right = int(peak)
    while left > 0 and above[left - 1]:
        left -= 1
    while right < line.size - 1 and above[right + 1]:
        right += 1
    return float(right - left + 1)


def _apart(places: Floats, lateral: int, shape: tuple[int, ...], rejected: Counter[str]) -> Floats:
    """Without beads near the border or near each other: their cut-outs would hold parts of others."""
    y, x = places[:, 1], places[:, 2]
    edge = (y < lateral) | (x < lateral) | (y >= shape[1] - lateral) | (x >= shape[2] - lateral)
    tree = cKDTree(places[:, 1:])
    near = np.asarray(tree.query_ball_point(places[:, 1:], 1.6 * lateral, return_length=True)) > 1
    rejected["lateral_edge"] += int(edge.sum())
    rejected["self_proximity"] += int((near & ~edge).sum())
    return np.asarray(places[~edge & ~near])


@dataclass(frozen=True, slots=True)
class _Cut:
    values: Floats
    origin: tuple[int, int, int]
    grid: tuple[Floats, Floats, Floats]


def _cut(image: Floats, place: tuple[int, int, int], radius: tuple[int, int]) -> _Cut:
    z, y, x = (int(c) for c in place)
    low = max(0, z - radius[0])
    values = image[low : z + radius[0] + 1, y - radius[1] : y + radius[1] + 1, x - radius[1] : x + radius[1] + 1]
    origin = (low, y - radius[1], x - radius[1])
    axes = [np.arange(size, dtype=float) for size in values.shape]
    grid = (axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :])
    return _Cut(values, origin, grid)


def _fit(cut: _Cut) -> Bead | None:
    """Least squares with the exact Jacobian; the lateral cross term finds asymmetry in any direction."""
    flat = cut.values.shape[0] == 1
    free = np.arange(7 if flat else 9)
    found = _solve(_start(cut, flat), free, cut)
    if found is None or found[0][0] <= 0:
        return None
    p, cost = found
    target = cut.values
    shape = np.array([[p[4], p[6]], [p[6], p[5]]])
    eigen = np.linalg.eigvalsh(shape)
    if eigen[0] <= 0 or (not flat and p[8] <= 0):
        return None
    spread = float(np.sum(np.square(target - target.mean())))
    depth = np.nan if flat else GAUSS / np.sqrt(p[8])
    centre = np.array([0.0 if flat else p[7], p[2], p[3]]) + cut.origin
    fwhm = np.array([depth, GAUSS / np.sqrt(p[4]), GAUSS / np.sqrt(p[5])])
    r2 = 1 - cost / spread if spread else 0.0
    likeness = r2 if r2 >= _GOOD_R2 else _likeness(target, target - _model(p, cut)[0])
    axial = np.nan if flat else _axial(cut, p)
    return Bead(centre, fwhm, float(np.sqrt(eigen[1] / eigen[0])), float(p[0]), float(p[1]), r2, likeness, axial)


def _axial(cut: _Cut, p: Floats) -> float:
    """Two half-Gaussians of the same height through the axial profile: upper over lower width.

    The profile is the projection of each plane on the bead's lateral shape, which uses all of its light.
    """
    _, y, x = cut.grid
    v, u = y - p[2], x - p[3]
    lateral = np.exp(np.clip(-0.5 * (p[4] * v * v + p[5] * u * u) - p[6] * u * v, -60, 60))[0]
    base = np.stack([lateral.ravel(), np.ones(lateral.size)], axis=1)
    profile = np.linalg.lstsq(base, cut.values.reshape(len(cut.values), -1).T, rcond=None)[0][0]
    z = cut.grid[0].ravel()
    q = np.array([p[0], 0.0, p[7], p[8] ** -0.5, p[8] ** -0.5])  # height, ground, centre, width below and above
    for _ in range(_HALVES):
        w = z - q[2]
        width = np.where(w < 0, q[3], q[4])
        bell = np.exp(-0.5 * np.square(w / width))
        pull = q[0] * bell * w / width**2
        slopes = np.stack(
            [bell, np.ones_like(z), pull, pull * w / width * (w < 0), pull * w / width * (w >= 0)], axis=1
        )
        step = np.linalg.lstsq(slopes, profile - q[0] * bell - q[1], rcond=None)[0]
        q = q + step
        if not np.all(q[3:] > 0.2):
            return float("nan")
    return float(q[4] / q[3])


def _likeness(values: Floats, rest: Floats) -> float:
    smooth, left = (ndimage.gaussian_filter(part, 1.0) for part in (values, rest))
    return 1 - float(np.sum(np.square(left))) / float(np.sum(np.square(smooth - smooth.mean())))


def _solve(p: Floats, free: NDArray[np.intp], cut: _Cut) -> tuple[Floats, float] | None:
    """(parameters, sum of squares) by Levenberg-Marquardt on the normal equations; None where it does not settle."""
    damping = 1e-3
    value, parts = _model(p, cut)
    rest = (cut.values - value).ravel()
    cost = float(rest @ rest)
    for _ in range(_ROUNDS):
        slopes = np.stack([parts[number].ravel() for number in free])
        normal, pull = slopes @ slopes.T, slopes @ rest
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), pull)
        tried = p.copy()
        tried[free] += step
        value, new_parts = _model(tried, cut)
        new_rest = (cut.values - value).ravel()
        new_cost = float(new_rest @ new_rest)
        if not new_cost < cost:
            if damping > 1e6 or np.all(np.abs(step) < _SETTLED * (np.abs(p[free]) + 1e-3)):
                return p, cost
            damping *= 8
            continue
        gain, p, parts, rest, cost = cost - new_cost, tried, new_parts, new_rest, new_cost
        damping = max(damping / 8, 1e-9)
        if gain < 1e-10 * cost or np.all(np.abs(step) < _SETTLED * (np.abs(p[free]) + 1e-3)):
            return p, cost
    return None


def _start(cut: _Cut, flat: bool) -> Floats:
    """Amplitude, background, y, x, 1/sigma2 in y and x, cross term, z, 1/sigma2 in z."""
    background = float(np.percentile(cut.values, 20))
    peak = np.unravel_index(int(ndimage.gaussian_filter(cut.values, 0.7).argmax()), cut.values.shape)
    z, y, x = (int(c) for c in peak)
    width = (_width(cut.values[z, y], x) + _width(cut.values[z, :, x], y)) / 2 / GAUSS
    depth = 1.0 if flat else _width(cut.values[:, y, x], z) / GAUSS
    amplitude = float(cut.values[z, y, x]) - background
    lateral = 1 / max(width, 0.5) ** 2
    return np.array([amplitude, background, y, x, lateral, lateral, 0.0, z, 1 / max(depth, 0.5) ** 2])


def _model(p: Floats, cut: _Cut) -> tuple[Floats, list[Floats]]:
    z, y, x = cut.grid
    v, u, w = y - p[2], x - p[3], z - p[7]
    lateral = np.exp(np.clip(-0.5 * (p[4] * v * v + p[5] * u * u) - p[6] * u * v, -60, 60))
    axial = np.exp(np.clip(-0.5 * p[8] * w * w, -60, 60)) if cut.values.shape[0] > 1 else np.ones_like(w)
    bell = lateral * axial
    high = p[0] * bell
    parts = [
        bell,
        np.ones_like(bell),
        high * (p[4] * v + p[6] * u),
        high * (p[5] * u + p[6] * v),
        -0.5 * high * v * v,
        -0.5 * high * u * u,
        -high * u * v,
        high * p[8] * w,
        -0.5 * high * w * w,
    ]
    return high + p[1], parts


def _fault(bead: Bead | None, depth: int, lateral: int) -> str:
    """Why a bead does not count; empty when it does."""
    if bead is None or bead.likeness < _GOOD_R2 or bead.fwhm[1:].max() > 2.5 * lateral:
        return "bad_fit_gaussian"
    if depth > 1 and not 0.5 * bead.fwhm[0] <= bead.centre[0] <= depth - 1 - 0.5 * bead.fwhm[0]:
        return "axial_edge"
    return ""


def _alike(beads: list[Bead], rejected: Counter[str]) -> list[Bead]:
    """Without clusters: beads far brighter or dimmer than the others, or far wider, as two are that touch."""
    if len(beads) < 6:
        return beads
    heights = np.log([bead.amplitude for bead in beads])
    middle = np.median(heights)
    spread = max(1.4826 * float(np.median(np.abs(heights - middle))), 0.03)
    odd = np.abs(heights - middle) > _OUTLIER * spread
    rejected["intensity_outlier"] += int(odd.sum())
    areas = np.log([bead.fwhm[1] * bead.fwhm[2] * bead.asymmetry for bead in beads])
    middle = np.median(areas)
    spread = max(1.4826 * float(np.median(np.abs(areas - middle))), _ALIKE)
    touching = (areas - middle > _TWO * spread) & ~odd
    rejected["self_proximity"] += int(touching.sum())
    return [bead for bead, bad in zip(beads, odd | touching, strict=True) if not bad]
