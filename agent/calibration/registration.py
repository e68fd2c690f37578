"""Shift between two images to hundredths of a pixel, with its error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from agent.calibration.frames import Floats, Image
from agent.errors import Rejected

_SMOOTH = 1.0
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Shift:
    """`image(r) = reference(r - shift)`: how far the content moved, in pixels (y, x), with its covariance."""

    y: float
    x: float
    covariance: Floats
    correlation: float
    """Of the aligned images, -1 to 1."""

    @property
    def errors(self) -> tuple[float, float]:
        """Standard errors (y, x), pixels."""
        return float(np.sqrt(self.covariance[0, 0])), float(np.sqrt(self.covariance[1, 1]))


def shift_between(reference: Image, image: Image) -> Shift:
    """The shift of (Y, X) images of the same size, up to a third of it.

    The whole-pixel part is the peak of the cross-correlation; the rest solves the least-squares equations of the
    smoothed images. Rejected when the images have nothing in common.
    """
    if reference.shape != image.shape:
        raise Rejected(f"frames of {reference.shape} and {image.shape} pixels cannot be compared: same region, please")
    first, second = reference.astype(np.float64), image.astype(np.float64)
    dy, dx = _whole(first, second)
    rows, columns = _overlap(dy, first.shape[0]), _overlap(dx, first.shape[1])
    a, b = first[rows[0], columns[0]], second[rows[1], columns[1]]
    if min(a.shape) < 16:
        raise Rejected("the images overlap too little to be compared: move less")
    fine, covariance, correlation = _refine(a, b)
    # Of so many independent spots chance alone makes up this much, and the best of many shifts was chosen.
    spots = float(_window(a.shape).sum()) / (4 * np.pi * _SMOOTH**2)
    if correlation < max(0.2, 4 / np.sqrt(spots)):
        raise Rejected(f"the images have nothing in common (correlation {correlation:.2f})")
    return Shift(dy + float(fine[0]), dx + float(fine[1]), covariance, correlation)


def _window(shape: tuple[int, ...]) -> Floats:
    return np.asarray(np.outer(*(np.hanning(size + 2)[1:-1] for size in shape)))


def _whole(a: Floats, b: Floats) -> tuple[int, int]:
    window = _window(a.shape)
    smooth = [ndimage.gaussian_filter(image, _SMOOTH) for image in (a, b)]
    one, two = (fft.rfft2((image - image.mean()) * window) for image in smooth)
    peak = fft.irfft2(np.conj(one) * two, s=a.shape)
    found = np.unravel_index(int(peak.argmax()), a.shape)
    dy, dx = ((int(p) + n // 2) % n - n // 2 for p, n in zip(found, a.shape, strict=True))
    return dy, dx


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """The part of the reference and that of the image that show the same."""
    first = slice(max(0, -shift), size - max(0, shift))
    second = slice(max(0, shift), size - max(0, -shift))
    return first, second


def _refine(a: Floats, b: Floats) -> tuple[Floats, Floats, float]:
    """(shift, covariance, correlation) of images that lie within about a pixel of each other."""
    smooth_a = ndimage.gaussian_filter(a, _SMOOTH)
    smooth_b = ndimage.gaussian_filter(b, _SMOOTH)
    coefficients = ndimage.spline_filter(smooth_a, order=5)
    window = _window(a.shape)
    slope_b = np.stack(_slopes(smooth_b))
    shift = np.zeros(2)
    for _ in range(_ROUNDS):
        moved = ndimage.shift(coefficients, shift, order=5, mode="nearest", prefilter=False)
        slope_a = np.stack(_slopes(moved))
        template = (slope_a + slope_b) / 2 * window
        # Noise in both images must not count as slope: their product is free of it.
        normal = -np.einsum("iyx,jyx->ij", slope_a * window, slope_b)
        normal = (normal + normal.T) / 2
        difference = smooth_b - moved
        difference -= np.average(difference, weights=window)
        step = np.linalg.solve(normal, np.einsum("iyx,yx->i", template, difference))
        shift = np.clip(shift + step, -2, 2)
        if np.abs(step).max() < 1e-5:
            break
    # One image may be dimmer, as after bleaching; that is no noise.
    dimmer = _spread(smooth_b, window) / max(_spread(moved, window), 1e-12)
    return shift, _covariance(a * dimmer, b, shift, template, normal), _correlation(moved, smooth_b, window)


def _spread(image: Floats, window: Floats) -> float:
    return float(np.sqrt(np.average(np.square(image - np.average(image, weights=window)), weights=window)))


def _slopes(image: Floats) -> tuple[Floats, Floats]:
    """Central differences along y and x."""
    return np.asarray(np.gradient(image, axis=0)), np.asarray(np.gradient(image, axis=1))


def _covariance(a: Floats, b: Floats, shift: Floats, template: Floats, normal: Floats) -> Floats:
    """Sandwich: pixels carry noise of their own, of any strength, so that shot noise is counted where it is."""
    moved = np.asarray(fft.ifft2(ndimage.fourier_shift(fft.fft2(a), shift)).real)
    residual = b - moved
    residual -= residual.mean()
    seen = np.stack([ndimage.gaussian_filter(part, _SMOOTH) for part in template])
    middle = np.einsum("iyx,jyx,yx->ij", seen, seen, np.square(residual))
    turn = np.linalg.inv(normal)
    return np.asarray(turn @ middle @ turn.T)


def _correlation(a: Floats, b: Floats, window: Floats) -> float:
    one = a - np.average(a, weights=window)
    two = b - np.average(b, weights=window)
    power = np.sqrt(float(np.sum(window * one * one) * np.sum(window * two * two)))
    return float(np.sum(window * one * two)) / power if power > 0 else 0.0
