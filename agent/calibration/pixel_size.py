"""Pixel size in the sample: from known stage moves (with affine), or from the lines of a stage micrometer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage, optimize, stats

from agent.calibration.frames import Floats, Image, check_stack
from agent.calibration.registration import shift_between
from agent.calibration.result import Analysis, Findings
from agent.errors import Rejected

SOURCES_MOVES = ("affine: least squares of stage displacement over image displacement (cross-correlation)",)
SOURCES_LINES = ("pixel size: line spacing times spatial frequency of the micrometer's lines (peak of the spectrum)",)
_STRAIGHT = 0.05


def from_moves(frames: Image, stage_um: Floats) -> Analysis:
    """Pixel size and affine from frames (T, Y, X) at known stage positions (T, 2) as x, y in micrometres.

    affine_a .. affine_d: displacement of the stage (um) that moves the image by one pixel, row by row; the sign is
    that of the stage's axes. Moves along one line give only the size along it. Rejected with fewer than two moves.
    """
    check_stack("stage moves", frames, "TYX", 3)
    moves = np.asarray(stage_um, dtype=float)
    if moves.shape != (len(frames), 2) or not np.isfinite(moves).all():
        raise Rejected(f"{len(frames)} frames need as many stage positions (x, y), not {moves.shape}")
    moves = moves - moves[0]
    if np.abs(moves).max() == 0:
        raise Rejected("the stage did not move: take frames at different positions")
    shifts = [shift_between(frames[0], frame) for frame in frames[1:]]
    image = np.array([(0.0, 0.0), *((s.x, s.y) for s in shifts)])
    if np.hypot(*image.T).max() < 2:
        raise Rejected(f"the image moved by {np.hypot(*image.T).max():.2f} pixels only: move the stage further")
    out = Findings("pixel-size", SOURCES_MOVES, series="stage move")
    centred = moves - moves.mean(axis=0)
    extent = np.linalg.svd(centred, compute_uv=False)
    if extent[1] > _STRAIGHT * extent[0] and len(frames) >= 4:
        _affine(centred, image - image.mean(axis=0), out)
    else:
        _along_line(centred, image - image.mean(axis=0), out)
    out.fit["moves"] = float(len(shifts))
    out.arrays |= {"stage_um": moves, "image_px": image}
    return out.done()


def _affine(stage: Floats, image: Floats, out: Findings) -> None:
    """image = stage @ B; the affine is the inverse of B, its errors by drawing B from its own."""
    forward, *_ = np.linalg.lstsq(stage, image, rcond=None)
    residual = image - stage @ forward
    freedom = max(2 * len(stage) - 6, 1)
    sigma = float(np.sqrt(np.sum(np.square(residual)) / freedom))
    root = np.linalg.cholesky(np.linalg.inv(stage.T @ stage))
    draws = np.random.default_rng(0).standard_normal((400, 2, 2))
    affine = np.linalg.inv(forward).T
    many = np.linalg.inv(forward + sigma * root @ draws).transpose(0, 2, 1)
    factor = float(stats.t.ppf(0.975, freedom))
    for name, pick in _TERMS.items():
        half = factor * float(np.std([pick(one) for one in many]))
        unit = "deg" if name == "rotation_degrees" else "um"
        out.add(name, float(pick(affine)), unit, half)
    ratio = out.metrics["pixel_size_y_micron"].value / out.metrics["pixel_size_x_micron"].value
    if abs(ratio - 1) > 0.02:
        out.doubt(f"pixels are not square ({ratio:.3f}): a stage axis is miscalibrated, or the moves have play")
    if sigma > 0.5:
        out.doubt(f"the image is {sigma:.2f} pixels off the straight relation: the stage did not reach its positions")
    out.fit["residual_px"] = sigma


_TERMS: dict[str, Callable[[Floats], float]] = {
    "pixel_size_micron": lambda a: float(np.sqrt(abs(np.linalg.det(a)))),
    "pixel_size_x_micron": lambda a: float(np.hypot(a[0, 0], a[1, 0])),
    "pixel_size_y_micron": lambda a: float(np.hypot(a[0, 1], a[1, 1])),
    "affine_a_micron": lambda a: float(a[0, 0]),
    "affine_b_micron": lambda a: float(a[0, 1]),
    "affine_c_micron": lambda a: float(a[1, 0]),
    "affine_d_micron": lambda a: float(a[1, 1]),
    "rotation_degrees": lambda a: float(np.degrees(np.arctan(a[1, 0] / a[0, 0]))) if a[0, 0] else 90.0,
}


def _along_line(stage: Floats, image: Floats, out: Findings) -> None:
    along = np.linalg.svd(stage)[2][0]
    fit = [stats.linregress(stage @ along, image[:, axis]) for axis in (0, 1)]
    slope = float(np.hypot(fit[0].slope, fit[1].slope))
    if slope == 0:
        raise Rejected("the image did not move with the stage")
    share = np.array([abs(fit[0].slope), abs(fit[1].slope)]) / slope
    error = float(np.hypot(share[0] * fit[0].stderr, share[1] * fit[1].stderr))
    size = 1 / slope
    half = float(stats.t.ppf(0.975, max(len(stage) - 2, 1))) * error * size**2
    out.add("pixel_size_micron", size, "um", half)
    axis = "x" if share[0] > 0.9 else "y" if share[1] > 0.9 else None
    if axis:
        out.add(f"pixel_size_{axis}_micron", size, "um", half)
    out.remark("the stage moved along one line: no affine, and the other axis is not measured")


def from_micrometer(image: Image, spacing_um: float) -> Analysis:
    """Pixel size from an image (Y, X) of evenly spaced lines `spacing_um` micrometres apart.

    Rejected when no line pattern stands out, or fewer than five lines are seen.
    """
    check_stack("stage micrometer", image, "YX", 1)
    if not spacing_um > 0:
        raise Rejected("the spacing of the micrometer's lines is not known: give it in micrometres")
    out = Findings("pixel-size", SOURCES_LINES, series="stage micrometer")
    window = np.outer(*(np.hanning(size) for size in image.shape))
    light = image.astype(np.float64)
    light = (light - np.average(light, weights=window)) * window
    start, contrast = _peak(light)
    if contrast < 20:
        raise Rejected("no line pattern stands out: is the micrometer in focus?")
    frequency = _refined(light, start)
    size = float(np.hypot(*frequency))
    lines = size * float(np.hypot(*image.shape))
    if lines < 5:
        raise Rejected(f"only about {lines:.0f} lines are seen: use finer lines or a lower magnification")
    half = 1.96 * _frequency_error(light, window, frequency)
    out.add("pixel_size_micron", spacing_um * size, "um", spacing_um * half)
    axis = "x" if abs(frequency[1]) > 0.9 * size else "y" if abs(frequency[0]) > 0.9 * size else None
    if axis:
        out.add(f"pixel_size_{axis}_micron", spacing_um * size, "um", spacing_um * half)
    out.add("rotation_degrees", float(np.degrees(np.arctan2(*np.sort(np.abs(frequency))))), "deg")
    out.fit["contrast"] = contrast
    out.arrays |= {"image": image, "frequency": frequency}
    return out.done()


def _peak(light: Floats) -> tuple[Floats, float]:
    """Strongest frequency (cycles per pixel; y, x) but for the slow ones, and its power over that of its like.

    The foot of a slow change, as of uneven light, is no peak, however strong; nor is one of many about as strong.
    """
    spectrum = np.abs(np.fft.rfft2(light)) ** 2
    rows = np.fft.fftfreq(light.shape[0])[:, None]
    columns = np.fft.rfftfreq(light.shape[1])[None, :]
    slow = np.hypot(rows * light.shape[0], columns * light.shape[1]) < 4
    # The window makes a peak three frequencies wide; rows and columns of the spectrum wrap around.
    peaks = (spectrum >= ndimage.maximum_filter(spectrum, 5, mode=("wrap", "reflect"))) & ~slow
    y, x = _fundamental(np.where(peaks, spectrum, 0))
    found = np.array([float(rows[y, 0]), float(columns[0, x])])
    speed = np.hypot(rows, columns) / max(float(np.hypot(*found)), 1e-9)
    alike = spectrum[~slow & (speed > 0.8) & (speed < 1.25)]
    floor = max(float(np.median(spectrum[~slow])), float(np.median(alike)) if alike.size else 0.0) or 1e-30
    return found, float(spectrum[y, x]) / floor


def _fundamental(peaks: Floats) -> tuple[int, int]:
    """Row and column of the strongest peak, or of what it is a harmonic of.

    Thin lines have harmonics nearly as strong as themselves, and a frequency between two places loses half its power.
    """
    height = peaks.shape[0]
    y, x = (int(n) for n in np.unravel_index(int(peaks.argmax()), peaks.shape))
    row = y - height if y > height // 2 else y
    for order in (3, 2):
        rows = np.arange(round(row / order) - 1, round(row / order) + 2) % height
        columns = np.unique(np.clip(np.arange(round(x / order) - 1, round(x / order) + 2), 0, peaks.shape[1] - 1))
        near = peaks[np.ix_(rows, columns)]
        if near.max() > 0.25 * peaks[y, x]:
            down, right = np.unravel_index(int(near.argmax()), near.shape)
            return int(rows[down]), int(columns[right])
    return y, x


def _transform(light: Floats, frequency: Floats) -> complex:
    """Fourier sum at any frequency."""
    y, x = (np.exp(-2j * np.pi * f * np.arange(n)) for f, n in zip(frequency, light.shape, strict=True))
    return complex(y @ light @ x)


def _refined(light: Floats, start: Floats) -> Floats:
    step = 0.5 / np.array(light.shape)

    def height(u: Floats) -> float:
        return -abs(_transform(light, start + u * step))

    found = optimize.minimize(
        height,
        np.zeros(2),
        method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-9},
    )
    return np.asarray(start + found.x * step)


def _frequency_error(light: Floats, window: Floats, frequency: Floats) -> float:
    """Standard error of the frequency: bound for a sine in white noise, doubled for what the window takes."""
    value = _transform(light, frequency)
    amplitude = 2 * abs(value) / float(window.sum())
    y, x = (np.arange(n) for n in light.shape)
    phase = 2 * np.pi * (frequency[0] * y[:, None] + frequency[1] * x[None, :]) + np.angle(value)
    rest = light - amplitude * np.cos(phase) * window
    noise = float(np.sqrt(np.sum(np.square(rest)) / np.sum(np.square(window))))
    along = np.abs(frequency) / np.hypot(*frequency)
    length = float(along @ np.array(light.shape))
    return 2 * float(np.sqrt(24 / light.size)) * noise / (amplitude * length * 2 * np.pi)
