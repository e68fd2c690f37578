"""The cases of calibration_truth.py where they are hard: dim light, 8 bits, few frames, odd shapes, edges, few points.

    python benchmarks/calibration_hard.py [--cases 100] [--seed 1] [--only "psf, dim"]

The same table; what was refused is counted below it with the reason. Values whose truth is near zero (a slow drift)
have a large relative scatter by nature: there the bias is to be held against its standard error.
"""

from __future__ import annotations

from collections.abc import Callable

import calibration_truth as plain
import numpy as np

from agent.calibration.coregistration import coregistration
from agent.calibration.detector import detector
from agent.calibration.field import field
from agent.calibration.psf import psf
from agent.calibration.registration import shift_between
from agent.calibration.stage import hold


def camera(rng, electrons, gain, offset, noise, top=65535):
    value = (rng.poisson(electrons) + rng.normal(0, 1, electrons.shape) * noise) / gain + offset
    return np.clip(np.rint(value), 0, top).astype(np.uint8 if top == 255 else np.uint16)


# Detector


def detector_with(rng, *, shape, gain, noise, offset, levels, dark, frames=2, top=65535, dsnu=0.5, curve=0.2):
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    light = np.exp(-(x**2 + y**2) * curve) * (1 + rng.normal(0, 0.005, shape))
    offsets = offset + rng.normal(0, dsnu, shape)
    noises = np.abs(rng.normal(noise, 0.05 * noise, shape))
    darks = np.stack([camera(rng, np.zeros(shape), gain, offsets, noises, top) for _ in range(dark)])
    flats = [np.stack([camera(rng, light * e, gain, offsets, noises, top) for _ in range(frames)]) for e in levels]
    truth = {
        "gain_electrons_per_adu": gain,
        "read_noise_rms_electrons": float(np.sqrt(np.mean(noises**2))),
        "offset_adu": float(offsets.mean()),
    }
    return plain.said(detector(darks, flats), truth)


def detector_dim(rng):
    gain, noise = rng.uniform(0.1, 0.3), rng.uniform(0.25, 0.9)
    levels = np.geomspace(2, 200, 7)
    return detector_with(rng, shape=(128, 128), gain=gain, noise=noise, offset=100, levels=levels, dark=30)


def detector_8bit(rng):
    """Read noise down to 0.3 ADU, below the steps of the camera."""
    gain, shape = rng.uniform(5, 60), tuple(int(v) for v in rng.integers(100, 250, 2))
    return detector_with(
        rng, shape=shape, gain=gain, noise=gain * rng.uniform(0.3, 1.2), offset=rng.uniform(6, 15), dark=20, top=255,
        levels=np.geomspace(gain * 10, gain * 220, 8), dsnu=rng.choice([0, 0.1, 0.4]), curve=rng.choice([0, 0.2]),
    )  # fmt: skip


def detector_two_frames(rng):
    gain = rng.uniform(0.2, 2)
    noise, levels = rng.uniform(1.2, 4) * max(1, gain), np.geomspace(50, 10000, 4)
    return detector_with(rng, shape=(64, 200), gain=gain, noise=noise, offset=100, levels=levels, dark=2)


def detector_to_saturation(rng):
    gain = rng.uniform(0.2, 2)
    return detector_with(
        rng, shape=(100, 120), gain=gain, noise=rng.uniform(1.2, 4) * max(1, gain), offset=100, dark=16, frames=4,
        levels=np.linspace(0.02, 1.05, 10) * 65535 * gain,
    )  # fmt: skip


# Field


def field_with(rng, *, height, width, edge, peak, gain=0.5, noise=2.0, top=65535, offset=100.0, response=0.0):
    """edge: intensity in the farthest corner over the maximum."""
    y, x = np.mgrid[:height, :width].astype(float)
    cx, cy = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65)
    far = max(np.hypot(a - cx, b - cy) for a in (0, width - 1) for b in (0, height - 1))
    r2 = ((x - cx) ** 2 + (y - cy) ** 2) / far**2
    shape = [
        lambda: np.exp(np.log(edge) * r2),
        lambda: 1 - (1 - edge) * r2,
        lambda: np.cos(np.arccos(edge**0.25) * np.sqrt(r2)) ** 4,
        lambda: 1 / (1 + r2 * (1 / edge - 1)),
    ][rng.integers(4)]()
    pixels = 1 + rng.normal(0, response, shape.shape)
    image = camera(rng, shape * peak * pixels, gain, offset, noise, top)
    distance = np.hypot(cx - (width - 1) / 2, cy - (height - 1) / 2)
    truth = {
        "uniformity_percent": 100 * float(shape.min() / shape.max()),
        "centring_accuracy_percent": float(100 - 200 * distance / np.hypot(width, height)),
        "center_fitted_x": cx,
        "center_fitted_y": cy,
    }
    return plain.said(field(image, offset), truth)


