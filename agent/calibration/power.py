"""Illumination power: stability over minutes and hours, linearity over set points, irradiance, from a meter's log."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import stats

from agent.calibration.frames import Floats
from agent.calibration.result import SHORT_STEP_S, Analysis, Findings
from agent.errors import Rejected

SOURCES = (
    "stability: STAB = 100*(1-(Pmax-Pmin)/(Pmax+Pmin)), 5 min at 1 Hz and 2 h at 30 s (NBO-Q, ISO 21073 4.4)",
    "linearity: R2 and slope of power over set point, 10 points or more; names as in microscope-metrics",
)
_RUN = 30
_LINEARITY = 10


@dataclass(frozen=True, slots=True)
class PowerLog:
    """A meter's log: seconds since its start, set point (0 to 1), power in mW; `series` short, long or linearity."""

    times_s: Floats
    set_points: Floats
    power_mw: Floats
    series: tuple[str, ...]


def power(log: PowerLog, area_mm2: float | None = None) -> Analysis:
    """Analyse a log; area_mm2: lit area in the sample, for the irradiance. Rejected when no part can be judged."""
    values = np.asarray(log.power_mw, dtype=float)
    if len(values) < 3 or not np.isfinite(values).all():
        raise Rejected(f"power: {len(values)} readings, or some are not numbers")
    if values.max() <= 0:
        raise Rejected("power: no reading is above zero: is the light on, and the meter in the beam?")
    out = Findings("power", SOURCES)
    labels = np.array(log.series)
    for term in ("short", "long"):
        _stability(term, values[labels == term], log.times_s[labels == term], out)
    chosen = labels == "linearity"
    _linearity(log.set_points[chosen], values[chosen], out)
    if not out.metrics:
        raise Rejected(f"power: neither {_RUN} readings at one set point nor {_LINEARITY} set points: nothing to judge")
    steady = values[(labels == "short") | (labels == "long")]
    _level(steady if len(steady) else values, area_mm2, out)
    out.arrays |= {"times_s": log.times_s, "power_mw": values, "set_points": log.set_points, "series": labels}
    return out.done()


def _stability(term: str, values: Floats, times_s: Floats, out: Findings) -> None:
    if len(values) < _RUN:
        if len(values):
            out.remark(f"{len(values)} readings of the {term} series: at least {_RUN} are needed")
        return
    low, high = float(values.min()), float(values.max())
    if low <= 0:
        raise Rejected(f"power: the light went out during the {term} series (reading of {low:g} mW)")
    # The meter's own noise, from neighbouring readings, widens the range between the extremes.
    noise = float(np.std(np.diff(values), ddof=1)) / np.sqrt(2)
    half = 1.96 * 200 / (high + low) ** 2 * noise * float(np.hypot(high, low))
    out.add(f"{term}_term_power_stability_percent", 100 * (1 - (high - low) / (high + low)), "%", half)
    wanted = 280 if term == "short" else 7000
    lasted = float(times_s[-1] - times_s[0])
    if lasted < wanted:
        out.doubt(f"the {term} series lasted {lasted:.0f} s, {'300' if term == 'short' else '7200'} s are wanted")


def _linearity(set_points: Floats, values: Floats, out: Findings) -> None:
    levels = len(set(set_points.tolist()))
    if levels < 3:
        return
    if levels < _LINEARITY:
        out.doubt(f"linearity over {levels} set points; {_LINEARITY} or more are wanted")
    fit = stats.linregress(set_points, values)
    factor = float(stats.t.ppf(0.975, max(len(values) - 2, 1)))
    out.add("power_linearity_slope", float(fit.slope), "mW", factor * float(fit.stderr))
    out.add("power_linearity_intercept", float(fit.intercept), "mW", factor * float(fit.intercept_stderr))
    out.add("power_linearity_coefficient_of_determination", float(fit.rvalue**2), None)


def _level(values: Floats, area_mm2: float | None, out: Findings) -> None:
    half = 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values))
    out.add("power_mean_mw", float(values.mean()), "mW", half)
    out.add("power_median_mw", float(np.median(values)), "mW", 1.2533 * half)
    out.add("power_std_mw", float(values.std(ddof=1)), "mW")
    out.add("power_min_mw", float(values.min()), "mW")
    out.add("power_max_mw", float(values.max()), "mW")
    if area_mm2:
        out.add("irradiance_mw_per_mm2", float(values.mean()) / area_mm2, "mW/mm2", half / area_mm2)


def read_log(path: Path) -> PowerLog:
    """A CSV log with columns timestamp (ISO 8601) or seconds, power_mw, and where known set_point_fraction, series.

    Rejected when a column is missing or a value is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Rejected(f"{path} cannot be read as a power log: {error}") from error
    try:
        values = np.array([float(row["power_mw"]) for row in rows])
        points = np.array([float(row.get("set_point_fraction") or row.get("power_set_point") or 1.0) for row in rows])
        times = np.array([_seconds(row) for row in rows])
    except (KeyError, ValueError, TypeError) as error:
        raise Rejected(
            f"{path}: a power log has columns timestamp or seconds, power_mw, set_point_fraction, series ({error})"
        ) from error
    if not len(rows):
        raise Rejected(f"{path} holds no readings")
    times -= times[0]
    named = tuple(row["series"] for row in rows) if "series" in rows[0] else parts_of(times, points)
    return PowerLog(times, points, values, named)


def _seconds(row: dict[str, str]) -> float:
    if row.get("seconds"):
        return float(row["seconds"])
    return datetime.fromisoformat(row["timestamp"]).timestamp()


def parts_of(times_s: Floats, set_points: Floats) -> tuple[str, ...]:
    """Which reading belongs to which series, where the log does not say: long runs at one set point are stability."""
    labels = ["linearity"] * len(times_s)
    starts = [0, *(np.flatnonzero(np.diff(set_points) != 0) + 1).tolist(), len(set_points)]
    for begin, end in pairwise(starts):
        for first, last in _runs(times_s, begin, end):
            if last - first >= _RUN:
                step = float(np.median(np.diff(times_s[first:last])))
                labels[first:last] = ["short" if step <= SHORT_STEP_S else "long"] * (last - first)
    return tuple(labels)


def _runs(times_s: Floats, begin: int, end: int) -> list[tuple[int, int]]:
    """Cut where the pace of the readings changes by more than five times."""
    cuts = [begin]
    pace: float | None = None
    for number in range(begin + 1, end):
        step = float(times_s[number] - times_s[number - 1])
        if pace is not None and not pace / 5 <= step <= pace * 5:
            # A long pause belongs to neither side; a shorter pace begins with the reading before it.
            cuts.append(number if step > pace else number - 1)
            pace = None if step > pace else step
        else:
            pace = step
    cuts = sorted(set(cuts))
    return [(first, last) for first, last in pairwise([*cuts, end]) if last > first]
