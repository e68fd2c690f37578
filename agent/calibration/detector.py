"""Detector: offset, read noise, gain, fixed patterns, linearity from dark and flat series (photon transfer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from agent.calibration.frames import Floats, Image, check_stack, moments, range_of, saturation_level
from agent.calibration.result import Analysis, Findings
from agent.calibration.rounding import SHEPPARD, Unrounded, unrounded
from agent.errors import Rejected

SOURCES = (
    "gain: photon transfer, slope of var(difference of two frames)/2 over mean minus offset below 70 % of full scale",
    "read noise: rms and median temporal SD of dark frames, quantisation (1/12 ADU2) removed (EMVA 1288)",
    "DSNU, PRNU: spatial SD of the mean image with the temporal noise sigma2/N removed (EMVA 1288)",
)
_LINEAR = 0.7
_HOT = 6.0
# Noise that hardly any camera has in the dark; where its step is coarse, rounding may be all of it.
_LOUD_ELECTRONS = 12.0
_LOUD_ADU2 = 9.0


@dataclass(frozen=True, slots=True)
class _Level:
    """A flat level: mean above the dark, temporal variance, standard error of the variance (ADU)."""

    mean: float
    variance: float
    error: float
    saturated: bool


@dataclass(frozen=True, slots=True)
class _Transfer:
    """variance = intercept + slope * mean."""

    slope: float
    slope_error: float
    intercept: float
    chi2: float
    r2: float


def detector(
    dark: Image,
    flats: Sequence[Image],
    exposures_ms: Sequence[float] | None = None,
    full_scale: float | None = None,
) -> Analysis:
    """Analyse a dark series and flat levels.

    dark: (T, Y, X), ADU. flats: of each level (T, Y, X) with T >= 2, the same light in all frames. exposures_ms: of
    each level, where light and exposure are proportional. full_scale: largest value of the camera, ADU.
    Rejected for one frame, other shapes, no usable level, light in the dark frames.
    """
    _check_exposures(flats, exposures_ms)
    out = Findings("detector", SOURCES)
    flats, exposures_ms = _without_full(dark, flats, exposures_ms, full_scale, out)
    _check(dark, flats)
    mean, variance = moments(dark)
    noise = unrounded(float(variance.mean()), mean, len(dark))
    mean, rounded = noise.mean, mean
    offset = float(mean.mean())
    saturates = saturation_level(flats, full_scale)
    levels = [_level(number, flat, offset, saturates) for number, flat in enumerate(flats)]
    top = range_of([dark, *flats], full_scale)
    usable = [level for level in levels if not level.saturated and level.mean + offset <= _LINEAR * top]
    _check_dark(dark, mean, flats, levels, top)
    transfer = _photon_transfer(_dark_level(variance, noise), usable, out)
    gain = 1 / transfer.slope
    gain_error = transfer.slope_error / transfer.slope
    out.add("gain_electrons_per_adu", gain, "e-/ADU", 1.96 * gain * gain_error)
    # Scatter that each pixel's own sample variance brings; what pixels really differ by is no error.
    error = noise.stretch * float(np.sqrt(2 / (len(dark) + 1) * np.mean(np.square(variance)) / variance.size))
    # Rounding is undone for pixels of equal noise; they are not quite.
    error = float(np.hypot(error, 0.02 * (noise.variance + SHEPPARD - variance.mean())))
    shift = offset - float(rounded.mean())
    _offset(dark, shift, (noise.mean_stretch, 2 * np.pi**2 * shift * error), out)
    _read_noise(variance, noise, len(dark), gain, (error, gain_error), out)
    _fixed_pattern(mean, variance * noise.mean_stretch**2, len(dark), gain, gain_error, out)
    _response(flats, levels, (mean, float(variance.mean()) / len(dark)), out)
    _linearity(levels, exposures_ms, top - offset, out)
    if saturates is not None:
        out.add("saturation_adu", saturates, "ADU")
        out.add(
            "full_well_electrons", (saturates - offset) * gain, "e-", 1.96 * (saturates - offset) * gain * gain_error
        )
    ignored = len(levels) - len(usable)
    if ignored:
        out.remark(f"{ignored} of {len(levels)} levels are above 70 % of full scale and were not used for the gain")
    out.fit |= {"r2": transfer.r2, "reduced_chi_square": transfer.chi2, "levels": len(usable), "dark_frames": len(dark)}
    out.arrays |= {
        "mean": np.array([level.mean for level in levels]),
        "variance": np.array([level.variance for level in levels]),
        "line": np.array([transfer.intercept, transfer.slope]),
        "dark": mean,
    }
    return out.done()


def _check_exposures(flats: Sequence[Image], exposures_ms: Sequence[float] | None) -> None:
    if not flats:
        raise Rejected("detector: no flat series; take pairs of evenly lit frames at several exposures")
    if exposures_ms is not None and len(exposures_ms) != len(flats):
        raise Rejected(f"{len(exposures_ms)} exposures for {len(flats)} flat levels: give one for each")


def _without_full(
    dark: Image,
    flats: Sequence[Image],
    exposures_ms: Sequence[float] | None,
    full_scale: float | None,
    out: Findings,
) -> tuple[Sequence[Image], Sequence[float] | None]:
    """Levels and exposures without those in which every pixel is at the end of the scale: they tell nothing."""
    top = range_of([dark, *flats], full_scale)
    kept = [number for number, flat in enumerate(flats) if not flat.size or flat.min() < top]
    if not kept:
        raise Rejected(f"every pixel of every flat level is saturated at {top:.0f} ADU: shorten the exposures")
    if len(kept) < len(flats):
        out.remark(f"{len(flats) - len(kept)} of {len(flats)} levels are saturated throughout and were left out")
    return [flats[n] for n in kept], None if exposures_ms is None else [exposures_ms[n] for n in kept]


def _check(dark: Image, flats: Sequence[Image]) -> None:
    check_stack("dark series", dark, "TYX", 2)
    for number, flat in enumerate(flats):
        check_stack(f"flat level {number + 1}", flat, "TYX", 2)
        if flat.shape[1:] != dark.shape[1:]:
            raise Rejected(
                f"flat level {number + 1} is {flat.shape[1:]}, dark is {dark.shape[1:]}: same region, please"
            )


def _level(number: int, flat: Image, offset: float, saturates: float | None) -> _Level:
    """Temporal variance from differences of neighbouring frames, in which fixed patterns cancel."""
    means = [float(frame.mean()) for frame in flat]
    pairs = [flat[i].astype(np.float64) - flat[i + 1] for i in range(0, len(flat) - 1, 2)]
    variances = [float(pair.var(ddof=1)) / 2 for pair in pairs]
    variance = float(np.mean(variances))
    # Frames of one level differ by their noise and some flicker; ten times more is another exposure.
    signal = np.mean(means) - offset
    if np.ptp(means) > max(0.1 * abs(signal), 10 * np.sqrt(variance / flat[0].size)):
        raise Rejected(
            f"flat level {number + 1}: its frames have means from {min(means):.0f} to {max(means):.0f} ADU; "
            "exposures are mixed, give frames of one exposure a level"
        )
    if variance == 0:
        raise Rejected(f"flat level {number + 1}: its frames are identical; the camera delivers the same frame again")
    errors = [
        np.sqrt(max(_fourth(pair) - (2 * v) ** 2, 0.0) / pair.size) / 2
        for pair, v in zip(pairs, variances, strict=True)
    ]
    error = float(np.sqrt(np.sum(np.square(errors)))) / len(pairs)
    plain = unrounded(variance, np.mean(flat, axis=0, dtype=np.float64), len(flat))
    error *= plain.stretch
    piled = saturates is not None and max(float((frame >= saturates).mean()) for frame in flat) > 1e-4
    return _Level(float(signal), plain.variance + SHEPPARD, error, piled)


def _fourth(difference: Floats) -> float:
    """Fourth central moment; it gives the error of a variance whatever the distribution."""
    centred = np.square(difference - difference.mean())
    return float(np.mean(np.square(centred)))


def _dark_level(variance: Floats, noise: Unrounded) -> _Level:
    error = noise.stretch * float(variance.std(ddof=1)) / np.sqrt(variance.size)
    return _Level(0.0, noise.variance + SHEPPARD, float(error), False)


def _check_dark(dark: Image, mean: Floats, flats: Sequence[Image], levels: list[_Level], top: float) -> None:
    offset = float(mean.mean())
    if offset > 0.1 * top and offset > 1000:
        raise Rejected(
            f"dark frames have a mean of {offset:.0f} of {top:.0f} ADU: they are not dark, close the shutter"
        )
    if min(level.mean for level in levels) <= 0:
        raise Rejected("a flat level is no brighter than the dark series: are dark and flat exchanged?")
    clipped = float((dark == 0).mean())
    if clipped > 1e-3:
        raise Rejected(f"{clipped:.1%} of the dark pixels are 0: the noise is cut off, raise the camera's offset")
    brightest = max(range(len(levels)), key=lambda i: levels[i].mean if not levels[i].saturated else -1.0)
    leak = _leak(mean, moments(flats[brightest])[0] - mean, levels[brightest].mean)
    if leak is not None:
        raise Rejected(f"dark frames show the pattern of the light ({leak:.3g} ADU of it): they are not dark")


def _leak(dark: Floats, light: Floats, level: float) -> float | None:
    """How much of the illumination's coarse pattern is in the dark frames, in ADU; None when it may be chance."""
    size = max(min(dark.shape) // 12, 1)
    rows, columns = dark.shape[0] // size, dark.shape[1] // size

    def coarse(image: Floats) -> Floats:
        cut = image[: rows * size, : columns * size]
        blocks = np.median(cut.reshape(rows, size, columns, size), axis=(1, 3)).ravel()
        return np.asarray(blocks - blocks.mean())

    pattern, seen = coarse(light), coarse(dark)
    if pattern.std() < 0.01 * level:
        return None
    fit = stats.linregress(pattern, seen)
    if fit.slope > 0 and fit.rvalue > 0.7 and fit.slope / fit.stderr > 8:
        return float(fit.slope * level)
    return None


def _photon_transfer(dark: _Level, levels: list[_Level], out: Findings) -> _Transfer:
    """Weighted straight line; weights from the model, since weights from the data would pull the slope down."""
    if len({round(level.mean, 3) for level in levels}) < 1:
        raise Rejected("no flat level below 70 % of full scale: the series is saturated, shorten the exposures")
    if len(levels) < 3:
        out.doubt(f"only {len(levels)} usable flat level(s): five or more show whether the camera is linear")
    points = [dark, *levels]
    x = np.array([p.mean for p in points])
    y = np.array([p.variance for p in points])
    relative = np.array([p.error / p.variance for p in points])
    model = y
    for _ in range(5):
        weight = 1 / np.square(relative * model)
        matrix = np.stack([np.ones_like(x), x], axis=1)
        covariance = np.linalg.inv((matrix.T * weight) @ matrix)
        intercept, slope = covariance @ (matrix.T * weight) @ y
        model = np.maximum(intercept + slope * x, 1e-9)
    if slope <= 0:
        raise Rejected("noise does not grow with the light: this is no photon transfer series")
    chi2 = float(np.sum(weight * np.square(y - model))) / max(len(x) - 2, 1)
    p_value = stats.chi2.sf(chi2 * (len(x) - 2), len(x) - 2) if len(x) > 2 else 1.0
    error = np.sqrt(covariance[1, 1])
    if p_value < 1e-3:
        error *= np.sqrt(chi2)
        if np.max(np.abs(y - model)[1:] / model[1:]) > 0.05:
            out.doubt("variance over mean is no straight line: the camera is not linear, or the light flickers")
    spread = float(np.sum(weight * np.square(y - np.average(y, weights=weight))))
    r2 = 1 - float(np.sum(weight * np.square(y - model))) / spread if spread else 0.0
    return _Transfer(float(slope), float(error), float(intercept), chi2, r2)


def _offset(dark: Image, shift: float, errors: tuple[float, float], out: Findings) -> None:
    """Offset, without what rounding shifted it by; its interval holds the scatter of the whole frames too.

    errors: how much rounding stretches the scatter, and the standard error of the shift.
    """
    means = np.array([float(frame.mean()) for frame in dark])
    scatter = errors[0] * float(means.std(ddof=1)) / np.sqrt(len(means))
    half = float(stats.t.ppf(0.975, len(means) - 1)) * scatter
    out.add("offset_adu", float(means.mean()) + shift, "ADU", float(np.hypot(half, 1.96 * errors[1])))


def _read_noise(
    variance: Floats, plain: Unrounded, frames: int, gain: float, errors: tuple[float, float], out: Findings
) -> None:
    """errors: standard error of the noise's variance (ADU2), and relative one of the gain."""
    noise = plain.variance
    if not plain.resolved:
        out.doubt(
            f"dark noise of {np.sqrt(float(variance.mean())):.2f} ADU is hidden by the camera's steps of 1 ADU: "
            "read noise is not resolved"
        )
    relative = np.hypot(0.5 * errors[0] / noise, errors[1]) if noise > 0 else 0.0
    rms = float(np.sqrt(noise)) * gain
    if rms > _LOUD_ELECTRONS and noise > _LOUD_ADU2:
        out.doubt(f"dark frames as noisy as {rms**2:.0f} electrons of light make: are they dark?")
    out.add("read_noise_rms_electrons", rms, "e-", float(1.96 * rms * relative) if plain.resolved else None)
    # The median of few squared deviations lies below their mean.
    median = float(np.median(variance)) / (stats.chi2.ppf(0.5, frames - 1) / (frames - 1))
    typical = float(np.sqrt(max(median - SHEPPARD, 0.0))) * gain
    half = float(1.96 * typical * 1.2533 * relative) if plain.resolved else None
    out.add("read_noise_median_electrons", typical, "e-", half)
    if frames < 10:
        out.doubt(f"only {frames} dark frames: take 20 or more")


def _fixed_pattern(mean: Floats, variance: Floats, frames: int, gain: float, gain_error: float, out: Findings) -> None:
    median = float(np.median(mean))
    robust = 1.4826 * float(np.median(np.abs(mean - median)))
    threshold = _HOT * max(robust, 1e-9)
    hot, cold = mean > median + threshold, mean < median - threshold
    for name, bad in (("hot", hot), ("cold", cold)):
        count = int(bad.sum())
        half = 1.96 * np.sqrt(max(count, 1)) / bad.size * 1e6
        out.between(
            f"{name}_pixels_ppm",
            count / bad.size * 1e6,
            "ppm",
            (max(count / bad.size * 1e6 - half, 0.0), count / bad.size * 1e6 + half),
        )
    good = mean[~(hot | cold)]
    temporal = float(variance[~(hot | cold)].mean()) / frames
    spatial = float(good.var(ddof=1)) - temporal
    # The pattern itself is what it is: only noise that is mistaken for it, and the noise's own estimate, are errors.
    scatter = 4 * max(spatial, 0.0) * temporal + 2 * temporal**2 * frames / max(frames - 1, 1)
    error = float(np.sqrt(scatter / good.size))
    dsnu = float(np.sqrt(max(spatial, 0.0)))
    low, high = (float(np.sqrt(max(spatial + sign * 1.96 * error, 0.0))) for sign in (-1, 1))
    wide = 1.96 * gain_error
    out.between("dsnu_electrons", dsnu * gain, "e-", (low * gain * (1 - wide), high * gain * (1 + wide)))


def _response(flats: Sequence[Image], levels: list[_Level], dark: tuple[Floats, float], out: Findings) -> None:
    """PRNU of the brightest usable level, the shape of the illumination taken out with a smooth surface.

    dark: the mean dark frame, ADU, and the variance that noise leaves in it, ADU2.
    """
    usable = [i for i, level in enumerate(levels) if not level.saturated]
    if not usable:
        return
    best = max(usable, key=lambda i: levels[i].mean)
    mean, variance = moments(flats[best])
    light = mean - dark[0]
    relative = light / np.maximum(_surface(light), 1e-9) - 1
    inner = np.abs(relative) < 8 * 1.4826 * np.median(np.abs(relative))
    own = float(np.mean(variance)) / len(flats[best])
    values = relative[inner]
    spatial = float(values.var(ddof=1)) - (own + dark[1]) / levels[best].mean ** 2
    # What the noise of few frames is taken to be is uncertain, too.
    guess = np.sqrt(2 / max(len(flats[best]) - 1, 1) / values.size) * own / levels[best].mean ** 2
    error = np.hypot(np.sqrt(max(_fourth(values) - float(values.var()) ** 2, 0.0) / values.size), guess)
    low, high = (100 * float(np.sqrt(max(spatial + sign * 1.96 * error, 0.0))) for sign in (-1, 1))
    out.between("prnu_percent", 100 * float(np.sqrt(max(spatial, 0.0))), "%", (low, high))


def _surface(image: Floats) -> Floats:
    """The image as a polynomial of degree 5 in x and y."""
    y, x = (np.linspace(-1, 1, size) for size in image.shape)
    rows, columns = (np.polynomial.legendre.legvander(axis, 5) for axis in (y, x))
    q, _ = np.linalg.qr(rows)
    p, _ = np.linalg.qr(columns)
    return np.asarray(q @ (q.T @ image @ p) @ p.T)


def _linearity(levels: list[_Level], exposures_ms: Sequence[float] | None, span: float, out: Findings) -> None:
    if exposures_ms is None:
        return
    kept = [
        (t, level.mean)
        for t, level in zip(exposures_ms, levels, strict=True)
        if not level.saturated and 0.02 * span <= level.mean <= 0.95 * span
    ]
    if len({t for t, _ in kept}) < 3:
        out.remark("fewer than three exposures between 2 and 95 % of full scale: linearity was not determined")
        return
    x, y = (np.array(column, dtype=float) for column in zip(*kept, strict=True))
    weight = 1 / y
    slope, intercept = np.polyfit(x, y, 1, w=weight)
    departure = (y - (slope * x + intercept)) / (slope * x + intercept)
    half = 1.96 * float(departure.std(ddof=2)) if len(x) > 2 else None
    largest = 100 * float(np.max(np.abs(departure)))
    out.add("linearity_error_percent", largest, "%", 100 * half if half is not None else None)
    r2 = 1 - float(np.sum(np.square(y - slope * x - intercept)) / np.sum(np.square(y - y.mean())))
    out.add("linearity_coefficient_of_determination", r2, None)