def sizes(rng, low=200, high=700):
    return {"height": int(rng.integers(low, high)), "width": int(rng.integers(low, high))}


def field_dim(rng):
    return field_with(rng, **sizes(rng), edge=rng.uniform(0.3, 0.9), peak=rng.uniform(20, 200), gain=0.25, noise=0.8)


def field_8bit(rng):
    peak = rng.uniform(3000, 7000)
    return field_with(rng, **sizes(rng), edge=rng.uniform(0.3, 0.9), peak=peak, gain=40, noise=20, top=255, offset=5.0)


def field_steep(rng):
    return field_with(rng, **sizes(rng), edge=rng.uniform(0.1, 0.3), peak=rng.uniform(800, 8000))


def field_even(rng):
    return field_with(rng, **sizes(rng), edge=rng.uniform(0.9, 0.98), peak=rng.uniform(800, 8000))


def field_long(rng):
    height, width = int(rng.integers(100, 200)), int(rng.integers(800, 1200))
    return field_with(rng, height=height, width=width, edge=rng.uniform(0.3, 0.9), peak=rng.uniform(800, 8000))


def field_small(rng):
    return field_with(rng, **sizes(rng, 48, 130), edge=rng.uniform(0.3, 0.9), peak=rng.uniform(800, 8000))


def field_uneven_pixels(rng):
    peak = rng.uniform(5000, 30000)
    return field_with(rng, **sizes(rng), edge=rng.uniform(0.3, 0.9), peak=peak, response=0.01)


# Beads


def beads_with(rng, *, shape=(25, 200, 200), deep=(1.6, 2.6), wide=(1.0, 1.8), height=(500, 3000), count=None, **how):
    """how: places, background, gain, noise, top, offset, pitch."""
    sigma = (rng.uniform(*deep), *rng.uniform(*wide, 2))
    places = how.pop("places", None)
    if places is None:
        places = plain.places_of(rng, shape, how.pop("pitch", 36))
    places = places[rng.permutation(len(places))[:count]]
    amplitude = rng.uniform(*height) * rng.normal(1, 0.1, len(places))
    electrons = plain.beads_in(shape, places, sigma, amplitude, how.pop("background", 20))
    settings = {"gain": 0.5, "offset": 100.0, "noise": 1.5} | how
    pixel, step = rng.uniform(0.05, 0.2), rng.uniform(0.1, 0.4)
    fwhm = 2.354820045 * np.array(sigma) * [step, pixel, pixel]
    truth = {
        f"fwhm_micron_{axis}_{kind}": float(f)
        for axis, f in zip("zyx", fwhm, strict=True)
        for kind in ("mean", "median")
    }
    return plain.said(psf(camera(rng, electrons, **settings), pixel, step), truth)


def beads_at_edges(rng):
    places = np.stack([rng.uniform(0, 25, 60), rng.uniform(0, 300, 60), rng.uniform(0, 300, 60)], axis=1)
    return beads_with(rng, shape=(25, 300, 300), places=places)


def coregistration_with(
    rng, *, height=(500, 3000), count=None, background=20, gain=0.5, noise=1.5, shape=(25, 200, 200)
):
    sigma = (rng.uniform(1.6, 2.4), *rng.uniform(1.0, 1.6, 2))
    shift, places = rng.uniform(-1, 1, 3), plain.places_of(rng, shape, 36)
    places = places[rng.permutation(len(places))[:count]]
    amplitude = rng.uniform(*height) * rng.normal(1, 0.1, len(places))
    one = plain.bead_stack(rng, shape, places, sigma, amplitude, background, gain, noise)
    two = plain.bead_stack(rng, shape, places + shift, np.array(sigma) * 1.1, 0.8 * amplitude, background, gain, noise)
    apart = shift * [0.2, 0.1, 0.1]
    truth = {f"shift_micron_{a}": float(v) for a, v in zip("zyx", apart, strict=True)}
    return plain.said(coregistration(one, two, 0.1, 0.2), truth | {"distance_micron": float(np.hypot.reduce(apart))})


# Shift and drift


