"""The commands as a user runs them."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile

from tests.unit.calibration.test_truth import truth

CONFIG = 'site = "lab"\ninstrument = "scope"\nstate = "state"\n[delivery]\nurl = "http://127.0.0.1:1"\n'


class Said(NamedTuple):
    stdout: str
    stderr: str


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def run(*arguments: object, code: int = 0) -> Said:
    """The real `main`, in this process: starting Python forty times would take longer than everything else."""
    from agent.cli.app import main

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["scope-agent", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert (ended.value.code or 0) == code, out.getvalue() + err.getvalue()
    return Said(out.getvalue(), err.getvalue())


def said(*arguments: object, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code).stdout)


def detector_files(folder: Path) -> list[Path]:
    rng = np.random.default_rng(1)

    def shot(electrons: float, count: int) -> np.ndarray:
        light = np.full((96, 96), electrons)
        return np.stack([truth.camera(rng, light, 0.5, 100, 2.0) for _ in range(count)])

    dark, flat = folder / "dark.tif", folder / "flat.tif"
    tifffile.imwrite(dark, shot(0, 20))
    tifffile.imwrite(flat, np.concatenate([shot(level, 2) for level in (100, 1000, 3000, 9000)]))
    return [dark, flat]


def test_a_result_is_recorded_listed_corrected_and_exchanged(tmp_path: Path, config: Path) -> None:
    files = detector_files(tmp_path)
    (one,) = said(
        "calibrate", "detector", *files, "--record", "-c", config, "--camera", "Cam", "--figure", tmp_path / "f.png"
    )
    assert one["metrics"]["gain_electrons_per_adu"]["value"] == pytest.approx(0.5, rel=0.03)
    assert (tmp_path / "f.png").stat().st_size > 5000
    (again,) = said("calibrate", "detector", *files, "--record", "-c", config, "--camera", "Cam")
    assert again["recorded"] == one["recorded"]
    (listed,) = said("calibrations", "list", "-c", config)
    assert listed["id"] == one["recorded"]
    assert [file["name"] for file in listed["inputs"]] == ["dark.tif", "flat.tif"]
    assert said("calibrations", "show", one["recorded"][-8:], "-c", config) == listed
    (coming,) = said("calibrations", "due", "-c", config)
    assert coming["days"] < 0
    trends = said("calibrations", "trend", "-c", config, "--metric", "offset_adu", "--figure", tmp_path / "t.svg")
    assert trends[0]["points"][0]["value"] == pytest.approx(100, abs=0.1)
    assert (tmp_path / "t.svg").exists()
    told = {one["metric"]: one["points"][0]["value"] for one in said("calibrations", "trend", "-c", config)}
    assert told == {name: found["value"] for name, found in listed["metrics"].items()}, "every metric for a dashboard"
    run("calibrations", "export", tmp_path / "all.json", "-c", config)
    run("calibrations", "withdraw", one["recorded"], "--reason", "lamp was on", "-c", config)
    assert said("calibrations", "list", "-c", config) == []
    assert len(said("calibrations", "list", "--all", "-c", config)) == 2
    twice = run("calibrations", "withdraw", one["recorded"], "--reason", "again", "-c", config, code=65)
    assert "already" in twice.stderr
    assert "withdrawal" in run("calibrations", "list", "--all", "-c", config).stdout
    other = tmp_path / "other.toml"
    other.write_text(CONFIG.replace('"state"', '"state2"'))
    (tmp_path / "state2").mkdir()
    assert "1 new" in run("calibrations", "import", tmp_path / "all.json", "-c", other).stdout
    assert "0 new" in run("calibrations", "import", tmp_path / "all.json", "-c", other).stdout


def test_mistakes_are_one_line(tmp_path: Path, config: Path) -> None:
    dark, flat = detector_files(tmp_path)
    cases = [
        (("calibrate", "detector", dark, flat, "--record", "-c", config), 2, "--record needs --camera"),
        (("calibrate", "detector", dark), 65, "name the dark series and then the flat"),
        (("calibrate", "psf", dark), 65, "pixel size is not known"),
        (("calibrate", "field"), 65, "no file was named"),
        (("calibrate", "psf", "--acquire"), 2, "--acquire takes detector and power"),
        (("calibrations", "show", "nothing", "-c", config), 65, "0 calibrations have this id"),
        (("calibrations", "import", tmp_path / "no.json", "-c", config), 2, "no.json: No such file"),
        (("calibrate", "detector", dark, flat, "--exposure", 1), 65, "1 exposures for 4 flat levels"),
        (("calibrate", "detector", dark, flat, "--figure", tmp_path / "no" / "a.png"), 2, "No such file"),
    ]
    for arguments, code, text in cases:
        error = run(*arguments, code=code).stderr
        assert text in error
        assert len(error.strip().splitlines()) == 1


def test_annotate_attaches_the_calibrations_of_a_config(tmp_path: Path, config: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("seconds,power_mw\n" + "".join(f"{t},{2 + 0.01 * (t % 3)}\n" for t in range(60)))
    run("calibrate", "power", log, "--record", "-c", config)
    image = tmp_path / "cells.ome.tif"
    tifffile.imwrite(image, np.arange(1024, dtype=np.uint16).reshape(32, 32), ome=True, metadata={"axes": "YX"})
    with_it = Path(run("annotate", image, "--out", tmp_path / "a", "-c", config).stdout.strip())
    record = json.loads((with_it / "acquisition.json").read_text())
    assert (record["site"], record["instrument"]) == ("lab", "scope")
    assert record["calibration"]["metrics"]["power_mean_mw"]["value"] == pytest.approx(2.01)
    assert b"power_mean_mw" in (with_it / "metadata.companion.ome").read_bytes()
    without = Path(run("annotate", image, "--out", tmp_path / "b").stdout.strip())
    assert b'K="QualityControl">none<' in (without / "metadata.companion.ome").read_bytes()


def test_a_session_marks_its_runs(tmp_path: Path, config: Path) -> None:
    from agent.sources.context import ContextLog

    around = ContextLog(tmp_path / "state" / "context")
    run("session", "start", "--user", "ada", "-c", config)
    run("session", "start", "--calibration", "beads", "--tell", "bead_um=0.1", "-c", config)
    now = time.time_ns()
    assert around.marks(now) == {"calibration": "psf", "calibration_bead_um": "0.1"}
    assert around.session(now).user.value == "ada", "who it is stays known"
    run("session", "stop", "-c", config)
    assert around.marks(time.time_ns()) == {}
    assert around.marks(now)["calibration"] == "psf", "as it was then"
    assert "none of detector" in run("session", "start", "--calibration", "tea", "-c", config, code=2).stderr
    assert "NAME=VALUE" in run("session", "start", "--calibration", "psf", "--tell", "x", "-c", config, code=2).stderr
    assert "--calibration KIND" in run("session", "start", "-c", config, code=2).stderr


@pytest.mark.slow
def test_a_guided_run_takes_its_own_dark_and_flat_series(tmp_path: Path, config: Path) -> None:
    pytest.importorskip("mm_test_adapters")
    settings = {
        "Mode": "Noise", "PixelType": "16bit", "BitDepth": "16", "OnCameraCCDXSize": "256", "OnCameraCCDYSize": "256",
        "ReadNoise (electrons)": "2.5", "Photon Conversion Factor": "0.8", "Offset": "100",
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("--setting", f"Camera.{name}={value}")]
    options += ["--dark", "Camera.Photon Flux=2", "--flat", "Camera.Photon Flux=500", "--dark-exposure", "0.001"]
    options += ["--out", str(tmp_path / "run.ome.tiff"), "--frames", "10", "--camera", "Camera"]
    exposures = [part for ms in (1, 5, 20, 60) for part in ("--exposure", ms)]
    (one,) = said("calibrate", "detector", "--acquire", *options, *exposures, "--record", "-c", config)
    assert one["metrics"]["gain_electrons_per_adu"]["value"] == pytest.approx(0.8, rel=0.02)
    assert one["metrics"]["read_noise_rms_electrons"]["value"] == pytest.approx(2.5, rel=0.02)
    wrong = [*options[:-2], "--dark", "Camera.Photon Flux=0"]
    error = run("calibrate", "detector", "--acquire", *wrong, *exposures, code=2).stderr
    assert "cannot be set" in error


def test_the_demo_microscope_needs_no_settings(tmp_path: Path) -> None:
    pytest.importorskip("mm_test_adapters")
    options = ["--acquire", "--frames", "4", "--exposure", "5", "--exposure", "20", "--exposure", "50"]
    (one,) = said("calibrate", "detector", *options, "--out", tmp_path / "run.ome.tiff")
    assert one["metrics"]["gain_electrons_per_adu"]["value"] == pytest.approx(1.0, rel=0.05)
    assert one["metrics"]["offset_adu"]["value"] == pytest.approx(99.5, abs=0.1), "fractions are cut off"


def test_a_power_meter_of_micro_manager_is_read(tmp_path: Path) -> None:
    pytest.importorskip("mm_test_adapters")
    from agent.calibration import guided
    from agent.calibration.power import power
    from agent.calibration.power_log import read_log

    core = guided.load_core(None)
    core.setProperty("Camera", "TestProperty1", "0.05")
    points = [(value, ("Camera", "TestProperty1", f"{value * 0.1:.3f}")) for value in np.linspace(0.1, 1, 10)]
    log = guided.acquire_power(
        core, ("Camera", "TestProperty1"), tmp_path / "p.csv", seconds=40, set_points=points, sleep=lambda _: None
    )
    found = power(read_log(log)).metrics
    assert found["short_term_power_stability_percent"].value == 100
    assert found["power_linearity_slope"].value == pytest.approx(100, rel=1e-3)
    assert core.getProperty("Camera", "TestProperty1") == "0.0500"


def test_a_guided_run_reads_the_power_meter(tmp_path: Path, config: Path) -> None:
    """An analogue output of the demo microscope stands for the meter: what is set is what it tells, in volts."""
    pytest.importorskip("mm_test_adapters")
    microscope = tmp_path / "meter.cfg"
    lines = [
        "Property,Core,Initialize,0", "Device,DHub,DemoCamera,DHub", "Device,Meter,DemoCamera,D-DA",
        "Parent,Meter,DHub", "Property,Core,Initialize,1", "Property,Meter,Voltage,4",
    ]  # fmt: skip
    microscope.write_text("\n".join(lines) + "\n")
    points = [part for n in range(1, 11) for part in ("--set-point", f"{n / 10}:Meter.Voltage={n / 2}")]
    options: list[object] = ["--mm-config", microscope, "--meter", "Meter.Real Voltage"]
    options += ["--milliwatts", "2", "--seconds", "0.4", "--step", "0.01"]
    out = tmp_path / "power.csv"
    (one,) = said("calibrate", "power", "--acquire", *options, *points, "--out", out, "--record", "-c", config)
    assert one["metrics"]["power_linearity_slope"]["value"] == pytest.approx(10, rel=1e-3)
    assert one["metrics"]["power_linearity_coefficient_of_determination"]["value"] == pytest.approx(1)
    assert one["metrics"]["short_term_power_stability_percent"]["value"] == 100
    assert (one["metrics"]["power_median_mw"]["value"], one["quality"]) == (8, "low")
    (listed,) = said("calibrations", "list", "-c", config)
    assert [file["name"] for file in listed["inputs"]] == ["power.csv"]
    assert len(out.read_text().splitlines()) == 1 + 40 + 10
    cases = [
        ((*options[:2], "--meter", "Meter.Watts"), "no power meter Meter.Watts"),
        (options[:2], "which power meter"),
        ((*options, "--set-point", "half:Meter.Voltage=1"), "is no set point"),
    ]
    for wrong, text in cases:
        error = run("calibrate", "power", "--acquire", "--out", tmp_path / "x.csv", *wrong, code=2).stderr
        assert text in error
