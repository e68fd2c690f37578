"""PSF from beads: FWHM in three directions against theory, asymmetry, rejected beads counted by reason."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from agent.calibration import optics as theory
from agent.calibration.beads import Found, find
from agent.calibration.frames import Floats, Image, check_stack, saturation_level
from agent.calibration.optics import Optics
from agent.calibration.result import Analysis, Findings
from agent.errors import Rejected

SOURCES = ("FWHM: 3-D Gaussian least-squares fit to each bead, 2.3548*sigma; names as in microscope-metrics",)
REASONS = ("lateral_edge", "self_proximity", "axial_edge", "intensity_outlier", "bad_fit_gaussian", "saturated")
_LEAST, _FEW = 3, 10


def psf(
    stack: Image,
    pixel_um: float | None,
    z_step_um: float | None,
    optics: Optics | None = None,
    bead_um: float | None = None,
    full_scale: float | None = None,
) -> Analysis:
    """Analyse a stack (Z, Y, X) of one channel; a single plane (Y, X) gives the lateral values alone.

    pixel_um, z_step_um: size of a voxel in micrometres. optics: for the ratio to theory. bead_um: diameter of the
    beads, whose own extent (d2/20 in variance) is then taken out. Rejected without pixel size, with fewer than
    three good beads, or when every bead is saturated.
    """
    check_sizes(pixel_um, z_step_um, stack.ndim)
    volume = stack if stack.ndim == 3 else stack[np.newaxis]
    check_stack("beads", volume, "ZYX", 1)
    found = find(volume, saturation_level([volume], full_scale))
    out = Findings("psf", (*SOURCES, theory.SOURCE) if optics else SOURCES)
    require(found, out)
    voxel = np.array([z_step_um or 1.0, pixel_um or 1.0, pixel_um or 1.0])
    fwhm = np.array([bead.fwhm for bead in found.beads])
    if bead_um:
        fwhm = np.sqrt(np.maximum(np.square(fwhm * voxel) - theory_bead(bead_um), 0)) / voxel
    flat = len(volume) == 1
    if flat:
        out.doubt("a single plane: no axial value, and focus is not known")
    for number, axis in enumerate("zyx"):
        if axis != "z" or not flat:
            _summary(f"fwhm_pixel_{axis}", fwhm[:, number], "px", out)
            _summary(f"fwhm_micron_{axis}", fwhm[:, number] * voxel[number], "um", out)
    _summary("fwhm_lateral_asymmetry_ratio", np.array([bead.asymmetry for bead in found.beads]), None, out)
    axial = np.array([bead.axial for bead in found.beads if np.isfinite(bead.axial)])
    if len(axial) >= _LEAST:
        _summary("fwhm_axial_asymmetry_ratio", axial, None, out)
    elif not flat:
        out.remark("axial asymmetry was not determined: too few planes around the beads")
    _against_theory(fwhm * voxel, optics, flat, (pixel_um or 0.0, z_step_um or 0.0), out)
    _counts(found, out)
    out.fit["fit_r2_median"] = float(np.median([bead.r2 for bead in found.beads]))
    out.arrays |= {
        "fwhm_um": fwhm * voxel,
        "centres": np.array([bead.centre for bead in found.beads]),
        "projection": volume.max(axis=0),
    }
    return out.done()


def theory_bead(diameter_um: float) -> float:
    """What a ball adds to the square of the FWHM, um2: variance d2/20 along each axis."""
    return float(2.354820045**2 * diameter_um**2 / 20)


def check_sizes(pixel_um: float | None, z_step_um: float | None, axes: int) -> None:
    """Rejected when the voxel size is not known: pixels mean nothing."""
    if not pixel_um or not 0 < pixel_um < math.inf:
        raise Rejected("the pixel size is not known: calibrate it, or give it in micrometres")
    if axes == 3 and (not z_step_um or not 0 < z_step_um < math.inf):
        raise Rejected("the distance of the planes is not known: give it in micrometres")


def require(found: Found, out: Findings) -> None:
    """Too few beads are refused, few are marked."""
    gone = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in found.rejected.items() if count)
    count = len(found.beads)
    if count < _LEAST:
        raise Rejected(f"{count} usable bead(s), at least {_LEAST} are needed; rejected: {gone or 'none'}")
    if count < _FEW:
        out.doubt(f"only {count} usable beads; {_FEW} or more are wanted")
    if gone:
        out.remark(f"rejected beads: {gone}")


def _summary(name: str, values: Floats, unit: str | None, out: Findings) -> None:
    """Mean, median and SD over the beads; the beads' own scatter gives the interval."""
    count = len(values)
    spread = float(values.std(ddof=1))
    half = float(stats.t.ppf(0.975, count - 1)) * spread / np.sqrt(count)
    out.add(f"{name}_mean", float(values.mean()), unit, half)
    out.add(f"{name}_median", float(np.median(values)), unit, median_factor(count) * half)
    low, high = (spread * np.sqrt((count - 1) / stats.chi2.ppf(p, count - 1)) for p in (0.975, 0.025))
    out.between(f"{name}_std", spread, unit, (float(low), float(high)))


def _against_theory(
    fwhm_um: Floats, optics: Optics | None, flat: bool, voxel: tuple[float, float], out: Findings
) -> None:
    if optics is None:
        out.remark("NA and wavelength are not known: no comparison with theory")
        return
    lateral, axial = optics.fwhm_um()
    out.add("fwhm_theory_lateral_micron", lateral, "um")
    both = fwhm_um[:, 1:].mean(axis=1) / lateral
    _ratio("fwhm_ratio_xy", both, out)
    if not flat:
        out.add("fwhm_theory_axial_micron", axial, "um")
        _ratio("fwhm_ratio_z", fwhm_um[:, 0] / axial, out)
    steps = optics.nyquist_um()
    if voxel[0] > steps[0]:
        out.remark(f"pixels of {voxel[0]:.3g} um are larger than Nyquist's {steps[0]:.3g} um")
    if not flat and voxel[1] > steps[1]:
        out.remark(f"planes {voxel[1]:.3g} um apart are coarser than Nyquist's {steps[1]:.3g} um")


def _ratio(name: str, values: Floats, out: Findings) -> None:
    count = len(values)
    half = float(stats.t.ppf(0.975, count - 1)) * float(values.std(ddof=1)) / np.sqrt(count)
    out.add(name, float(np.median(values)), None, median_factor(count) * half)


def median_factor(count: int) -> float:
    """Standard error of the median over that of the mean, normal values (Kenney and Keeping, with its small-n term)."""
    return float(np.sqrt(np.pi * count / (2 * count + np.pi - 2)))


def _counts(found: Found, out: Findings) -> None:
    total = len(found.beads) + sum(found.rejected.values())
    out.add("total_bead_count", total, None)
    out.add("considered_valid_count", len(found.beads), None)
    for reason in REASONS:
        out.add(f"considered_{reason}_count", found.rejected[reason], None)
