"""Illumination power: stability over minutes and hours, linearity over set points, irradiance, from a meter's log."""

from __future__ import annotations

import numpy as np
from scipy import stats

from agent.calibration.frames import Floats
from agent.calibration.power_log import RUN, PowerLog
from agent.calibration.result import Analysis, Findings
from agent.errors import Rejected

SOURCES = (
    "stability: STAB = 100*(1-(Pmax-Pmin)/(Pmax+Pmin)), 5 min at 1 Hz and 2 h at 30 s (NBO-Q, ISO 21073 4.4)",
    "linearity: R2 and slope of power over set point, 10 points or more; names as in microscope-metrics",
)
_LINEARITY = 10
_GAP = 10


def power(log: PowerLog, area_mm2: float | None = None) -> Analysis:
    """Analyse a log; area_mm2: lit area in the sample, for the irradiance. Rejected when no part can be judged."""
    values = np.asarray(log.power_mw, dtype=float)
    if len(values) < 3:
        raise Rejected(f"power: {len(values)} reading(s), at least 3 are needed")
    if not np.isfinite(values).all():
        raise Rejected("power: some readings are not numbers")
    if values.max() <= 0:
        raise Rejected("power: no reading is above zero: is the light on, and the meter in the beam?")
    out = Findings("power", SOURCES)
    labels = np.array(log.series)
    for term in ("short", "long"):
        _stability(term, values[labels == term], log.times_s[labels == term], out)
    chosen = labels == "linearity"
    _linearity(log.set_points[chosen], values[chosen], out)
    if not out.metrics:
        raise Rejected(f"power: neither {RUN} readings at one set point nor {_LINEARITY} set points: nothing to judge")
    steady = values[(labels == "short") | (labels == "long")]
    _level(steady if len(steady) else values, area_mm2, out)
    out.arrays |= {"times_s": log.times_s, "power_mw": values, "set_points": log.set_points, "series": labels}
    return out.done()


def _stability(term: str, values: Floats, times_s: Floats, out: Findings) -> None:
    if len(values) < RUN:
        if len(values):
            out.remark(f"{len(values)} readings of the {term} series: at least {RUN} are needed")
        return
    low, high = float(values.min()), float(values.max())
    if low <= 0:
        raise Rejected(f"power: the light went out during the {term} series (reading of {low:g} mW)")
    # The meter's own noise, from neighbouring readings, widens the range between the extremes.
    noise = float(np.std(np.diff(values), ddof=1)) / np.sqrt(2)
    half = 1.96 * 200 / (high + low) ** 2 * noise * float(np.hypot(high, low))
    out.add(f"{term}_term_power_stability_percent", 100 * (1 - (high - low) / (high + low)), "%", half)
    wanted = 280 if term == "short" else 7000
    lasted, steps = float(times_s[-1] - times_s[0]), np.diff(times_s)
    if steps.max() > _GAP * np.median(steps):
        out.doubt(f"the {term} series has a gap of {steps.max():.0f} s: what the light did meanwhile is not known")
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
