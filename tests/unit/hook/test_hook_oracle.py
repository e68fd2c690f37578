"""SequenceTester draws the true hardware state into each image: the journal must say the same."""

from __future__ import annotations

import pytest
import useq

from agent.hook import attach, wiring
from agent.sources.events import FinishReason, RunFinished
from agent.sources.journal import JournalSource, read_run
from tests.sequence_tester import CAMERA, STAGE, SWITCHER, loaded, truth


@pytest.fixture
def core():
    from pymmcore_plus import CMMCorePlus

    core = loaded(CMMCorePlus())
    yield core
    core.unloadAllDevices()


@pytest.mark.parametrize("triggered", [False, True], ids=["software", "hardware-sequenced"])
def test_the_journal_says_what_the_pixels_say(core, tmp_path, triggered):
    core.mda.engine.use_hardware_sequencing = triggered
    attach(core, tmp_path)
    told = []
    core.mda.events.frameReady.connect(lambda image, *_: told.append(truth(image)))
    core.mda.run(
        useq.MDASequence(
            axis_order="tzc",
            channels=["red", "blue"],
            z_plan={"range": 4, "step": 1},
            time_plan={"interval": 0, "loops": 2},
            stage_positions=[{"z": 10}],
        )
    )
    journal = wiring._recorders[core.mda].journal
    journal.close()
    (end,) = (one for one in JournalSource(tmp_path).poll() if isinstance(one, RunFinished))
    assert (end.reason, end.frames, end.lost) == (FinishReason.COMPLETED, 20, 0)
    capture = read_run(end.span)
    frames = capture.frames
    devices = {device["label"]: device["properties"] for device in capture.summary["devices"]}
    start = {(SWITCHER, one["name"]): one["value"] for one in devices[SWITCHER]}
    for number, true in enumerate(told):
        state = start | frames.states[frames.state[number]]
        assert int(state[SWITCHER, "State"]) == true[SWITCHER, "Position"]
        assert frames.z_um[number] == pytest.approx(true[STAGE, "ZPositionUm"], abs=0.01)
        assert frames.exposure_ms[number] == true[CAMERA, "Exposure"]
    assert len({true[SWITCHER, "Position"] for true in told}) == 2
    assert bool(frames.camera_metadata[0]) is triggered


def test_no_hardware_is_asked_between_the_first_and_the_last_frame(core, tmp_path):
    """Nothing but the state cache, once a preset, is asked of the core while frames come."""
    core.mda.engine.use_hardware_sequencing = False
    attach(core, tmp_path)
    recorder = wiring._recorders[core.mda]
    asked: list[str] = []

    class Watched:
        """Stands for the core in the hook's callbacks and notes what they ask of it."""

        def __init__(self, core):
            self.core = core

        def __getattr__(self, name):
            asked.append(name)
            return getattr(self.core, name)

    watched = Watched(core)
    recorder._ref = lambda: watched
    marks = []
    core.mda.events.sequenceStarted.connect(lambda *_: marks.append(len(asked)), priority=-1)
    core.mda.events.frameReady.connect(lambda *_: marks.append(len(asked)), priority=-1)
    core.mda.run(useq.MDASequence(channels=["red", "blue"], time_plan={"interval": 0, "loops": 3}))
    assert "getProperty" in asked[marks[-1] :]
    assert set(asked[marks[0] : marks[-1]]) == {"getConfigGroupStateFromCache"}
    recorder.journal.close()
