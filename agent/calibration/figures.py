"""Figures of analyses and trends; needs matplotlib (extra `figures`). Writes what the file's ending says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.calibration.result import Analysis
from agent.calibration.trend import Trend
from agent.errors import Misconfigured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(analysis: Analysis, path: Path, title: str = "") -> Path:
    """Draw an analysis into `path` (png, svg, pdf). Misconfigured without matplotlib or for another ending."""
    figure = _figure()
    axes = figure.add_subplot()
    _DRAWN[analysis.kind](analysis, axes)
    axes.set_title(title or f"{analysis.kind}, quality {analysis.quality}")
    return _save(figure, path)


def draw_trends(trends: Sequence[Trend], path: Path) -> Path:
    """Each metric over time with its limit, one panel below the other."""
    if not trends:
        raise Misconfigured("nothing to draw: no such metric was ever recorded")
    figure = _figure(2.2 * len(trends) + 0.6)
    panels = figure.subplots(len(trends), 1, squeeze=False)[:, 0]
    for trend, axes in zip(trends, panels, strict=True):
        _trend(trend, axes)
    figure.autofmt_xdate()
    return _save(figure, path)


def _trend(trend: Trend, axes: Axes) -> None:
    times = np.array([point.measured_at.replace("Z", "") for point in trend.points], dtype="datetime64[us]")
    values = np.array([point.value for point in trend.points])
    low = [point.low if point.low is not None else point.value for point in trend.points]
    high = [point.high if point.high is not None else point.value for point in trend.points]
    axes.errorbar(times, values, yerr=[values - low, high - values], marker="o", capsize=3, linewidth=1)
    if trend.limit is not None:
        axes.axhline(trend.limit, color="crimson", linestyle="--", label=f"{trend.sense} {trend.limit:g}")
        axes.legend(loc="best", fontsize="small")
    axes.set_title(f"{trend.metric} ({trend.holds_for})", fontsize="medium")
    axes.set_ylabel(trend.unit or "")
    axes.tick_params(axis="x", labelrotation=30)


def _figure(height: float = 4.5) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Misconfigured("figures need matplotlib: pip install 'scope-agent[figures]'") from error
    return Figure(figsize=(7, height), layout="constrained")


def _save(figure: Figure, path: Path) -> Path:
    try:
        figure.savefig(path, dpi=120)
    except ValueError as error:
        raise Misconfigured(f"{path}: {error}") from error
    return path


def _detector(analysis: Analysis, axes: Axes) -> None:
    mean, variance = analysis.arrays["mean"], analysis.arrays["variance"]
    intercept, slope = analysis.arrays["line"]
    span = np.geomspace(1.0, float(mean.max()), 100)
    axes.loglog(mean, variance, "o", label="levels")
    axes.loglog(span, intercept + slope * span, label=f"gain {1 / slope:.4g} e-/ADU")
    axes.set(xlabel="mean - offset (ADU)", ylabel="temporal variance (ADU2)")
    axes.legend()


def _field(analysis: Analysis, axes: Axes) -> None:
    height, width = analysis.arrays["shape"]
    image = axes.imshow(analysis.arrays["profile"], extent=(0, width, height, 0), cmap="viridis", vmax=1)
    line = [np.linspace(0, size, len(analysis.arrays["profile"])) for size in (width, height)]
    axes.contour(*line, analysis.arrays["profile"], 8, colors="white", linewidths=0.5)
    axes.plot(analysis.metrics["center_fitted_x"].value, analysis.metrics["center_fitted_y"].value, "r+")
    axes.set(xlabel="x (px)", ylabel="y (px)")
    axes.get_figure().colorbar(image, label="relative intensity")  # type: ignore[union-attr]


def _psf(analysis: Analysis, axes: Axes) -> None:
    fwhm = analysis.arrays["fwhm_um"]
    axes.boxplot([fwhm[:, 2], fwhm[:, 1], *([fwhm[:, 0]] if np.isfinite(fwhm[:, 0]).all() else [])])
    axes.set_xticks(
        [1, 2, 3][: 3 if np.isfinite(fwhm[:, 0]).all() else 2],
        ["x", "y", "z"][: 3 if np.isfinite(fwhm[:, 0]).all() else 2],
    )
    for place, name in ((1.5, "lateral"), (3, "axial")):
        theory = analysis.metrics.get(f"fwhm_theory_{name}_micron")
        if theory is not None:
            axes.plot([place - 0.8, place + 0.8], [theory.value] * 2, "--", color="crimson")
    axes.set_ylabel("FWHM (um)")


def _coregistration(analysis: Analysis, axes: Axes) -> None:
    centres, shifts = analysis.arrays["centres"], analysis.arrays["shifts_um"]
    axes.quiver(centres[:, 2], centres[:, 1], shifts[:, 2], shifts[:, 1], angles="xy")
    axes.invert_yaxis()
    axes.set(xlabel="x (px)", ylabel="y (px)")


def _stage(analysis: Analysis, axes: Axes) -> None:
    if "depth_um" in analysis.arrays:
        axes.plot(analysis.arrays["times_s"], analysis.arrays["depth_um"], ".-", linewidth=0.5)
        axes.set(xlabel="time (s)" if "hold" in (analysis.series or "") else "return", ylabel="z (um)")
        return
    track = analysis.arrays["track_um"]
    axes.plot(track[:, 1], track[:, 0], ".-", linewidth=0.5)
    axes.plot(*track[0, ::-1], "go", label="first")
    axes.set(xlabel="x (um)", ylabel="y (um)")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend()


def _power(analysis: Analysis, axes: Axes) -> None:
    for name in dict.fromkeys(analysis.arrays["series"].tolist()):
        chosen = analysis.arrays["series"] == name
        axes.plot(analysis.arrays["times_s"][chosen] / 60, analysis.arrays["power_mw"][chosen], ".", label=name)
    axes.set(xlabel="time (min)", ylabel="power (mW)")
    axes.legend()


def _pixel_size(analysis: Analysis, axes: Axes) -> None:
    if "image" in analysis.arrays:
        axes.imshow(analysis.arrays["image"], cmap="gray")
        return
    axes.plot(*analysis.arrays["image_px"].T, "o", label="image (px)")
    axes.plot(*analysis.arrays["stage_um"].T, "+", label="stage (um)")
    axes.legend()
    axes.set_aspect("equal", adjustable="datalim")


_DRAWN: dict[str, Callable[[Analysis, Axes], None]] = {
    "detector": _detector,
    "field": _field,
    "psf": _psf,
    "coregistration": _coregistration,
    "stage": _stage,
    "power": _power,
    "pixel-size": _pixel_size,
}
