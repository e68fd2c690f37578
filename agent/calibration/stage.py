"""Stage: how well it returns to a position and how well it holds one, from images of the same field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from agent.calibration.frames import Floats, Image, check_stack
from agent.calibration.psf import check_sizes
from agent.calibration.registration import shift_between
from agent.calibration.result import Analysis, Findings
from agent.errors import Rejected

SOURCES = (
    "repeatability: SD of the position at returns; reproducibility: SD while holding (NBO-Q MechanicalCalibration)",
    "drift: slope of position over time; settled: after which every step is below the threshold (MetroloJ_QC)",
)
_LEAST = 5


def returns(frames: Image, pixel_um: float | None) -> Analysis:
    """Repeatability from one frame a return, (T, Y, X); pixel_um in micrometres. Rejected with fewer than five."""
    track, errors = positions(frames, pixel_um)
    out = Findings("stage", SOURCES, series="return")
    count = len(track)
    if count < 10:
        out.doubt(f"only {count} returns; 10 or more are wanted")
    for number, axis in enumerate("yx"):
        _spread(f"{axis}_repeatability_micron", track[:, number], out)
    away = track - track.mean(axis=0)
    out.add("largest_deviation_micron", float(np.hypot(*away.T).max()), "um")
    _registration(errors, out)
    out.arrays["track_um"] = track
    return out.done()


def hold(
    frames: Image, times_s: Sequence[float] | None, pixel_um: float | None, settled_below_um: float = 0.2
) -> Analysis:
    """Drift and settling from a time series at one position, (T, Y, X); times_s of each frame in seconds.

    settled_below_um: the stage has settled when every further step is smaller. Rejected without times.
    """
    if times_s is None or len(times_s) != len(frames):
        raise Rejected("drift needs the time of every frame: give the interval in seconds")
    times = np.asarray(times_s, dtype=float)
    if np.any(np.diff(times) <= 0):
        raise Rejected("the times of the frames do not grow: are the frames in order?")
    track, errors = positions(frames, pixel_um)
    out = Findings("stage", SOURCES, series="hold")
    minutes = times / 60
    velocity = []
    for number, axis in enumerate("yx"):
        # The first frame is the reference: its error moves all others alike and does not bend the line.
        fit = stats.linregress(minutes[1:], track[1:, number])
        half = float(stats.t.ppf(0.975, len(track) - 3) * fit.stderr)
        out.add(f"{axis}_drift_velocity_micron_per_minute", float(fit.slope), "um/min", half)
        velocity.append((float(fit.slope), half))
        _spread(f"{axis}_reproducibility_micron", track[:, number], out)
    speed = float(np.hypot(velocity[0][0], velocity[1][0]))
    share = [abs(v) / speed if speed else 0.7 for v, _ in velocity]
    half = float(np.hypot(share[0] * velocity[0][1], share[1] * velocity[1][1]))
    out.add("drift_velocity_micron_per_minute", speed, "um/min", half)
    _settling(times, track, settled_below_um, out)
    _registration(errors, out)
    out.arrays |= {"track_um": track, "times_s": times}
    return out.done()


def positions(frames: Image, pixel_um: float | None) -> tuple[Floats, Floats]:
    """Position of each frame against the first, and standard errors, both (T, 2) as y, x in micrometres."""
    check_sizes(pixel_um, None, 2)
    check_stack("stage series", frames, "TYX", _LEAST)
    if all(np.array_equal(frames[0], frame) for frame in frames[1:]):
        raise Rejected("all frames are identical: the camera delivers the same frame again")
    shifts = [shift_between(frames[0], frame) for frame in frames[1:]]
    track = np.array([(0.0, 0.0), *((s.y, s.x) for s in shifts)])
    errors = np.array([(0.0, 0.0), *(s.errors for s in shifts)])
    return track * float(pixel_um or 0), errors * float(pixel_um or 0)


def _spread(name: str, values: Floats, out: Findings) -> None:
    freedom = len(values) - 1
    spread = float(values.std(ddof=1))
    low, high = (spread * float(np.sqrt(freedom / stats.chi2.ppf(p, freedom))) for p in (0.975, 0.025))
    out.between(name, spread, "um", (low, high))


def _settling(times: Floats, track: Floats, threshold_um: float, out: Findings) -> None:
    steps = np.hypot(*np.diff(track, axis=0).T)
    large = np.flatnonzero(steps >= threshold_um)
    if len(large) == len(steps) or (len(large) and large[-1] == len(steps) - 1):
        out.doubt(f"the stage did not settle: the last step is not below {threshold_um:g} um")
        return
    settled = float(times[large[-1] + 1] - times[0]) if len(large) else 0.0
    interval = float(np.median(np.diff(times)))
    out.between("settling_time_seconds", settled, "s", (max(settled - interval, 0.0), settled))


def _registration(errors: Floats, out: Findings) -> None:
    typical = float(np.sqrt(np.mean(np.square(errors[1:]))))
    out.fit["registration_error_micron"] = typical
    spread = [
        m.value for name, m in out.metrics.items() if name.endswith(("repeatability_micron", "reproducibility_micron"))
    ]
    if min(spread) < 2 * typical:
        out.remark(f"the spread is near what registration can see ({typical:.3g} um): take it as an upper bound")
