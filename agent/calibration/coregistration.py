"""Co-registration: how far the same beads lie apart in two channels, against the resolution."""

from __future__ import annotations

import numpy as np
from scipy import stats

from agent.calibration.beads import find, fit_at
from agent.calibration.frames import Image, check_stack, saturation_level
from agent.calibration.optics import Optics, reference_distance_um
from agent.calibration.psf import check_sizes, require
from agent.calibration.result import Analysis, Findings
from agent.errors import Rejected

SOURCES = (
    "shift: difference of the centres of 3-D Gaussian fits to the same beads, mean over beads",
    "ratio: distance over the resolution in its direction, at the longer wavelength (MetroloJ_QC, ISO 21073 4.3)",
)


def coregistration(
    reference: Image,
    other: Image,
    pixel_um: float | None,
    z_step_um: float | None,
    optics: Optics | None = None,
    full_scale: float | None = None,
) -> Analysis:
    """The shift of `other` against `reference`, both (Z, Y, X) or (Y, X) of the same field.

    optics: of the channel with the longer wavelength; without it the measured FWHM of the beads is the resolution.
    Rejected when the images differ in size, or fewer than three beads are seen in both.
    """
    if reference.shape != other.shape:
        raise Rejected(f"channels of size {reference.shape} and {other.shape} are not of the same field")
    check_sizes(pixel_um, z_step_um, reference.ndim)
    one, two = (image if image.ndim == 3 else image[np.newaxis] for image in (reference, other))
    check_stack("second channel", two, "ZYX", 1)
    saturates = saturation_level([one, two], full_scale)
    found = find(one, saturates)
    volume = two.astype(np.float64)
    pairs = [(bead, fit_at(volume, bead.centre, found.radius)) for bead in found.beads]
    matched = [(bead, twin) for bead, twin in pairs if twin is not None]
    found.rejected["missing_in_second_channel"] += len(pairs) - len(matched)
    found.beads = [bead for bead, _ in matched]
    out = Findings("coregistration", SOURCES)
    require(found, out)
    voxel = np.array([z_step_um or 1.0, pixel_um or 1.0, pixel_um or 1.0])
    shifts = np.array([(twin.centre - bead.centre) * voxel for bead, twin in matched])
    flat = one.shape[0] == 1
    mean = shifts.mean(axis=0)
    factor = stats.t.ppf(0.975, len(shifts) - 1) / np.sqrt(len(shifts))
    halves = factor * shifts.std(axis=0, ddof=1)
    for number, axis in enumerate("zyx"):
        if axis != "z" or not flat:
            out.add(f"shift_micron_{axis}", float(mean[number]), "um", float(halves[number]))
    if flat:
        out.doubt("a single plane: the axial shift is not known")
    fwhm = (
        np.nanmean([[bead.fwhm * voxel, twin.fwhm * voxel] for bead, twin in matched], axis=0)[1]
        if not flat
        else np.array([np.inf, *np.mean([twin.fwhm[1:] for _, twin in matched], axis=0) * voxel[1:]])
    )
    lateral, axial = optics.fwhm_um() if optics else (float(fwhm[1:].mean()), float(fwhm[0]))
    _distance(mean, halves, lateral, axial, flat, out)
    out.add("considered_valid_count", len(matched), None)
    out.fit["beads"] = float(len(matched))
    out.arrays |= {"shifts_um": shifts, "centres": np.array([bead.centre for bead, _ in matched])}
    return out.done()


def _distance(mean: np.ndarray, halves: np.ndarray, lateral: float, axial: float, flat: bool, out: Findings) -> None:
    z, y, x = (float(value) for value in mean)
    distance = float(np.sqrt(x * x + y * y + z * z))
    along = np.abs(mean) / distance if distance else np.full(3, 3**-0.5)
    half = float(np.sqrt(np.sum(np.square(along * halves))))
    out.add("distance_micron", distance, "um", half)
    out.add("lateral_distance_micron", float(np.hypot(x, y)), "um", float(np.hypot(*halves[1:])))
    if not flat:
        out.add("axial_distance_micron", abs(z), "um", float(halves[0]))
    reference = reference_distance_um(x, y, z, lateral, axial if not flat else 1e9)
    out.add("coregistration_ratio", distance / reference, None, half / reference)
