"""From the hook to the next image: DemoCamera as quality control simulator, real journal, outbox and documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from lxml import etree

from agent.acquisition import Acquisition, FoundBy, SourceFile, State
from agent.acquisition.settings import SettleSettings
from agent.calibration import CalibrationSettings, Registry
from agent.clock import SystemClock
from agent.contract.topics import Topics
from agent.delivery.settings import DeliverySettings
from agent.document import Context
from agent.outbox import Outbox
from agent.pipeline import Pipeline
from agent.snapshot import load_profile
from agent.sources.context import ContextLog
from agent.sources.folder import FolderSource
from agent.sources.journal import JournalSource
from agent.sources.settings import WatchSettings
from agent.steps import workspace
from agent.steps.calibrate import kind_of
from agent.steps.candidates import Candidates
from agent.steps.dispatch import Dispatch
from agent.steps.journals import Journals
from agent.steps.listen import Listen
from agent.steps.overdue import Overdue
from agent.steps.settle import Settle
from agent.steps.station import Station
from agent.testing.target import MemoryTarget
from tests.conftest import ROOT
from tests.unit.calibration.acquire_demo import MOVES
from tests.unit.calibration.test_truth import truth

TOPICS = Topics("lab", "scope")
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


class Agent:
    """The pipeline without threads; sources, clock, outbox and registry are the real ones."""

    def __init__(self, folder: Path, policy: CalibrationSettings | None = None) -> None:
        self.folder, self.spool, self.images = folder, folder / "spool", folder / "images"
        for made in (self.spool, self.images):
            made.mkdir(exist_ok=True)
        self.outbox = Outbox.open(folder / "outbox.sqlite")
        self.registry = Registry.open(folder)
        profile = load_profile(ROOT / "agent/snapshot/demo_instrument.toml")
        clock = SystemClock()
        self.station = Station(
            TOPICS, Context("lab", "scope", "0", "0" * 64), profile, self.outbox, folder / "work",
            SettleSettings(quiet_s=0.1, patience_s=5), clock, lambda: None,
            policy or CalibrationSettings(), self.registry, ContextLog(folder / "context"),
        )  # fmt: skip
        watch = WatchSettings(path=self.images, quiet_s=0.1, patience_s=5, poll_s=1, mode="poll")
        sources = [JournalSource(self.spool), FolderSource(watch, lambda _: None, clock)]
        candidates = Candidates(self.station, {str(self.images): watch}, {})
        listen = Listen(self.station, sources, candidates, dict)
        candidates.running = listen.running
        dispatch = Dispatch(self.station, MemoryTarget(), DeliverySettings(url="http://x"), lambda: False)
        self.overdue = Overdue(self.station)
        journals = Journals(self.station, self.spool, 1 << 30)
        self.pipeline = Pipeline(
            self.station, listen, candidates, Settle(self.station), journals, dispatch, self.overdue
        )
        for source in sources:
            source.start()
        self.sources = sources

    def acquire(self, what: str) -> None:
        script = Path(__file__).parent / "acquire_demo.py"
        done = subprocess.run(
            [sys.executable, str(script), str(self.spool), str(self.images), what],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def until_queued(self, count: int, seconds: float = 15) -> None:
        clock = self.station.clock
        end = clock.monotonic() + seconds
        pause = threading.Event()
        while clock.monotonic() < end:
            self.pipeline.hear()
            pause.wait(0.05)
            while self.pipeline.work():
                pass
            states = self.outbox.counts()
            assert State.REJECTED not in states, [e.error for e in self.outbox.newest()]
            if states.get(State.QUEUED, 0) >= count:
                return
        raise AssertionError(f"not queued: {states}, {[e.error for e in self.outbox.newest()]}")

    def retained(self) -> dict[str, dict | None]:
        return {event.topic.removeprefix(TOPICS.root + "/"): event.data for event in self.outbox.retained()}

    def documents(self, name: str) -> Path:
        run = next(e.acquisition for e in self.outbox.newest() if e.acquisition.name.startswith(name))
        return self.folder / "work" / run.id


@pytest.fixture(scope="module")
def microscope(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """A guided detector run, a known stage move, then an ordinary acquisition."""
    pytest.importorskip("mm_test_adapters")
    agent = Agent(tmp_path_factory.mktemp("microscope"))
    agent.acquire("guided")
    agent.until_queued(1)
    agent.acquire("moves")
    agent.until_queued(2)
    agent.acquire("images")
    agent.until_queued(3)
    return agent


@pytest.mark.slow
def test_the_hooked_run_is_in_the_registry(microscope: Agent) -> None:
    entry = next(entry for entry in microscope.registry.entries() if entry.kind == "detector")
    assert entry.metrics["gain_electrons_per_adu"].value == pytest.approx(0.8, rel=0.02)
    assert entry.metrics["read_noise_rms_electrons"].value == pytest.approx(2.5, rel=0.02)
    assert entry.metrics["linearity_error_percent"].value < 0.1
    assert entry.holds_for.camera == "Camera"
    assert entry.holds_for.objective is None
    assert entry.inputs[0].name == "detector.ome.tiff"
    assert len(entry.inputs[0].sha256) == 64


@pytest.mark.slow
def test_the_known_stage_move_is_recovered(microscope: Agent) -> None:
    entry = next(entry for entry in microscope.registry.entries() if entry.kind == "pixel-size")
    assert entry.metrics["pixel_size_micron"].value == pytest.approx(1.0, abs=0.001)
    # The largest move is 15 um: so many pixels off would be
    off = abs(entry.metrics["pixel_size_micron"].value - 1) * max(np.hypot(*move) for move in MOVES)
    assert off < 0.05
    assert entry.fit["residual_px"] < 0.05
    assert entry.holds_for.objective == "Nikon 10X S Fluor"


@pytest.mark.slow
def test_the_next_image_carries_it_everywhere(microscope: Agent) -> None:
    folder = microscope.documents("cells")
    record, crate = workspace.drafts(folder)
    gain = record.calibration.metrics["gain_electrons_per_adu"]
    assert gain.value == pytest.approx(0.8, rel=0.02)
    assert (gain.unit, gain.kind, gain.quality) == ("e-/ADU", "detector", "good")
    assert 0 <= gain.age_days < 0.1
    assert record.calibration.metrics["psf"].value is None
    assert record.calibration.pixel_size["MeasuredPixelSizeX"].source == "measured"
    assert record.calibration.pixel_size["MeasuredMethod"].value == "stage move"
    document = etree.parse(folder / "metadata.companion.ome").getroot()
    notes = {note.get("Namespace"): note for note in document.iter(f"{OME}MapAnnotation")}
    said = {m.get("K"): m.text for m in notes["urn:scope-agent:v1:qc"].iter(f"{OME}M")}
    assert float(said["gain_electrons_per_adu [e-/ADU]"].split(";")[0]) == pytest.approx(0.8, rel=0.02)
    assert float(said["read_noise_rms_electrons [e-]"].split(";")[0]) == pytest.approx(2.5, rel=0.02)
    assert said["psf"] == "none"
    image = document.find(f"{OME}Image")
    number = notes["urn:scope-agent:v1:qc"].get("ID")
    assert number in {ref.get("ID") for ref in image.iter(f"{OME}AnnotationRef")}
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    actions = [e for e in entities.values() if str(e.get("name", "")).startswith("Quality control")]
    assert {action["name"] for action in actions} == {"Quality control: detector", "Quality control: pixel-size"}
    mentioned = {ref["@id"] for ref in entities["./"]["mentions"]}
    assert {action["@id"] for action in actions} < mentioned
    values = [entities[ref["@id"]] for ref in actions[0]["result"]]
    assert {"name", "value", "description"} <= set(values[0])


@pytest.mark.slow
def test_the_companion_stays_valid(microscope: Agent) -> None:
    standards = Path(os.environ.get("SCOPE_AGENT_STANDARDS", ROOT.parent / "shared/standards"))
    xsd = standards / "ome/ome-2016-06.offline.xsd"
    if not xsd.exists():
        pytest.skip(f"no OME schema at {xsd}: set SCOPE_AGENT_STANDARDS")
    schema = etree.XMLSchema(etree.parse(xsd))
    assert schema.validate(etree.parse(microscope.documents("cells") / "metadata.companion.ome")), schema.error_log


@pytest.mark.slow
def test_before_the_first_result_none_is_said(microscope: Agent) -> None:
    folder = microscope.documents("detector")
    record, crate = workspace.drafts(folder)
    assert record.calibration.metrics == {}
    assert b'K="QualityControl">none<' in (folder / "metadata.companion.ome").read_bytes()
    assert next(e for e in crate["@graph"] if e["@id"] == "./")["mentions"] == {"@id": "#acquisition"}


@pytest.mark.slow
def test_the_result_is_announced(microscope: Agent) -> None:
    data = microscope.retained()["calibration/detector"]
    assert data["status"] == "pass"
    assert data["results"][0]["metrics"]["gain_electrons_per_adu"]["value"] == pytest.approx(0.8, rel=0.02)
    assert data["next_due"] > data["results"][0]["measured_at"]
    assert len(json.dumps(data)) < 60_000


# Watched folders, limits and dates


def beads(path: Path, blur: float = 1.2) -> None:
    rng = np.random.default_rng(5)
    shape = (15, 200, 200)
    places = truth.places_of(rng, shape, 36)
    stack = truth.bead_stack(rng, shape, places, (1.8, blur, blur), np.full(len(places), 2000.0), 20)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(
        path, stack, ome=True, photometric="minisblack",
        metadata={"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.2},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["qc/psf/monday.ome.tif", "QC_psf_monday.ome.tif", "cal-psf.ome.tif"])
def test_a_file_is_analysed_by_its_folder_or_name(tmp_path: Path, name: str) -> None:
    agent = Agent(tmp_path)
    beads(agent.images / name)
    agent.until_queued(1)
    (entry,) = agent.registry.entries()
    assert entry.kind == "psf"
    assert entry.metrics["fwhm_micron_x_median"].value == pytest.approx(2.3548 * 0.12, rel=0.01)
    assert entry.acquisition == agent.outbox.newest()[0].acquisition.id


def test_a_file_is_analysed_by_the_session_that_it_was_taken_in(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    now = agent.station.clock.now_ns()
    agent.station.around.note_session(now - 20, {"user": "ada"}, 0.9)
    marks = {"calibration": "psf", "calibration_bead_um": "0.2"}
    agent.station.around.note_session(now - 10, {}, 0.9, marks=marks)
    beads(agent.images / "monday.ome.tif")
    agent.until_queued(1)
    (entry,) = agent.registry.entries()
    assert (entry.kind, entry.recorded_by) == ("psf", "ada")
    seen = np.sqrt((2.3548 * 0.12) ** 2 - 2.3548**2 * 0.2**2 / 20)
    assert entry.metrics["fwhm_micron_x_median"].value == pytest.approx(seen, rel=0.01)
    agent.station.around.note_session(agent.station.clock.now_ns(), {}, 0.9)
    beads(agent.images / "tuesday.ome.tif")
    agent.until_queued(2)
    assert len(agent.registry.entries()) == 1


@pytest.mark.parametrize(
    ("marks", "kind", "alert"),
    [
        ({"calibration": "Pixel size"}, "pixel-size", False),
        ({"summary.calibration.kind": "beads", "summary.calibration.bead_um": "0.1"}, "psf", False),
        ({"calibration": "false"}, None, False),
        ({"calibration": "tea"}, None, True),
    ],
)
def test_a_run_says_by_its_metadata_what_it_is(
    tmp_path: Path, marks: dict[str, str], kind: str | None, alert: bool
) -> None:
    agent = Agent(tmp_path)
    agent.station.around.note_session(agent.station.clock.now_ns(), {}, 0.9, marks={"calibration": "field"})
    files = (SourceFile("/data/x.tif", "x.tif", 1, 1, "1"),)
    run = Acquisition("1", "watch:/data/x.tif", FoundBy.HOOK, "x", State.DOCUMENTED, 1, files=files, marks=marks)
    assert kind_of(agent.station, run) == kind
    assert bool(agent.retained().get("alert/calibration-mark")) is alert


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    beads(agent.images / "psf" / "cells.ome.tif")
    agent.until_queued(1)
    assert agent.registry.entries() == []


def test_what_cannot_be_analysed_is_delivered_and_said(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    (agent.images / "qc/psf").mkdir(parents=True)
    tifffile.imwrite(agent.images / "qc/psf/blank.ome.tif", np.full((5, 64, 64), 7, np.uint16), ome=True)
    agent.until_queued(1)
    assert agent.registry.entries() == []
    assert "pixel size is not known" in agent.retained()["alert/calibration-psf-rejected"]["text"]
    beads(agent.images / "qc/psf/good.ome.tif")
    agent.until_queued(2)
    assert agent.retained()["alert/calibration-psf-rejected"] is None


def test_without_what_the_analysis_needs_it_is_delivered_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    agent = Agent(tmp_path)
    beads(agent.images / "qc_psf.ome.tif")
    agent.until_queued(1)
    assert "pip install 'scope-agent[qc]'" in agent.retained()["alert/calibration-psf-rejected"]["text"]


def test_a_crossed_limit_raises_an_alert_until_it_is_met(tmp_path: Path) -> None:
    policy = CalibrationSettings.model_validate({"limits": {"hot_pixels_ppm": 1}})
    agent = Agent(tmp_path, policy)
    rng = np.random.default_rng(2)
    offset = np.full((96, 96), 100.0)
    for name, hot in (("a", 20), ("b", 0)):
        offset[:] = 100
        offset.flat[:hot] = 400
        levels = [
            np.stack([truth.camera(rng, np.full((96, 96), e), 0.5, offset, 2.0) for _ in range(20)])
            for e in (0.0, 200, 1000, 5000)
        ]
        path = agent.images / "qc/detector" / f"{name}.ome.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        names = ["Dark", "Flat 1", "Flat 2", "Flat 3"]
        tifffile.imwrite(
            path, np.stack(levels, axis=1), ome=True, metadata={"axes": "TCYX", "Channel": {"Name": names}}
        )
        agent.until_queued(1 + (name == "b"))
        alert = agent.retained().get("alert/calibration-detector-limit")
        if name == "a":
            assert "hot_pixels_ppm is 2170 ppm, must be at most 1" in alert["text"]
            assert agent.retained()["calibration/detector"]["status"] == "fail"
    assert alert is None
    assert agent.retained()["calibration/detector"]["status"] == "pass"


def test_overdue_is_a_retained_alert_that_is_cleared_when_done(tmp_path: Path) -> None:
    agent = Agent(tmp_path, CalibrationSettings(require=("psf",)))
    agent.overdue.step()
    assert agent.retained()["alert/calibration-psf-overdue"]["text"] == "psf: never measured"
    count = len(agent.outbox.unpublished(0, 1000))
    agent.overdue._at = float("-inf")
    agent.overdue.step()
    assert len(agent.outbox.unpublished(0, 1000)) == count, "said once"
    beads(agent.images / "qc/psf/good.ome.tif")
    agent.until_queued(1)
    agent.overdue._at = float("-inf")
    agent.overdue.step()
    assert agent.retained()["alert/calibration-psf-overdue"] is None
    other = Agent(tmp_path, CalibrationSettings.model_validate({"days": {"psf": 1}}))
    old = agent.registry.entries()[0]
    aged = {"id": "old", "measured_at": "2020-01-01T00:00:00.000000Z", "due_at": "2020-02-01T00:00:00.000000Z"}
    other.registry.add(old.model_copy(update={**aged, "corrects": old.id}))
    other.overdue.step()
    assert "was due 2020-02-01" in other.retained()["alert/calibration-psf-overdue"]["text"]


def test_a_repeated_step_records_and_announces_once(tmp_path: Path) -> None:
    from agent.steps.calibrate import calibrate

    agent = Agent(tmp_path)
    beads(agent.images / "qc/psf/a.ome.tif")
    agent.until_queued(1)
    run = agent.outbox.newest()[0].acquisition
    count = len(agent.outbox.unpublished(0, 1000))
    calibrate(agent.station, run)
    assert len(agent.registry.entries()) == 1
    assert len(agent.outbox.unpublished(0, 1000)) == count
