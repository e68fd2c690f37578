"""The shape of an illuminated field: a smooth surface through the means of blocks, of the kind that fits best.

A Gaussian beam is a parabola in the logarithm, vignetting one in the intensity itself, a Lorentzian one in its inverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from agent.calibration.frames import Floats
from agent.errors import Rejected

Link = Literal["log", "plain", "inverse"]

_BLOCKS = 32
_LINKS: tuple[Link, ...] = ("log", "plain", "inverse")
_DEGREES = (2, 4, 6, 8, 10)
_ROUNDS = 12
_SPREAD_ROUNDS = 3
_AS_GOOD = 6.0
"""Models whose AIC is at most so much worse may be the right one too."""


@dataclass(frozen=True, slots=True)
class Surface:
    """Intensity as a function of a polynomial on [-1, 1]^2 that grows with it; covariance of its coefficients."""

    link: Link
    powers: tuple[tuple[int, int], ...]
    scale: float
    coefficients: Floats
    covariance: Floats
    r2: float
    chi2: float

    def basis(self, x: Floats, y: Floats) -> Floats:
        """Value of each term at points, (points, terms)."""
        return terms_at(self.powers, x, y)

    def value(self, x: Floats, y: Floats) -> Floats:
        """Intensity at points, ADU."""
        return self.scale * _value(self.link, self.basis(x, y) @ self.coefficients)

    def with_terms(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Intensity at points, and change of its logarithm with each coefficient, (points, terms)."""
        basis = self.basis(x, y)
        value = _value(self.link, basis @ self.coefficients)
        return self.scale * value, np.asarray(basis * (_slope(self.link, value) / value)[:, None])

    def aic(self, count: int) -> float:
        """Akaike's criterion of a fit to so many blocks, but for a constant."""
        return count * float(np.log(self.chi2)) + 2 * len(self.powers)


def terms_at(powers: tuple[tuple[int, int], ...], x: Floats, y: Floats) -> Floats:
    """Products of Legendre polynomials at points, (points, terms)."""
    degree = max(a + b for a, b in powers)
    px, py = np.polynomial.legendre.legvander(x, degree), np.polynomial.legendre.legvander(y, degree)
    first, second = (np.array(column) for column in zip(*powers, strict=True))
    return np.asarray(px[:, first] * py[:, second])


def surfaces(light: Floats) -> list[Surface]:
    """Surfaces that describe an image (Y, X) about equally well, the best first, the next finer one last.

    Rejected when a tenth of the field is dark.
    """
    x, y, values, variances, size = _blocks(light)
    first = _fitted("log", x, y, values, variances, _DEGREES[1])
    values = values / _blur(first, x, y, size, light.shape)
    count = len(values)
    coarse = {link: [_fitted(link, x, y, values, variances, degree) for degree in _DEGREES[:2]] for link in _LINKS}
    found = sorted((min(pair, key=lambda one: one.aic(count)) for pair in coarse.values()), key=lambda s: s.aic(count))
    # Only the kind that fits best is worth more terms.
    best, finer = found[0], coarse[found[0].link][1]
    for degree in _DEGREES[2:]:
        if finer is not best:
            break
        finer = _fitted(best.link, x, y, values, variances, degree)
        best = min(best, finer, key=lambda one: one.aic(count))
    rivals = [one for one in found if one.link != best.link and one.aic(count) <= best.aic(count) + _AS_GOOD]
    return [best, *rivals, finer]


def unit(pixel: Floats, size: int) -> Floats:
    """Pixel coordinate to [-1, 1]; the outermost pixel centres are the ends."""
    return np.asarray(2 * pixel / (size - 1) - 1)


