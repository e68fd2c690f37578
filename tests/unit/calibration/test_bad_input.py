"""What cannot be measured is refused with its reason, or marked; never a silent NaN."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from agent.calibration.coregistration import coregistration
from agent.calibration.detector import detector
from agent.calibration.field import field
from agent.calibration.frames import moments
from agent.calibration.optics import Optics
from agent.calibration.pixel_size import from_micrometer, from_moves
from agent.calibration.power import power
from agent.calibration.power_log import PowerLog, read_log
from agent.calibration.psf import psf
from agent.calibration.result import Findings
from agent.calibration.rounding import unrounded
from agent.calibration.run import analyse_files
from agent.calibration.stage import hold, returns
from agent.errors import Rejected
from tests.unit.calibration.test_truth import truth

RNG = np.random.default_rng(11)


def shot(electrons: float, count: int = 2, size: int = 96) -> np.ndarray:
    light = np.full((size, size), float(electrons))
    return np.stack([truth.camera(RNG, light, 0.5, 100, 2.0) for _ in range(count)])


DARK = shot(0, 20)
FLATS = [shot(level) for level in (100, 500, 2000, 8000)]
BEADS = truth.bead_stack(
    RNG, (15, 160, 160), truth.places_of(RNG, (15, 160, 160), 36), (1.8, 1.2, 1.2), np.full(9, 2000.0), 20
)


def says(reason: str):
    return pytest.raises(Rejected, match=reason)


def test_detector_refuses() -> None:
    with says("1 frame"):
        detector(DARK[:1], FLATS)
    with says("1 frame"):
        detector(DARK, [FLATS[0][:1]])
    with says("no flat series"):
        detector(DARK, [])
    with says("exposures are mixed"):
        detector(DARK, [*FLATS, np.stack([FLATS[1][0], FLATS[2][0]])])
    with says("frames are identical"):
        detector(DARK, [*FLATS, np.stack([FLATS[1][0]] * 2)])
    with says("same region"):
        detector(DARK[:, :64], FLATS)
    with says("exchanged"):
        detector(FLATS[0], [DARK[:2]])
    with says("give the axes as TYX"):
        detector(np.moveaxis(DARK, 0, -1), FLATS)
    with says("not dark"):
        detector(shot(20000, 10), [shot(25000)])
    with says("cut off"):
        detector((np.maximum(DARK, 100) - 100).astype(np.uint16), FLATS)
    with says("saturated"):
        detector(DARK, [np.full((2, 96, 96), 65535, np.uint16) - RNG.integers(0, 2, (2, 96, 96), dtype=np.uint16)])


def test_a_level_that_is_saturated_throughout_is_left_out() -> None:
    full = np.full((2, 96, 96), 65535, np.uint16)
    found = detector(DARK, [*FLATS, full], exposures_ms=[1, 5, 20, 80, 800])
    assert found.metrics == detector(DARK, FLATS, exposures_ms=[1, 5, 20, 80]).metrics
    assert "1 of 5 levels are saturated throughout" in " ".join(found.reasons)
    with says("every flat level is saturated"):
        detector(DARK, [full, full])
    with says("2 exposures for 5 flat levels"):
        detector(DARK, [*FLATS, full], exposures_ms=[1, 2])


def test_the_noise_of_the_dark_frames_is_no_difference_of_the_pixels() -> None:
    rng = np.random.default_rng(3)
    response = 1 + rng.normal(0, 0.005, (200, 200))

    def shots(electrons: float, count: int) -> np.ndarray:
        return np.stack([truth.camera(rng, response * electrons, 10, 100, 40.0) for _ in range(count)])

    metrics = detector(shots(0, 10), [shots(level, 8) for level in (300, 600, 1200, 1800)]).metrics
    found = metrics["prnu_percent"]
    assert found.value == pytest.approx(0.5, rel=0.08)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high


def test_beads_that_touch_are_no_wide_ones() -> None:
    rng = np.random.default_rng(4)
    places = truth.places_of(rng, (15, 260, 260), 36)
    twins = np.concatenate([places, places[::6] + np.array((0, 2.4, 2.4))])
    stack = truth.bead_stack(rng, (15, 260, 260), twins, (1.8, 1.2, 1.2), np.full(len(twins), 2000.0), 20)
    metrics = psf(stack, 0.1, 0.2).metrics
    assert metrics["considered_self_proximity_count"].value >= len(places[::6])
    assert metrics["fwhm_pixel_x_mean"].value == pytest.approx(1.2 * 2.3548, rel=0.01)


def test_light_in_the_dark_is_seen_by_its_pattern() -> None:
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    shape = np.exp(-(x**2 + y**2))
    flats = [np.stack([truth.camera(RNG, shape * e, 0.5, 100, 2.0) for _ in (0, 1)]) for e in (500, 2000, 8000)]
    leaking = np.stack([truth.camera(RNG, shape * 30, 0.5, 100, 2.0) for _ in range(20)])
    with says("not dark"):
        detector(leaking, flats)
    good = np.stack([truth.camera(RNG, shape * 0, 0.5, 100, 2.0) for _ in range(20)])
    assert detector(good, flats).quality == "good"


def test_detector_marks_what_is_poor() -> None:
    found = detector(DARK[:4], FLATS[:2])
    assert found.quality == "low"
    assert any("dark frames" in reason for reason in found.reasons)
    assert any("flat level" in reason for reason in found.reasons)


def test_field() -> None:
    image = FLATS[3][0].copy()
    with says("saturated"):
        field(np.where(RNG.random(image.shape) < 0.01, 65535, image).astype(np.uint16), 100)
    with says("not brighter than the offset"):
        field(DARK[0], 200)
    with says("axes"):
        field(np.zeros((2, 2, 64, 64)), 100)
    with says("every pixel is 5"):
        field(np.full((64, 64), 5, np.uint16), 0)
    with says("not numbers"):
        field(np.where(image > image.mean(), np.nan, 1.0), 0)
    found = field(image)
    assert found.quality == "low"
    assert any("offset is not known" in reason for reason in found.reasons)


def test_beads() -> None:
    with says("pixel size is not known"):
        psf(BEADS, None, 0.2)
    with says("pixel size is not known"):
        psf(BEADS, math.nan, 0.2)
    with says("distance of the planes"):
        psf(BEADS, 0.1, None)
    with says("no bead stands out"):
        psf(shot(10, 15), 0.1, 0.2)
    with says("at least 3 are needed; rejected"):
        psf(BEADS[:, :70, :110], 0.1, 0.2)
    with says("at least 3 .*saturated"):
        psf(np.minimum(BEADS, 1023).astype(np.uint16), 0.1, 0.2)
    with says("are the axes ZYX"):
        psf(np.moveaxis(BEADS, 0, -1), 0.1, 0.2)
    with says("impossible"):
        Optics(1.4, 1.0)
    with says("needs the emission"):
        psf(BEADS, 0.1, 0.2, Optics(0.9))
    found = psf(BEADS, 0.1, 0.2)
    assert found.quality == "low"
    assert "only 9 usable beads" in found.reasons[0]


def test_a_full_well_below_the_end_of_the_scale_is_seen() -> None:
    with says("at least 3 .*saturated"):
        psf(np.minimum(BEADS, 1500).astype(np.uint16), 0.1, 0.2)
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    light = truth.camera(RNG, 4000 * np.exp(-(x**2 + y**2)), 0.5, 100, 2.0)
    assert field(light, 100).quality == "good"
    with says("saturated at 7000"):
        field(np.minimum(light, 7000), 100)
    bright = shot(30000)
    found = detector(DARK, [*FLATS, np.minimum(bright, int(bright.mean()))])
    assert found.metrics["saturation_adu"].value == int(bright.mean())
    assert found.metrics["gain_electrons_per_adu"].value == pytest.approx(0.5, rel=0.05)


def test_even_light_in_the_dark_is_seen_by_its_noise() -> None:
    found = detector(shot(400, 20), FLATS[2:])
    assert found.quality == "low"
    assert any("are they dark?" in reason for reason in found.reasons)
    assert detector(DARK, FLATS).quality == "good"


def test_rejected_beads_are_counted_by_reason() -> None:
    places = np.array(
        [(7, 40, 40), (7, 46, 40), (7, 40, 120), (7, 80, 80), (7, 120, 40), (7, 120, 120), (7, 3, 80), (0.2, 80, 130)]
    )
    stack = truth.bead_stack(RNG, (15, 160, 160), places, (1.8, 1.2, 1.2), np.full(len(places), 2000.0), 20)
    found = {name: one.value for name, one in psf(stack, 0.1, 0.2).metrics.items()}
    assert found["considered_self_proximity_count"] == 2
    assert found["considered_lateral_edge_count"] == 1
    assert found["considered_axial_edge_count"] == 1
    assert found["considered_valid_count"] == 4


def test_coregistration() -> None:
    with says("not of the same field"):
        coregistration(BEADS, BEADS[:, :100], 0.1, 0.2)
    with says("missing in second channel"):
        coregistration(BEADS, shot(10, 15, 160), 0.1, 0.2)


def test_stage() -> None:
    draw = truth.scene(RNG, 64, 1.4, 4000)
    frames = np.stack([truth.camera(RNG, draw(0, x) + 20, 0.5, 100, 1.6) for x in (0, 0.2, -0.1, 0.3, 0, 0.1)])
    with says("pixel size"):
        returns(frames, None)
    with says("at least 5"):
        returns(frames[:3], 0.1)
    with says("identical"):
        returns(np.stack([frames[0]] * 6), 0.1)
    with says("nothing in common|overlap too little"):
        returns(np.stack([frames[0], *shot(50, 5, 64)]), 0.1)
    with says("time of every frame"):
        hold(frames, None, 0.1)
    with says("do not grow"):
        hold(frames, [0, 1, 1, 2, 3, 4], 0.1)
    assert returns(frames, 0.1).quality == "low"


def test_pixel_size() -> None:
    draw = truth.scene(RNG, 64, 1.4, 4000)
    frames = np.stack([truth.camera(RNG, draw(0, x) + 20, 0.5, 100, 1.6) for x in (0, 5, 10)])
    with says("did not move"):
        from_moves(frames, np.zeros((3, 2)))
    with says("as many stage positions"):
        from_moves(frames, np.zeros((2, 2)))
    with says("moved by 0"):
        from_moves(np.stack([frames[0], frames[0] + 1, frames[0]]), np.array([(0, 0), (1, 0), (2, 0)]))
    line = from_moves(frames, np.array([(0, 0), (1, 0), (2, 0)])).metrics
    assert line["pixel_size_x_micron"].value == pytest.approx(0.2, rel=0.01)
    assert "affine_a_micron" not in line
    with says("no line pattern"):
        from_micrometer(shot(100, 1, 128)[0], 10)
    with says("spacing"):
        from_micrometer(frames[0], 0)
    y, x = np.mgrid[-1:1:256j, -1:1:300j]
    with says("no line pattern"):
        from_micrometer(truth.camera(RNG, 9000 * np.exp(-(x**2 + y**2) / 8), 0.5, 100, 1.6), 10)
    with says("no line pattern"):
        from_micrometer(BEADS.max(axis=0), 10)


def test_thin_lines_are_not_taken_for_their_harmonic() -> None:
    y, x = np.mgrid[:256, :256]
    cycles = (10.5 * y + 10.5 * x) / 256
    lines = np.clip(3 - 40 * np.abs(cycles - np.round(cycles)), 0, 1)
    found = from_micrometer(truth.camera(RNG, 300 + 3000 * lines, 0.5, 100, 1.6), 10.0)
    assert found.metrics["pixel_size_micron"].value == pytest.approx(10 * 10.5 * 2**0.5 / 256, rel=1e-3)


@pytest.mark.parametrize(
    ("header", "rows", "milliwatts"),
    [
        ("Time (s);Power (W)", "{0},0;0,010{1}", 10),
        ("Meter 7\nSerial 12\n\nDate,Time,Power [µW]", "2025-01-01,10:00:{0:02d},9{1}.5", 0.0950),
        ("Time of day\tPower (nW)", "23:59:{0:02d}\t500{1}", 0.005),
        ("timestamp,Power_mW", "2025-01-01 10:00:{0:02d},3.{1}", 3),
    ],
)
def test_a_power_log_in_other_spellings(tmp_path: Path, header: str, rows: str, milliwatts: float) -> None:
    path = tmp_path / "log.csv"
    text = "\n".join([header, *(rows.format(n, n % 2) for n in range(40))])
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        path.write_text(text, encoding=encoding)
        log = read_log(path)
        assert log.times_s.tolist() == list(range(40))
        assert float(log.power_mw.mean()) == pytest.approx(milliwatts, rel=0.06)
        assert log.series == ("short",) * 40


def test_a_power_log_that_cannot_be_understood_says_why(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for text, reason in (
        ("seconds,power\n1,2\n", "unit of the power is not said"),
        ("seconds,Power (dBm)\n1,2\n", "unit of the power is dbm"),
        ("seconds,power_mw\n1,nan\n", "not numbers"),
        ("seconds,power_mw\n1,2\n0,2\n", "time runs backwards"),
        ("seconds,power_mw\n1,two\n", "cannot be understood"),
        ("seconds,power_mw\n1\n", "cannot be understood"),
        ("seconds,power_mw\n", "no readings"),
        ("", "no readings"),
        ("II*\0\0", "no text"),
    ):
        path.write_text(text)
        with says(reason):
            read_log(path)
    seconds = np.array([*range(100), *range(160, 300)], dtype=float)
    gap = power(PowerLog(seconds, np.ones(240), 2 + RNG.normal(0, 0.01, 240), ("short",) * 240))
    assert gap.quality == "low"
    assert "gap of 61 s" in gap.reasons[0]


def test_power(tmp_path: Path) -> None:
    steady = np.full(40, 2.0) + RNG.normal(0, 0.01, 40)
    log = PowerLog(np.arange(40.0), np.ones(40), steady, ("short",) * 40)
    assert power(log).quality == "low"
    with says("light went out"):
        power(PowerLog(np.arange(40.0), np.ones(40), np.where(np.arange(40) == 9, 0.0, steady), ("short",) * 40))
    with says("not numbers"):
        power(PowerLog(np.arange(40.0), np.ones(40), np.where(np.arange(40) == 9, np.nan, steady), ("short",) * 40))
    with says("nothing to judge"):
        power(PowerLog(np.arange(5.0), np.ones(5), np.ones(5), ("linearity",) * 5))
    bad = tmp_path / "log.csv"
    bad.write_text("time,watt\n1,2\n")
    with says("columns"):
        read_log(bad)


def test_files(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "colour.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    with says("colour"):
        analyse_files("field", [path])
    with says("does not exist"):
        analyse_files("field", [tmp_path / "gone.tif"])
    with says("is a folder"):
        analyse_files("field", [tmp_path])
    junk = tmp_path / "junk.tif"
    junk.write_bytes(b"II*\0" + bytes(40))
    with says("holds no image"):
        analyse_files("field", [junk])
    one = tmp_path / "dark.tif"
    tifffile.imwrite(one, DARK)
    with says("dark series and then the flat"):
        analyse_files("detector", [one])
    with says("no file"):
        analyse_files("psf", [])


def test_a_value_that_is_no_number_is_never_kept() -> None:
    found = Findings("field", ())
    with says("could not be determined"):
        found.add("uniformity_percent", math.nan, "%")
    with says("could not be determined"):
        found.add("uniformity_percent", 1.0, "%", math.inf)


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_noise_that_hides_below_the_steps_of_the_camera_is_said(noise: float) -> None:
    dark = np.rint(100.4 + RNG.normal(0, noise, (20, 96, 96))).astype(np.uint16)
    dark[0, 0, 0] += 1
    found = detector(dark, FLATS)
    assert found.quality == "low"
    assert any("read noise is not resolved" in reason for reason in found.reasons)
    assert found.metrics["read_noise_rms_electrons"].low is None


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.35, 0.5])
def test_noise_near_a_step_of_the_camera_is_unrounded(fraction: float) -> None:
    dark = np.rint(100 + fraction + RNG.normal(0, 0.42, (30, 128, 128))).astype(np.uint16)
    mean, variance = moments(dark)
    assert unrounded(float(variance.mean()), mean, 30).variance == pytest.approx(0.42**2, rel=0.02)
    assert unrounded(float(variance.mean()), mean, 30).mean.mean() == pytest.approx(100 + fraction, abs=0.003)
