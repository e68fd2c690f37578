"""What happens along z: the stage's returns and drift, and the asymmetry of beads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from agent.calibration import CalibrationSettings
from agent.calibration.depth import depth
from agent.calibration.entry import judged
from agent.calibration.figures import draw
from agent.calibration.psf import psf
from agent.calibration.run import Given, analyse_files
from agent.errors import Rejected
from tests.unit.calibration.test_truth import truth

RNG = np.random.default_rng(4)
SHAPE = (17, 110, 130)


def stacks(heights: np.ndarray) -> np.ndarray:
    """Beads at the same places, all at another height in each stack (planes)."""
    places = truth.places_of(RNG, SHAPE, 36)
    height = np.full(len(places), 2000.0)
    moved = [places + np.array([z, 0, 0]) for z in heights]
    return np.stack([truth.bead_stack(RNG, SHAPE, spots, (1.8, 1.2, 1.2), height, 20) for spots in moved])


def test_repeatability_in_depth(tmp_path: Path) -> None:
    heights = RNG.normal(0, 0.5, 10)
    found = depth(stacks(heights), 0.1, 0.2)
    value = found.metrics["z_repeatability_micron"]
    assert value.value == pytest.approx(heights.std(ddof=1) * 0.2, abs=0.002)
    assert value.low < 0.1 < value.high
    assert (found.series, found.quality) == ("depth return", "good")
    assert draw(found, tmp_path / "z.png").stat().st_size > 3000
    strict = CalibrationSettings.model_validate({"limits": {"repeatability_micron": 0.01}})
    assert judged("z_repeatability_micron", value, strict).status == "fail"


def test_drift_in_depth_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "hold.ome.tif"
    heights = np.linspace(0, -1.5, 8)
    tifffile.imwrite(
        path, stacks(heights), ome=True, photometric="minisblack",
        metadata={"axes": "TZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.2},
    )  # fmt: skip
    (outcome,) = analyse_files("stage", [path], Given(series="hold", interval_s=30))
    velocity = outcome.analysis.metrics["z_drift_velocity_micron_per_minute"]
    true = (heights[-1] - heights[0]) * 0.2 / (7 * 0.5)
    assert velocity.value == pytest.approx(true, rel=0.02)
    assert velocity.low < true < velocity.high
    strict = CalibrationSettings.model_validate({"limits": {"drift_velocity_micron_per_minute": 0.01}})
    assert judged("z_drift_velocity_micron_per_minute", velocity, strict).status == "fail", "downwards too"


def test_bad_stacks_are_refused() -> None:
    good = stacks(np.zeros(5))
    with pytest.raises(Rejected, match="at least 5 are needed"):
        depth(good[:3], 0.1, 0.2)
    with pytest.raises(Rejected, match="distance of the planes"):
        depth(good, 0.1, None)
    with pytest.raises(Rejected, match="pixel size is not known"):
        depth(good, None, 0.2)
    with pytest.raises(Rejected, match="times must grow"):
        depth(good, 0.1, 0.2, [0, 1, 2, 2, 3])
    gone = good.copy()
    gone[3] = truth.camera(RNG, np.full(SHAPE, 20.0), 0.5, 100, 1.5)
    with pytest.raises(Rejected, match="seen in every stack"):
        depth(gone, 0.1, 0.2)


@pytest.mark.parametrize("ratio", [1.0, 1.5, 0.7])
def test_axial_asymmetry_of_beads(ratio: float) -> None:
    places = truth.places_of(RNG, (31, 160, 160), 36)
    places[:, 0] = 15 + RNG.uniform(-1, 1, len(places))
    z, y, x = np.mgrid[:31, :160, :160]
    light = np.full(z.shape, 20.0)
    for a, b, c in places:
        width = np.where(z < a, 2.4, 2.4 * ratio)
        light += 2000 * np.exp(-((z - a) ** 2) / 2 / width**2 - ((y - b) ** 2 + (x - c) ** 2) / 2 / 1.2**2)
    found = psf(truth.camera(RNG, light, 0.5, 100, 1.5), 0.1, 0.2).metrics["fwhm_axial_asymmetry_ratio_mean"]
    assert found.value == pytest.approx(ratio, rel=0.02)
