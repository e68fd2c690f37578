"""What a camera's rounding to whole ADU did to mean and noise, taken out again where the noise is below one ADU.

Rounding adds 1/12 ADU2 (Sheppard) as long as the noise spreads over several steps. Below, mean and variance swing with
the fraction of the true mean; the series are those of the rounding error under Gaussian noise (Widrow and Kollar,
Quantization Noise, ch. 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from agent.calibration.frames import Floats

SHEPPARD = 1 / 12
_WIDE = 0.6
"""Variance (ADU2) above which no more than 1/12 is to be taken out."""
_FINEST = 0.08
"""Variance below which less noise may look like more, and hardly a pixel changes its value."""
_TERMS = (1, 2, 3)
_SAMPLE = 100_000
"""Pixels that tell the fractions of the means well enough."""


@dataclass(frozen=True, slots=True)
class Unrounded:
    """Before rounding: variance of the noise, ADU2, and mean of each pixel, ADU.

    `stretch` and `mean_stretch`: how much an error of the measured variance, or of a pixel's mean, grows.
    `resolved`: False where the steps hide the noise.
    """

    variance: float
    mean: Floats
    stretch: float = 1.0
    mean_stretch: float = 1.0
    resolved: bool = True


def unrounded(variance: float, mean: Floats, frames: int) -> Unrounded:
    """Of a measured temporal variance (mean over pixels) and each pixel's mean over `frames` frames."""
    if variance > _WIDE:
        return Unrounded(variance - SHEPPARD, mean)

    blur = variance / frames
    sample = mean.ravel()[:: max(mean.size // _SAMPLE, 1)]

    def excess(true: float) -> float:
        return _rounded_variance(true, sample, blur) - variance

    grid = np.linspace(_FINEST, _WIDE, 29)
    signs = np.array([excess(float(one)) > 0 for one in grid])
    crossings = np.flatnonzero(signs[1:] != signs[:-1])
    if not len(crossings):
        return Unrounded(max(variance - SHEPPARD, 0.0), mean, resolved=False)
    last = int(crossings[-1])
    true = float(optimize.brentq(excess, float(grid[last]), float(grid[last + 1]), xtol=1e-7))
    slope = (excess(true + 1e-4) - excess(true - 1e-4)) / 2e-4
    found = _unshifted(true, mean, blur)
    pull = 1 + sum(2 * (-1) ** k * _faded(k, true) * np.cos(2 * np.pi * k * found) for k in _TERMS)
    growth = float(np.sqrt(np.mean(np.square(1 / np.maximum(pull, 0.2)))))
    # Less noise may look the same, where the steps hide most of it.
    return Unrounded(true, found, 1 / max(slope, 0.2), growth, resolved=len(crossings) == 1)


def _rounded_variance(true: float, mean: Floats, blur: float) -> float:
    """Variance after rounding, mean over pixels; `blur`: variance of the means themselves, which hides their phase."""
    phase = 2 * np.pi * _unshifted(true, mean, blur)
    waves = {k: float(np.cos(k * phase).mean()) * np.exp(2 * np.pi**2 * k * k * blur) for k in (1, 2)}
    total = true + SHEPPARD
    for k in waves:
        total += (-1) ** k * _faded(k, true) * (1 / (np.pi * k) ** 2 + 4 * true) * float(np.clip(waves[k], -1, 1))
    # The mean's own shift is taken from a variance about the shifted mean.
    shift2 = (_faded(1, true) / np.pi) ** 2 * (1 - float(np.clip(waves[2], -1, 1))) / 2
    return float(total - shift2)


def _unshifted(true: float, mean: Floats, blur: float) -> Floats:
    """Means before rounding, by fixed point; rounding pulls them towards whole numbers."""
    # The sine of a noisy phase is too small by exp(-2 pi2 k2 blur), on average.
    sharp = max(true - blur, true / 4)
    found = mean
    for _ in range(4):
        shift = sum((-1) ** k * _faded(k, sharp) / (np.pi * k) * np.sin(2 * np.pi * k * found) for k in _TERMS)
        found = mean - shift
    return np.asarray(found)


def _faded(k: int, variance: float) -> float:
    """How much noise of this variance blurs the k-th harmonic of the steps."""
    return float(np.exp(-2 * np.pi**2 * k * k * variance))
