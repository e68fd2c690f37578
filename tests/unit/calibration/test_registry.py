"""The registry: appended, synced, never rewritten; what holds for an image, and what is due."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from agent.calibration import (
    CalibrationSettings,
    Entry,
    Holds,
    Input,
    Registry,
    Setup,
    entry_of,
    state_at,
    state_for,
)
from agent.calibration.result import KINDS, Analysis, Measurement
from agent.calibration.trend import trends
from agent.errors import Rejected
from tests.conftest import ROOT

DAY = 86_400 * 1_000_000_000
NOW = 1_750_000_000 * 1_000_000_000
POLICY = CalibrationSettings()


def analysis(kind: str = "psf", **values: float) -> Analysis:
    metrics = {
        name: Measurement(value=value, unit=None, low=value - 1, high=value + 1) for name, value in values.items()
    }
    return Analysis(kind=kind, metrics=metrics or {"fwhm_ratio_xy": Measurement(value=1.2, unit=None)}, quality="good")


def entry(found: Analysis | None = None, at: int = NOW, policy=POLICY, **how) -> Entry:
    held = how.pop("holds_for", Holds(objective="60x", channels=("DAPI",)))
    return entry_of(
        found or analysis(), policy, instrument="scope", by="Ada", software="test", holds_for=held, measured_ns=at,
        now_ns=at, **how,
    )  # fmt: skip


def test_what_was_added_is_there_after_a_restart(tmp_path: Path) -> None:
    added = [Registry.open(tmp_path).add(entry(at=NOW + n * DAY)) for n in range(3)]
    assert Registry.open(tmp_path).entries() == added
    assert len((tmp_path / "calibrations.jsonl").read_text().splitlines()) == 3


def test_every_kind_of_value_survives_the_file(tmp_path: Path) -> None:
    """Units that are none, no interval, no limit: nothing is lost or refused on reading."""
    found = Analysis(kind="psf", metrics={"count": Measurement(value=3, unit=None)}, quality="low", reasons=("few",))
    kept = Registry.open(tmp_path).add(entry(found, inputs=(Input(name="a.tif", size=1, sha256="0" * 64),)))
    assert Registry.open(tmp_path).get(kept.id) == kept


def test_another_process_is_seen_and_waited_for(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    script = (
        "import sys; from pathlib import Path; from agent.calibration import Registry;"
        "from tests.unit.calibration.test_registry import entry, NOW;"
        "r = Registry.open(Path(sys.argv[1])); [r.add(entry(at=NOW + n)) for n in range(20)]"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    others = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    for number in range(20):
        registry.add(entry(at=NOW + number))
    assert [other.wait(60) for other in others] == [0, 0]
    assert len(registry.entries()) == 60
    assert len(Registry.open(tmp_path).entries()) == 60


def test_a_torn_line_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Registry.open(tmp_path).add(entry())
    path = tmp_path / "calibrations.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "torn')
    registry = Registry.open(tmp_path)
    assert registry.entries() == [first]
    second = registry.add(entry(at=NOW + DAY))
    with caplog.at_level(logging.WARNING):
        assert Registry.open(tmp_path).entries() == [first, second]
    assert "damaged line" in caplog.text


def test_a_correction_replaces_and_history_stays(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    wrong = registry.add(entry(analysis(fwhm_ratio_xy=1.9)))
    before = (tmp_path / "calibrations.jsonl").read_bytes()
    right = registry.add(entry(analysis(fwhm_ratio_xy=1.1), corrects=wrong.id, comment="wrong NA"))
    assert registry.in_force() == [right]
    assert (tmp_path / "calibrations.jsonl").read_bytes().startswith(before)
    assert registry.entries() == [wrong, right]
    taken_back = right.model_copy(update={"id": "x", "metrics": {}, "corrects": right.id})
    registry.add(taken_back)
    assert registry.in_force() == []
    with pytest.raises(Rejected, match="no calibration nobody"):
        registry.add(entry(corrects="nobody"))


def test_the_same_data_are_recorded_once(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    inputs = (Input(name="beads.tif", size=9, sha256="a" * 64),)
    first = registry.add(entry(inputs=inputs))
    assert registry.add(entry(at=NOW + 5, inputs=inputs)) == first
    assert registry.add(entry(inputs=inputs, holds_for=Holds(objective="60x", channels=("FITC",)))) != first


def test_other_parameters_and_a_second_try_are_recorded(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    inputs = (Input(name="beads.tif", size=9, sha256="a" * 64),)
    first = registry.add(entry(inputs=inputs))
    name, value = next(iter(first.metrics.items()))
    more = {name: value.model_copy(update={"value": value.value * 1.1})}
    second = registry.add(entry(at=NOW + 5, inputs=inputs).model_copy(update={"metrics": more}))
    assert registry.in_force() == [second]
    registry.add(entry(at=NOW + 6).model_copy(update={"metrics": {}, "corrects": second.id}))
    again = registry.add(entry(at=NOW + 7, inputs=inputs).model_copy(update={"metrics": more}))
    assert again.id != second.id, "taken back before, measured again"
    assert registry.in_force() == [again]


def test_exported_is_imported_once(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path / "a.jsonl")
    registry.add_all([entry(at=NOW + n * DAY) for n in range(3)])
    document = json.loads(json.dumps(registry.export()))
    other = Registry.open(tmp_path / "b.jsonl")
    assert (other.load(document), other.load(document)) == (3, 0)
    assert other.entries() == registry.entries()
    with pytest.raises(Rejected, match="no export"):
        other.load({"entries": [{"id": 1}]})


def test_limits_come_with_their_source() -> None:
    found = entry(analysis(fwhm_ratio_xy=1.6, fwhm_micron_x_mean=0.3))
    assert found.metrics["fwhm_ratio_xy"].status == "fail"
    assert "MetroloJ_QC" in found.metrics["fwhm_ratio_xy"].limit.source
    assert found.failed == ["fwhm_ratio_xy is 1.6, must be at most 1.5"]
    assert found.metrics["fwhm_micron_x_mean"].status == "none"
    strict = CalibrationSettings.model_validate({"limits": {"fwhm_ratio_xy": 1.1}})
    judged = entry(analysis(fwhm_ratio_xy=1.2), policy=strict).metrics["fwhm_ratio_xy"]
    assert (judged.status, judged.limit.source) == ("fail", "facility policy")
    even = entry(analysis("field", uniformity_percent=60)).metrics["uniformity_percent"]
    assert (even.status, even.limit.sense) == ("pass", "at least")


def test_due_follows_tier_and_policy(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    registry.add(entry())
    quarterly = entry()
    assert quarterly.due_source == "NBO-Q v02-01, Sup. Table I, tier 1"
    late = registry.due(NOW + 100 * DAY, POLICY)
    assert [one.days for one in late] == [9.0]
    assert registry.due(NOW + 10 * DAY, POLICY)[0].days < 0
    monthly = CalibrationSettings(tier=2)
    assert monthly.days_of("psf")[0] == 30
    own = CalibrationSettings.model_validate({"days": {"psf": 7}, "require": ["field"]})
    assert own.days_of("psf") == (7, "facility policy")
    assert next(one.what for one in registry.due(NOW, own)) == "field: never measured"
    registry.add(entry(at=NOW + 99 * DAY))
    assert registry.due(NOW + 100 * DAY, POLICY)[0].days < 0


def test_only_what_holds_for_the_image_is_attached(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    registry.add(entry(analysis(fwhm_ratio_xy=1.2), holds_for=Holds(objective="60x", channels=("DAPI",))))
    registry.add(entry(analysis(fwhm_ratio_xy=1.3), holds_for=Holds(objective="10x", channels=("DAPI",))))
    registry.add(
        entry(analysis("detector", gain_electrons_per_adu=0.5), holds_for=Holds(camera="Cam", mode={"Gain": "1"}))
    )
    registry.add(
        entry(analysis("detector", gain_electrons_per_adu=0.1), holds_for=Holds(camera="Cam", mode={"Gain": "2"}))
    )
    at = NOW + 2 * DAY
    state = state_for(registry, ["60x", "Plan 60x"], ["Cam"], ["DAPI", "FITC"], at, {"Gain": "2"})
    assert state.metrics["fwhm_ratio_xy (DAPI)"].value == 1.2
    assert state.metrics["gain_electrons_per_adu"].value == 0.1
    assert state.metrics["fwhm_ratio_xy (DAPI)"].age_days == 2.0
    assert state.metrics["fwhm_ratio_xy (DAPI)"].status == "pass"
    assert state.metrics["field"].value is None
    late = state_for(registry, ["60x"], [], ["DAPI"], NOW + 100 * DAY)
    assert late.metrics["fwhm_ratio_xy (DAPI)"].status == "overdue"
    assert "gain_electrons_per_adu" not in late.metrics
    assert state_for(registry, ["20x"], [], ["DAPI"], at).metrics == {}
    assert state_for(registry, ["60x"], ["Cam"], ["DAPI"], NOW - DAY).metrics == {}


def test_the_latest_counts_by_the_time_it_was_measured(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    registry.add(entry(analysis(fwhm_ratio_xy=1.3), at=NOW + DAY))
    registry.add(entry(analysis(fwhm_ratio_xy=1.1), at=NOW))
    setup = Setup(objective=("60x",), channels=("DAPI",))
    assert state_at(registry.in_force(), setup, NOW + 2 * DAY).metrics["fwhm_ratio_xy (DAPI)"].value == 1.3
    assert state_at(registry.in_force(NOW), setup, NOW).metrics["fwhm_ratio_xy (DAPI)"].value == 1.1


def test_the_pixel_size_comes_with_method_and_date() -> None:
    found = analysis("pixel-size", pixel_size_x_micron=0.65, pixel_size_y_micron=0.66).model_copy(
        update={"series": "stage micrometer"}
    )
    held = Holds(objective="10x", camera="Cam", mode={"Binning": "1x1"})
    setup = Setup(objective=("10x",), camera=("Cam",), mode=(("Binning", "1x1"),))
    said = state_at([entry(found, holds_for=held)], setup, NOW + DAY).pixel_size
    assert said["MeasuredPixelSizeX"].value == 0.65
    assert said["MeasuredMethod"].value == "stage micrometer"
    assert said["MeasuredPixelSizeX"].taken_at.startswith("2025-06-15")
    binned = Setup(objective=("10x",), camera=("Cam",), mode=(("Binning", "2x2"),))
    assert state_at([entry(found, holds_for=held)], binned, NOW + DAY).pixel_size == {}


def test_trends_and_their_figure(tmp_path: Path) -> None:
    from agent.calibration.figures import draw_trends

    entries = [entry(analysis(fwhm_ratio_xy=1.1 + n / 10, other=n), at=NOW + n * DAY) for n in range(3)]
    found = trends(entries)
    assert [[point.value for point in one.points] for one in found] == [pytest.approx([1.1, 1.2, 1.3])]
    assert (found[0].limit, found[0].sense) == (1.5, "at most")
    assert [one.metric for one in trends(entries, metric="other")] == ["other"]
    assert {one.metric for one in trends(entries, every_metric=True)} == {"fwhm_ratio_xy", "other"}
    assert draw_trends(found, tmp_path / "trend.png").stat().st_size > 5000


def test_kinds_are_understood_in_any_spelling() -> None:
    for said, kind in (("PSF", "psf"), ("beads", "psf"), ("Pixel size", "pixel-size"), ("flatfield", "field")):
        assert POLICY.kind_named(said) == kind
    assert POLICY.kind_named("true") is None
    assert all(POLICY.kind_named(kind) == kind for kind in KINDS)


def test_the_idle_agent_loads_neither_scipy_nor_matplotlib() -> None:
    code = "import sys, agent.calibration, agent.steps.calibrate;"
    script = code + "print([name for name in ('scipy', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
