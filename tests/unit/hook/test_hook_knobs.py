"""NotificationTester: knobs that are turned by hand, with a device that says so and with one that does not."""

from __future__ import annotations

import time

import pytest
import useq

from agent.hook import attach, wiring
from agent.sources.events import RunFinished
from agent.sources.journal import JournalSource, read_run

KNOB, CAMERA, STAGE = "Knob", "Camera", "Stage"


@pytest.fixture
def core():
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    core.loadDevice(KNOB, "NotificationTester", "NTAsyncProperty")
    core.loadDevice(STAGE, "NotificationTester", "NTAsyncStage")
    core.loadDevice(CAMERA, "DemoCamera", "DCam")
    for name in (KNOB, STAGE, CAMERA):
        core.initializeDevice(name)
    core.setProperty(KNOB, "SlewTimePerUnit_s", 0.001)
    core.setCameraDevice(CAMERA)
    core.setFocusDevice(STAGE)
    core.setAutoShutter(False)
    core.setExposure(1)
    core.mda.engine.use_hardware_sequencing = False
    yield core
    core.unloadAllDevices()


def _run(core, spool, turn):
    """A run of six frames; before the fourth one `turn` is done. The state of the knob at each frame."""
    attach(core, spool)
    seen = []

    def note(*_: object) -> None:
        seen.append(core.getProperty(KNOB, "TestProperty"))
        if len(seen) == 3:
            turn()
            time.sleep(0.2)  # the core's own thread brings the notification

    core.mda.events.frameReady.connect(note)
    core.mda.run(useq.MDASequence(time_plan={"interval": 0, "loops": 6}))
    wiring._recorders[core.mda].journal.close()
    (end,) = (one for one in JournalSource(spool).poll() if isinstance(one, RunFinished))
    capture = read_run(end.span)
    devices = {one["label"]: one["properties"] for one in capture.summary["devices"]}
    start = {(KNOB, one["name"]): str(one["value"]) for one in devices[KNOB]}
    states = [start | capture.frames.states[number] for number in capture.frames.state]
    return seen, [state[KNOB, "TestProperty"] for state in states], capture


def test_a_knob_that_tells_is_heard_at_the_frame(core, tmp_path):
    core.setProperty(KNOB, "NotificationsEnabled", "Yes")
    _, told, capture = _run(core, tmp_path, lambda: core.setProperty(KNOB, "ExternallySet", 7))
    assert [float(value) for value in told] == [0, 0, 0, 7, 7, 7]
    assert [(one.device, float(one.value)) for one in capture.changes if one.property == "TestProperty"] == [(KNOB, 7)]
    assert float(capture.end_state[KNOB, "TestProperty"]) == 7


def test_a_knob_that_does_not_tell_is_seen_in_the_end_state_read_live(core, tmp_path):
    core.setProperty(KNOB, "NotificationsEnabled", "No")
    true, told, capture = _run(core, tmp_path, lambda: core.setProperty(KNOB, "ExternallySet", 7))
    # Nobody can know it at the frame without asking the hardware in the run, which the hook never does.
    assert [float(value) for value in told] == [0] * 6
    assert float(true[-1]) == float(capture.end_state[KNOB, "TestProperty"]) == 7
    assert not [one for one in capture.changes if one.property == "TestProperty"]


def test_a_knob_turned_before_the_run_is_read_live_at_its_start(core, tmp_path):
    core.setProperty(KNOB, "NotificationsEnabled", "No")
    core.setProperty(KNOB, "ExternallySet", 5)
    core.waitForDevice(KNOB)
    _, told, _ = _run(core, tmp_path, lambda: None)
    assert [float(value) for value in told] == [5] * 6