def _blocks(light: Floats) -> tuple[Floats, Floats, Floats, Floats, int]:
    """Means of square blocks: (x, y, mean, its variance, size in pixels); x and y from -1 to 1."""
    height, width = light.shape
    size = max(2, min(int(np.sqrt(height * width)) // _BLOCKS, min(height, width) // 10))
    rows, columns = height // size, width // size
    cut = light[: rows * size, : columns * size].reshape(rows, size, columns, size)
    values = cut.mean(axis=(1, 3)).ravel()
    variances = cut.var(axis=(1, 3), ddof=1).ravel() / size**2
    centre = (np.arange(max(rows, columns)) + 0.5) * size - 0.5
    y, x = np.meshgrid(unit(centre[:rows], height), unit(centre[:columns], width), indexing="ij")
    if np.mean(values > 0) < 0.9:
        raise Rejected("field: a tenth of the image is not brighter than the offset: parts of the field are dark")
    return x.ravel(), y.ravel(), values, variances, size


def _blur(surface: Surface, x: Floats, y: Floats, size: int, shape: tuple[int, ...]) -> Floats:
    """Mean of each block over the intensity at its centre: a curved surface is not at its mean in the middle."""
    step = np.sqrt((size**2 - 1) / 6)
    dx, dy = (2 * step / (total - 1) for total in reversed(shape))
    around = [surface.value(x + dx, y), surface.value(x - dx, y), surface.value(x, y + dy), surface.value(x, y - dy)]
    return np.asarray(np.mean(around, axis=0) / surface.value(x, y))


def _fitted(link: Link, x: Floats, y: Floats, values: Floats, variances: Floats, degree: int) -> Surface:
    """Weighted least squares on the intensity, blocks with dust or a bright speck weighted down (Huber).

    The noise of a block is taken from the model, as noise that each block tells of itself would favour dim ones.
    """
    powers = tuple((a, b) for a in range(degree + 1) for b in range(degree + 1 - a))
    scale = float(np.median(values))
    matrix = terms_at(powers, x, y)
    usable = values > 0.02 * scale
    start = matrix[usable]
    coefficients = np.linalg.solve(start.T @ start, start.T @ _inverse(link, values[usable] / scale))
    noise = _noise(values, variances)
    floor = 0.05 * float(np.median(variances)) + 1e-12 * scale**2
    for number in range(_ROUNDS):
        shape = _value(link, matrix @ coefficients)
        sigma = np.sqrt(np.maximum(noise[0] + noise[1] * scale * shape, floor))
        residual = (values - scale * shape) / sigma
        if number < _SPREAD_ROUNDS:
            spread = max(1.4826 * float(np.median(np.abs(residual))), 1e-12)
        trust = np.minimum(1.0, 3 * spread / np.maximum(np.abs(residual), 1e-12))
        slope = matrix * (scale * _slope(link, shape) / sigma)[:, None]
        normal = (slope.T * trust) @ slope
        step = np.linalg.solve(normal, slope.T @ (trust * residual))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-6:
            break
    freedom = max(len(values) - len(powers), 1)
    chi2 = max(float(np.sum(trust * np.square(residual))) / freedom, 1e-12)
    weight = 1 / np.square(sigma)
    total = float(np.sum(weight * np.square(values - np.average(values, weights=weight))))
    r2 = 1 - chi2 * freedom / total if total > 0 else 0.0
    covariance = np.asarray(np.linalg.inv(normal) * chi2, dtype=np.float64)
    return Surface(link, powers, scale, np.asarray(coefficients, dtype=np.float64), covariance, r2, chi2)


def _noise(values: Floats, variances: Floats) -> tuple[float, float]:
    """variance = first + second * value, as light has it."""
    centred = values - values.mean()
    power = float(centred @ centred)
    slope = max(float(centred @ variances) / power, 0.0) if power > 0 else 0.0
    return float(variances.mean()) - slope * float(values.mean()), slope


# Links: all grow with the intensity, so that the polynomial's maximum is the field's.


def _value(link: Link, polynomial: Floats) -> Floats:
    match link:
        case "log":
            return np.asarray(np.exp(np.clip(polynomial, -12, 5)))
        case "plain":
            return np.asarray(np.clip(polynomial, 1e-5, 150))
        case "inverse":
            return np.asarray(-1 / np.clip(polynomial, -1e5, -1 / 150))


def _slope(link: Link, value: Floats) -> Floats:
    """Change of the value with the polynomial."""
    match link:
        case "log":
            return value
        case "plain":
            return np.ones_like(value)
        case "inverse":
            return value * value


def _inverse(link: Link, value: Floats) -> Floats:
    match link:
        case "log":
            return np.asarray(np.log(value))
        case "plain":
            return value
        case "inverse":
            return np.asarray(-1 / value)
