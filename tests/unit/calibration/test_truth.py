"""Every analysis against synthetic truth; the long campaign is benchmarks/calibration_truth.py."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile

from agent.calibration.coregistration import coregistration
from agent.calibration.detector import detector
from agent.calibration.field import field
from agent.calibration.optics import Optics, reference_distance_um
from agent.calibration.power import power
from agent.calibration.power_log import read_log
from agent.calibration.psf import psf
from agent.calibration.registration import shift_between
from agent.calibration.run import Given, analyse_files
from agent.calibration.stage import hold, returns
from tests.conftest import ROOT


def script(name: str) -> ModuleType:
    """A script of the benchmarks; they are no package."""
    found = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


truth = script("calibration_truth")
hard = script("calibration_hard")


@pytest.fixture(scope="module")
def synthetic() -> Path:
    standards = Path(os.environ.get("SCOPE_AGENT_STANDARDS", ROOT.parent / "shared/standards"))
    if not (standards / "qc-synthetic/ground_truth.json").exists():
        pytest.skip(f"no synthetic QC data at {standards}: set SCOPE_AGENT_STANDARDS")
    return standards / "qc-synthetic"


@pytest.fixture(scope="module")
def known(synthetic: Path) -> dict:
    return json.loads((synthetic / "ground_truth.json").read_text())


@pytest.mark.parametrize("name", list(truth.CASES))
def test_bias_is_below_one_percent_and_the_interval_mostly_right(name: str) -> None:
    cases = 10 if name in ("drift", "pixel-size (lines)", "pixel-size (moves)", "coregistration", "psf") else 25
    for value, bias, error, coverage, _ in truth.campaign(truth.CASES[name], cases, 7):
        assert abs(bias) < 1 + 3 * error, value
        assert abs(bias) < 2.5, value
        assert coverage is None or coverage >= 70, value


@pytest.mark.slow
@pytest.mark.parametrize("name", list(hard.CASES))
def test_hard_cases_are_not_refused_and_mostly_right(name: str) -> None:
    for value, bias, error, coverage, _ in truth.campaign(hard.CASES[name], 12, 7):
        assert abs(bias) < 1 + 3 * error, value
        assert coverage is None or coverage >= 70, value


def test_detector(synthetic: Path, known: dict) -> None:
    dark, pairs = (tifffile.imread(synthetic / f"{name}.tif") for name in ("dark_stack", "ptc_pairs"))
    levels = [pairs[i : i + 2] for i in range(0, len(pairs), 2)]
    found = detector(dark, levels, exposures_ms=known["detector"]["mean_electrons"])
    value = {name: one.value for name, one in found.metrics.items()}
    assert value["gain_electrons_per_adu"] == pytest.approx(known["detector"]["gain_e_per_adu"], rel=0.01)
    assert value["read_noise_rms_electrons"] == pytest.approx(known["detector"]["read_noise_e"], rel=0.01)
    assert value["offset_adu"] == pytest.approx(known["detector"]["offset_adu"], abs=0.02)
    assert value["dsnu_electrons"] == pytest.approx(0.4 * 0.46, rel=0.05)
    assert value["linearity_error_percent"] < 0.1
    assert found.quality == "good"
    assert found.fit["r2"] > 0.999
    assert any("photon transfer" in source for source in found.sources)


def test_field(synthetic: Path, known: dict) -> None:
    found = field(tifffile.imread(synthetic / "flatfield.tif"), 100).metrics
    assert found["uniformity_percent"].value == pytest.approx(
        100 * known["flatfield"]["min_over_max_noise_free"], rel=0.001
    )
    x, y = known["flatfield"]["centre_xy"]
    assert found["center_fitted_x"].low < x < found["center_fitted_x"].high
    assert found["center_fitted_y"].low < y < found["center_fitted_y"].high
    assert found["centring_accuracy_percent"].value == pytest.approx(90.6, abs=0.1)
    assert found["middle_center_intensity_ratio"].value == pytest.approx(0.996, abs=0.002)


def test_beads_and_shift(synthetic: Path, known: dict) -> None:
    stack = tifffile.imread(synthetic / "beads_zcyx.ome.tif")
    beads = known["beads"]
    for channel in (0, 1):
        found = psf(stack[:, channel], beads["px_um"], beads["dz_um"], Optics(1.2, 1.33, emission_um=0.52)).metrics
        assert found["considered_valid_count"].value == beads["n"]
        for axis, true in (("x", "fwhm_xy_um"), ("y", "fwhm_xy_um"), ("z", "fwhm_z_um")):
            assert found[f"fwhm_micron_{axis}_median"].value == pytest.approx(beads[true][channel], rel=0.005)
        assert found["fwhm_ratio_xy"].value == pytest.approx(
            beads["fwhm_xy_um"][channel] / (0.51 * 0.52 / 1.2), rel=0.01
        )
    found = coregistration(stack[:, 0], stack[:, 1], beads["px_um"], beads["dz_um"]).metrics
    for axis, true in zip("xyz", beads["shift_ch1_minus_ch0_um"], strict=True):
        assert found[f"shift_micron_{axis}"].value == pytest.approx(true, abs=0.002)


def test_the_beads_own_size_is_taken_out(synthetic: Path) -> None:
    stack = tifffile.imread(synthetic / "beads_zcyx.ome.tif")[:, 0]
    plain, true = (psf(stack, 0.1, 0.2, bead_um=size).metrics["fwhm_micron_x_mean"].value for size in (None, 0.2))
    assert true == pytest.approx(np.sqrt(plain**2 - 2.354820045**2 * 0.2**2 / 20), rel=1e-3)


def test_stage(synthetic: Path, known: dict) -> None:
    frames = tifffile.imread(synthetic / "stage_repeat.tif")
    found = returns(frames, 0.1).metrics
    all_x = np.std(np.array(known["stage"]["shifts_px_xy"]) * 0.1, axis=0, ddof=1)
    assert found["x_repeatability_micron"].value == pytest.approx(all_x[0], abs=0.002)
    assert found["y_repeatability_micron"].value == pytest.approx(all_x[1], abs=0.002)


def test_each_shift_of_the_stage(synthetic: Path, known: dict) -> None:
    frames = tifffile.imread(synthetic / "stage_repeat.tif")
    for frame, (x, y) in zip(frames[1:], known["stage"]["shifts_px_xy"][1:], strict=True):
        found = shift_between(frames[0], frame)
        assert (found.x, found.y) == (pytest.approx(x, abs=0.03), pytest.approx(y, abs=0.03))


def test_every_file_of_the_synthetic_data_as_a_user_names_it(synthetic: Path, known: dict) -> None:
    """Through the reading of files: axes, channels and voxel size come from the file where it says them."""
    (one,) = analyse_files("detector", [synthetic / "dark_stack.tif", synthetic / "ptc_pairs.tif"])
    assert one.analysis.metrics["gain_electrons_per_adu"].value == pytest.approx(0.46, rel=0.01)
    (one,) = analyse_files("field", [synthetic / "flatfield.tif"], Given(offset_adu=100))
    assert one.analysis.metrics["uniformity_percent"].value == pytest.approx(64.4, rel=0.002)
    beads = known["beads"]
    two = analyse_files("psf", [synthetic / "beads_zcyx.ome.tif"])
    assert [outcome.channels for outcome in two] == [("488",), ("561",)]
    for outcome, lateral in zip(two, beads["fwhm_xy_um"], strict=True):
        assert outcome.analysis.metrics["fwhm_micron_y_mean"].value == pytest.approx(lateral, rel=0.005)
    (pair,) = analyse_files("coregistration", [synthetic / "beads_zcyx.ome.tif"])
    apart = float(np.hypot.reduce(beads["shift_ch1_minus_ch0_um"]))
    assert pair.analysis.metrics["distance_micron"].value == pytest.approx(apart, abs=0.002)
    (one,) = analyse_files("stage", [synthetic / "stage_repeat.tif"], Given(series="return", pixel_um=0.1))
    assert one.analysis.metrics["x_repeatability_micron"].value == pytest.approx(0.13, abs=0.01)
    (one,) = analyse_files("power", [synthetic / "power_log.csv"])
    stability = one.analysis.metrics["short_term_power_stability_percent"].value
    assert stability == pytest.approx(known["power"]["short_term_stability_percent"], abs=0.001)


def test_settling_is_when_every_further_step_is_small() -> None:
    rng = np.random.default_rng(3)
    draw = truth.scene(rng, 96, 1.4, 4000)
    track = [0, 8, 13, 15, 15.2, 15.3, 15.3, 15.35, 15.3, 15.32]
    frames = np.stack([truth.camera(rng, draw(0, x) + 20, 0.5, 100, 1.6) for x in track])
    found = hold(frames, range(0, 20, 2), 0.1, settled_below_um=0.1)
    assert found.metrics["settling_time_seconds"].value == 6.0


def test_power(synthetic: Path, known: dict) -> None:
    log = read_log(synthetic / "power_log.csv")
    found = power(log, area_mm2=0.5).metrics
    for term in ("short", "long"):
        assert found[f"{term}_term_power_stability_percent"].value == pytest.approx(
            known["power"][f"{term}_term_stability_percent"], abs=0.001
        )
    assert found["power_linearity_slope"].value == pytest.approx(known["power"]["slope_mw_per_fraction"], rel=1e-4)
    assert found["irradiance_mw_per_mm2"].value == pytest.approx(found["power_mean_mw"].value / 0.5)


def test_a_log_without_series_is_cut_by_set_point_and_pace(synthetic: Path, tmp_path: Path) -> None:
    rows = (synthetic / "power_log.csv").read_text().splitlines()
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(row.partition(",")[2] for row in rows))
    named, cut = read_log(synthetic / "power_log.csv"), read_log(bare)
    same = np.mean(np.array(named.series) == np.array(cut.series))
    assert same > 0.99


def test_theory_follows_the_modality() -> None:
    wide = Optics(1.4, 1.515, emission_um=0.52, excitation_um=0.488)
    assert wide.fwhm_um() == pytest.approx((0.51 * 0.52 / 1.4, 1.77 * 1.515 * 0.52 / 1.96))
    depth = 1.515 - np.sqrt(1.515**2 - 1.4**2)
    confocal = Optics(1.4, 1.515, 0.52, 0.488, "confocal")
    assert confocal.fwhm_um() == pytest.approx((0.51 * 0.488 / 1.4, 0.88 * 0.488 / depth))
    assert Optics(1.4, 1.515, 0.52, 0.488, "multiphoton").fwhm_um()[0] == pytest.approx(0.383 * 0.488 / 1.4**0.91)
    assert Optics(1.4, 1.515, 0.52, 0.488, "spinning-disk").fwhm_um()[1] == pytest.approx(0.52 / depth)


def test_the_reference_distance_is_the_ellipsoid_of_metroloj() -> None:
    rx = ry = 0.2
    rz = 0.6
    dx, dy, dz = 0.05, -0.02, 0.1
    r = np.sqrt(dx**2 + dy**2 + dz**2)
    theta, phi = np.arccos(dz / r), np.arctan2(dy, dx)
    below = (ry * rz * np.cos(phi) * np.sin(theta)) ** 2 + (rx * rz * np.sin(phi) * np.sin(theta)) ** 2
    expected = rx * ry * rz / np.sqrt(below + (rx * ry * np.cos(theta)) ** 2)
    assert reference_distance_um(dx, dy, dz, rx, rz) == pytest.approx(expected)
