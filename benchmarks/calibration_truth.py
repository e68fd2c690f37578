"""Synthetic truth: bias and coverage of every analysis over random cases with realistic noise.

    python benchmarks/calibration_truth.py [--cases 400] [--seed 1] [--only detector]

Prints one line a value: mean relative bias (percent of the truth), its standard error, and how often the 95 %
interval holds the truth. Bars: |bias| < 1 %, coverage between 90 and 99 %. The coverage of 100 cases is itself known to
2 % only, so that the default takes 400.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from agent.calibration.coregistration import coregistration
from agent.calibration.detector import detector
from agent.calibration.field import field
from agent.calibration.pixel_size import from_micrometer, from_moves
from agent.calibration.psf import psf
from agent.calibration.registration import shift_between
from agent.calibration.result import Analysis
from agent.calibration.stage import hold
from agent.errors import Rejected

Case = tuple[dict[str, tuple[float, float, float | None, float | None]], float]
"""Of each value (truth, estimate, low, high); and what 1 % of bias is a percent of, where not of the truth."""


def said(analysis: Analysis, truth: dict[str, float]) -> dict[str, tuple[float, float, float | None, float | None]]:
    found = {}
    for name, value in truth.items():
        measured = analysis.metrics[name]
        found[name] = (value, measured.value, measured.low, measured.high)
    return found


def camera(rng, electrons, gain, offset, noise):
    """ADU of a camera: Poisson light, read noise of each pixel, conversion, offset of each pixel, rounding."""
    value = (rng.poisson(electrons) + rng.normal(0, 1, electrons.shape) * noise) / gain + offset
    return np.clip(np.rint(value), 0, 65535).astype(np.uint16)


def detector_case(rng):
    size = int(rng.integers(96, 160))
    gain = float(np.exp(rng.uniform(np.log(0.2), np.log(2.0))))
    noise = np.abs(rng.normal(rng.uniform(1.2, 4), 0.15, (size, size))) * max(1.0, gain)
    offset = rng.uniform(80, 300) + rng.normal(0, rng.uniform(0.2, 1.0), (size, size))
    response = 1 + rng.normal(0, rng.uniform(0.002, 0.01), (size, size))
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    light = np.exp(-(x**2 + y**2) * rng.uniform(0, 0.4)) * response
    full = 0.9 * (65535 - 300) * gain
    levels = np.geomspace(20, min(full, 20000), 8)
    dark = np.stack([camera(rng, np.zeros((size, size)), gain, offset, noise) for _ in range(30)])
    flats = [np.stack([camera(rng, light * e, gain, offset, noise) for _ in (0, 1)]) for e in levels]
    truth = {
        "gain_electrons_per_adu": gain,
        "read_noise_rms_electrons": float(np.sqrt(np.mean(noise**2))),
        "offset_adu": float(offset.mean()),
        "dsnu_electrons": float(offset.std() * gain),
    }
    return said(detector(dark, flats), truth)


def field_case(rng):
    height, width = (int(v) for v in rng.integers(300, 700, 2))
    y, x = np.mgrid[:height, :width].astype(float)
    cx, cy = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65)
    sx, sy = (max(height, width) * rng.uniform(0.5, 1.2) for _ in (0, 1))
    angle = rng.uniform(0, np.pi)
    u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    v = -(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)
    kind = rng.integers(0, 3)
    r2 = (u / sx) ** 2 + (v / sy) ** 2
    shape = [np.exp(-r2 / 2), np.cos(np.minimum(np.sqrt(r2) * 0.6, 1.5)) ** 4, np.exp(-r2 / 2 - 0.1 * r2**2)][kind]
    offset, gain = 100.0, 0.5
    image = camera(rng, shape * rng.uniform(800, 8000), gain, offset, 2.0)
    distance = np.hypot(cx - (width - 1) / 2, cy - (height - 1) / 2)
    truth = {
        "uniformity_percent": 100 * float(shape.min() / shape.max()),
        "centring_accuracy_percent": float(100 - 200 * distance / np.hypot(width, height)),
        "center_fitted_x": cx,
        "center_fitted_y": cy,
    }
    return said(field(image, offset), truth)


def bead_stack(rng, shape, places, sigma, amplitude, background, gain=0.5, noise=1.5):
    """Beads as Gaussians in a stack, through a camera."""
    return camera(rng, beads_in(shape, places, sigma, amplitude, background), gain, 100.0, noise)


def beads_in(shape, places, sigma, amplitude, background):
    """Electrons of beads in a stack."""
    stack = np.full(shape, float(background))
    for (z, y, x), height in zip(places, amplitude, strict=True):
        low = [int(max(0, c - 7 * s)) for c, s in zip((z, y, x), sigma, strict=True)]
        high = [int(min(n, c + 7 * s + 2)) for c, s, n in zip((z, y, x), sigma, shape, strict=True)]
        zz, yy, xx = np.ogrid[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        bell = np.exp(
            -((zz - z) ** 2) / 2 / sigma[0] ** 2 - (yy - y) ** 2 / 2 / sigma[1] ** 2 - (xx - x) ** 2 / 2 / sigma[2] ** 2
        )
        stack[low[0] : high[0], low[1] : high[1], low[2] : high[2]] += height * bell
    return stack


def places_of(rng, shape, pitch):
    y, x = np.mgrid[pitch : shape[1] - pitch : pitch, pitch : shape[2] - pitch : pitch]
    count = y.size
    z = np.full(count, shape[0] / 2) + rng.uniform(-1, 1, count)
    return np.stack([z, y.ravel() + rng.uniform(-3, 3, count), x.ravel() + rng.uniform(-3, 3, count)], axis=1)


def psf_case(rng):
    sigma = (rng.uniform(1.6, 2.6), *rng.uniform(1.0, 1.8, 2))
    shape = (25, 200, 200)
    places = places_of(rng, shape, 36)
    height = rng.uniform(500, 3000) * rng.normal(1, 0.1, len(places))
    stack = bead_stack(rng, shape, places, sigma, height, rng.uniform(10, 60))
    pixel, step = rng.uniform(0.05, 0.2), rng.uniform(0.1, 0.4)
    fwhm = 2.354820045 * np.array(sigma) * [step, pixel, pixel]
    truth = {
        f"fwhm_micron_{axis}_{kind}": float(f)
        for axis, f in zip("zyx", fwhm, strict=True)
        for kind in ("mean", "median")
    }
    return said(psf(stack, pixel, step), truth)


def coregistration_case(rng):
    sigma = (rng.uniform(1.6, 2.4), *rng.uniform(1.0, 1.6, 2))
    shape, shift = (25, 200, 200), rng.uniform(-1, 1, 3)
    places = places_of(rng, shape, 36)
    height = rng.uniform(500, 3000) * rng.normal(1, 0.1, len(places))
    one = bead_stack(rng, shape, places, sigma, height, 20)
    two = bead_stack(rng, shape, places + shift, np.array(sigma) * 1.1, 0.8 * height, 30)
    truth = {f"shift_micron_{a}": float(v) for a, v in zip("zyx", shift * [0.2, 0.1, 0.1], strict=True)}
    truth["distance_micron"] = float(np.sqrt(np.sum((shift * [0.2, 0.1, 0.1]) ** 2)))
    return said(coregistration(one, two, 0.1, 0.2), truth)


def scene(rng, size, blur, strength):
    """Random spots on a field twice the size (one number, or height and width), so that what moves in was there
    before: draw(dy, dx)."""
    height, width = (size, size) if isinstance(size, int) else size
    big = (2 * height, 2 * width)
    spots = np.zeros(big)
    count = int(np.sqrt(big[0] * big[1])) * 4
    np.add.at(
        spots, (rng.integers(0, big[0], count), rng.integers(0, big[1], count)), rng.uniform(0.2, 1, count) * strength
    )
    ky, kx = np.meshgrid(*map(np.fft.fftfreq, big), indexing="ij")
    spectrum = np.fft.fft2(spots) * np.exp(-2 * (np.pi * blur) ** 2 * (kx**2 + ky**2))
    rows = slice(height // 2, height // 2 + height)
    columns = slice(width // 2, width // 2 + width)

    def draw(dy, dx):
        moved = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (ky * dy + kx * dx))).real
        return np.clip(moved[rows, columns], 0, None)

    return draw


def shift_case(rng):
    draw = scene(rng, int(rng.integers(96, 192)), rng.uniform(1.0, 2.0), rng.uniform(1000, 8000))
    dy, dx = rng.uniform(-12, 12, 2)
    background = rng.uniform(10, 50)
    a = camera(rng, draw(0, 0) + background, 0.5, 100, 1.6)
    b = camera(rng, draw(dy, dx) + background, 0.5, 100, 1.6)
    found = shift_between(a, b)
    sy, sx = found.errors
    return {
        "shift_y_px": (dy, found.y, found.y - 1.96 * sy, found.y + 1.96 * sy),
        "shift_x_px": (dx, found.x, found.x - 1.96 * sx, found.x + 1.96 * sx),
    }


def drift_case(rng):
    draw = scene(rng, 96, rng.uniform(1.0, 1.8), rng.uniform(1000, 5000))
    frames, pixel, interval = 20, 0.1, 10.0
    speed = rng.uniform(-0.3, 0.3, 2)
    minutes = np.arange(frames) * interval / 60
    track = minutes[:, None] * speed + rng.normal(0, 0.003, (frames, 2))
    stack = np.stack([camera(rng, draw(*(p / pixel)) + 20, 0.5, 100, 1.6) for p in track])
    truth = {
        "y_drift_velocity_micron_per_minute": float(speed[0]),
        "x_drift_velocity_micron_per_minute": float(speed[1]),
    }
    return said(hold(stack, minutes * 60, pixel), truth)


def moves_case(rng):
    draw = scene(rng, 128, 1.4, 4000)
    angle, size = rng.uniform(-0.1, 0.1), rng.uniform(0.06, 0.7)
    affine = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    steps = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [0, 2], [1, 1], [2, 2], [-1, -2]]) * 7.3
    pixels = steps + rng.normal(0, 0.02, steps.shape)
    frames = np.stack([camera(rng, draw(y, x) + 20, 0.5, 100, 1.6) for x, y in pixels])
    truth = {"pixel_size_micron": size, "pixel_size_x_micron": size, "affine_a_micron": affine[0, 0]}
    return said(from_moves(frames, steps @ affine.T), truth)


def micrometer_case(rng):
    height, width = (int(v) for v in rng.integers(200, 500, 2))
    pixel, angle, spacing = rng.uniform(0.3, 1.2), rng.uniform(-0.1, 0.1), 10.0
    y, x = np.mgrid[:height, :width]
    phase = ((x * np.cos(angle) + y * np.sin(angle)) * pixel / spacing + rng.uniform()) % 1
    lines = 1 - 0.8 / (1 + np.exp((np.abs(phase - 0.5) - 0.12) * 40))
    image = camera(rng, lines * rng.uniform(500, 5000), 0.5, 100, 2)
    return said(from_micrometer(image, spacing), {"pixel_size_micron": pixel})


CASES: dict[str, Callable[..., dict]] = {
    "detector": detector_case,
    "field": field_case,
    "psf": psf_case,
    "coregistration": coregistration_case,
    "shift": shift_case,
    "drift": drift_case,
    "pixel-size (moves)": moves_case,
    "pixel-size (lines)": micrometer_case,
}


Row = tuple[str, float, float, float | None, int]


def campaign(case: Callable[..., dict], cases: int, seed: int, refused: Counter[str] | None = None) -> Iterator[Row]:
    """Per value: bias and its standard error (percent of the mean size of the truth), coverage in percent, cases.

    refused: counts the reasons of cases that were refused; without it the first one is raised.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list] = {}
    for _ in range(cases):
        try:
            found = case(rng)
        except Rejected as error:
            if refused is None:
                raise
            refused[str(error)] += 1
            continue
        for value, numbers in found.items():
            rows.setdefault(value, []).append(numbers)
    for value, several in rows.items():
        truth, estimate = (np.array([row[i] for row in several]) for i in (0, 1))
        error = 100 * (estimate - truth) / np.mean(np.abs(truth))
        inside = [row[2] <= row[0] <= row[3] for row in several if row[2] is not None]
        coverage = 100 * float(np.mean(inside)) if inside else None
        yield value, float(error.mean()), float(error.std(ddof=1) / np.sqrt(len(error))), coverage, len(several)


def main(table: dict[str, Callable[..., dict]], about: str, cases: int) -> None:
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--cases", type=int, default=cases)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(table))
    wish = parser.parse_args()
    print(f"{'analysis':20} {'value':38} {'cases':>5} {'bias %':>9} {'+- se':>7} {'coverage %':>10}")
    for name in [wish.only] if wish.only else table:
        began, refused = time.perf_counter(), Counter()
        for value, bias, error, coverage, count in campaign(table[name], wish.cases, wish.seed, refused):
            covered = "-" if coverage is None else f"{coverage:.1f}"
            print(f"{name:20} {value:38} {count:5} {bias:9.4f} {error:7.4f} {covered:>10}", flush=True)
        for reason, count in refused.items():
            print(f"{name:20} refused {count}: {reason}")
        print(f"{name:20} {'(seconds a case)':38} {(time.perf_counter() - began) / wish.cases:21.3f}")


if __name__ == "__main__":
    main(CASES, __doc__, 400)