def shift_with(rng, *, shape=(128, 128), strength=(1000, 8000), most=12, background=20, fade=1.0, **how):
    settings = {"gain": 0.5, "offset": 100.0, "noise": 1.6} | how
    draw = plain.scene(rng, shape, rng.uniform(1.0, 2.0), rng.uniform(*strength))
    dy, dx = rng.uniform(-most, most, 2)
    one = camera(rng, draw(0, 0) + background, **settings)
    two = camera(rng, (draw(dy, dx) + background) * fade, **settings)
    found = shift_between(one, two)
    sy, sx = found.errors
    return {
        "shift_y_px": (dy, found.y, found.y - 1.96 * sy, found.y + 1.96 * sy),
        "shift_x_px": (dx, found.x, found.x - 1.96 * sx, found.x + 1.96 * sx),
    }


def drift_with(rng, *, frames, jitter=0.003, shape=(96, 96), strength=(1000, 5000), background=20, uneven=False, **how):
    settings = {"gain": 0.5, "offset": 100.0, "noise": 1.6} | how
    draw = plain.scene(rng, shape, rng.uniform(1.0, 1.8), rng.uniform(*strength))
    speed, minutes = rng.uniform(0.1, 0.4, 2) * rng.choice([-1, 1], 2), np.arange(frames) / 6
    if uneven:
        minutes = np.sort(rng.uniform(0, minutes[-1], frames))
    track = minutes[:, None] * speed + rng.normal(0, jitter, (frames, 2))
    stack = np.stack([camera(rng, draw(*(place / 0.1)) + background, **settings) for place in track])
    truth = {f"{axis}_drift_velocity_micron_per_minute": float(v) for axis, v in zip("yx", speed, strict=True)}
    truth["drift_velocity_micron_per_minute"] = float(np.hypot(*speed))
    return plain.said(hold(stack, minutes * 60, 0.1), truth)


DIM = {"background": 5, "gain": 0.25, "noise": 0.8}
CASES: dict[str, Callable[..., dict]] = {
    "detector, dim": detector_dim,
    "detector, 8 bit": detector_8bit,
    "detector, 2 frames": detector_two_frames,
    "detector, saturating": detector_to_saturation,
    "field, dim": field_dim,
    "field, 8 bit": field_8bit,
    "field, steep": field_steep,
    "field, even": field_even,
    "field, long": field_long,
    "field, small": field_small,
    "field, uneven pixels": field_uneven_pixels,
    "psf, dim": lambda rng: beads_with(rng, height=(40, 120), **DIM),
    "psf, 8 bit": lambda rng: beads_with(
        rng, height=(3000, 5000), background=100, gain=25, noise=10, top=255, offset=6.0
    ),
    "psf, 4 beads": lambda rng: beads_with(rng, count=4),
    "psf, not square": lambda rng: beads_with(rng, shape=(21, 100, 500)),
    "psf, coarse planes": lambda rng: beads_with(rng, deep=(0.8, 1.3)),
    "psf, fine planes": lambda rng: beads_with(rng, shape=(61, 150, 150), deep=(5, 8)),
    "psf, few pixels": lambda rng: beads_with(rng, wide=(0.7, 1.0)),
    "psf, edges": beads_at_edges,
    "coregistration, dim": lambda rng: coregistration_with(rng, height=(50, 150), **DIM),
    "coregistration, 5": lambda rng: coregistration_with(rng, count=5),
    "coregistration, long": lambda rng: coregistration_with(rng, shape=(21, 100, 400)),
    "shift, dim": lambda rng: shift_with(rng, strength=(80, 300), **DIM),
    "shift, 8 bit": lambda rng: shift_with(rng, strength=(6000, 12000), gain=20, noise=8, top=255, offset=10.0),
    "shift, not square": lambda rng: shift_with(rng, shape=(80, 400)),
    "shift, small": lambda rng: shift_with(rng, shape=(48, 48), most=6),
    "shift, far": lambda rng: shift_with(rng, shape=(160, 160), most=45),
    "shift, bleached": lambda rng: shift_with(rng, fade=0.7),
    "drift, 5 points": lambda rng: drift_with(rng, frames=5),
    "drift, dim": lambda rng: drift_with(rng, frames=12, strength=(80, 300), **DIM),
    "drift, uneven times": lambda rng: drift_with(rng, frames=12, uneven=True),
    "drift, not square": lambda rng: drift_with(rng, frames=12, shape=(64, 200)),
}


if __name__ == "__main__":
    plain.main(CASES, __doc__, 100)
