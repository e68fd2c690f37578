"""Stage in depth: how well it returns to a plane and how well it holds one, from stacks of the same beads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from agent.calibration.beads import find, fit_at
from agent.calibration.frames import Floats, Image, check_stack, saturation_level
from agent.calibration.psf import check_sizes
from agent.calibration.result import Analysis, Findings
from agent.errors import Rejected

SOURCES = (
    "z: mean over beads of the centres of 3-D Gaussian fits, against the first stack",
    "repeatability: SD of the position at returns; drift: slope over time (NBO-Q MechanicalCalibration)",
)
_LEAST, _FEW = 5, 10


def depth(
    stacks: Image, pixel_um: float | None, z_step_um: float | None, times_s: Sequence[float] | None = None
) -> Analysis:
    """Analyse one stack of beads a return, (T, Z, Y, X); with the time of each in seconds, while holding.

    Rejected with fewer than five stacks, without voxel size, or where no bead is seen in all of them.
    """
    check_sizes(pixel_um, z_step_um, 3)
    if stacks.ndim != 4 or stacks.shape[0] < _LEAST:
        raise Rejected(f"depth: {stacks.shape[0]} stack(s) of beads, at least {_LEAST} are needed (axes TZYX)")
    if times_s is not None and (len(times_s) != len(stacks) or np.any(np.diff(times_s) <= 0)):
        raise Rejected("depth: every stack needs its time, and the times must grow")
    track, error = _track(stacks)
    track, error = track * float(z_step_um or 0), error * float(z_step_um or 0)
    out = Findings("stage", SOURCES, series="depth return" if times_s is None else "depth hold")
    count = len(track)
    if count < _FEW:
        out.doubt(f"only {count} stacks; {_FEW} or more are wanted")
    spread = float(track.std(ddof=1))
    if times_s is None:
        _spread("z_repeatability_micron", spread, count - 1, out)
        out.add("largest_deviation_micron", float(np.abs(track - track.mean()).max()), "um")
    else:
        _drift(track, np.asarray(times_s, dtype=float) / 60, out)
    if spread < 2 * error:
        out.remark(f"the spread is near what the beads can tell ({error:.3g} um): take it as an upper bound")
    out.fit["registration_error_micron"] = error
    times = np.arange(count) if times_s is None else np.asarray(times_s, dtype=float)
    out.arrays |= {"depth_um": track, "times_s": times}
    return out.done()


def _track(stacks: Image) -> tuple[Floats, float]:
    """z of each stack against the first, planes, and the typical standard error."""
    for number, stack in enumerate(stacks):
        check_stack(f"stack {number + 1}", stack, "ZYX", 3)
    first = find(stacks[0], saturation_level([stacks[0]]))
    rows = []
    for bead in first.beads:
        twins = [fit_at(stack, bead.centre, first.radius) for stack in stacks[1:]]
        found = [twin.centre[0] - bead.centre[0] for twin in twins if twin is not None]
        if len(found) == len(twins):
            rows.append([0.0, *found])
    if len(rows) < 3:
        raise Rejected(f"depth: {len(rows)} bead(s) are seen in every stack, at least 3 are needed")
    moves = np.array(rows)
    apart = moves - moves.mean(axis=0)
    error = float(np.sqrt(np.mean(np.square(apart)) / (len(rows) - 1)))
    return np.asarray(moves.mean(axis=0)), error


def _spread(name: str, value: float, freedom: int, out: Findings) -> None:
    low, high = (value * float(np.sqrt(freedom / stats.chi2.ppf(p, freedom))) for p in (0.975, 0.025))
    out.between(name, value, "um", (low, high))


def _drift(track: Floats, minutes: Floats, out: Findings) -> None:
    # The first stack is the reference: its error moves all others alike and does not bend the line.
    fit = stats.linregress(minutes[1:], track[1:])
    half = float(stats.t.ppf(0.975, len(track) - 3) * fit.stderr)
    out.add("z_drift_velocity_micron_per_minute", float(fit.slope), "um/min", half)
    _spread("z_reproducibility_micron", float(track.std(ddof=1)), len(track) - 1, out)
