"""Runs of every kind, in this process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import useq

from agent.hook import attach, wiring
from agent.sources.events import FinishReason, Plan, RunFinished, RunStarted
from agent.sources.journal import JournalSource, read_run


@pytest.fixture
def core():
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    core.loadSystemConfiguration()
    core.setExposure(1)
    yield core
    core.unloadAllDevices()


@pytest.fixture
def told(core, tmp_path):
    """After the runs: their starts and their ends."""
    attach(core, tmp_path)

    def told():
        wiring._recorders[core.mda].journal.close()
        events = JournalSource(tmp_path).poll()
        return [[one for one in events if isinstance(one, kind)] for kind in (RunStarted, RunFinished)]

    return told


def test_a_canceled_run_says_so(core, told):
    core.mda.events.frameReady.connect(lambda *_: core.mda.cancel())
    core.mda.run(useq.MDASequence(time_plan={"interval": 0.01, "loops": 50}))
    (start,), (end,) = told()
    assert start.plan == Plan(50, (50,), ("t",))
    assert (end.reason, end.frames) == (FinishReason.CANCELED, 1)
    assert any(note.startswith("canceled by the user") for note in read_run(end.span).notes)


def test_events_of_a_generator_are_a_run_without_a_plan(core, told):
    core.mda.run(useq.MDAEvent(index={"t": t}, exposure=2) for t in range(3))
    (start,), (end,) = told()
    assert (start.plan, start.name) == (Plan(), "mda")
    frames = read_run(end.span).frames
    assert (frames.axes, frames.index, list(frames.exposure_ms)) == (("t",), [(0,), (1,), (2,)], [2.0] * 3)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "writer", ["ImageSequenceWriter", "OMETiffWriter", "OMEZarrWriter", "TensorStoreHandler", "TensorStoreHandler URL"]
)
def test_where_each_handler_of_pymmcore_plus_writes_is_told(core, told, tmp_path, writer):
    from pymmcore_plus.mda import handlers

    name, _, how = writer.partition(" ")
    if name == "OMEZarrWriter":
        pytest.importorskip("zarr", reason="the writer needs zarr")
    target = tmp_path / "out put" / ("a.ome.tiff" if "Tiff" in name else "a.zarr")
    target.parent.mkdir()
    make = getattr(handlers, name)
    if name == "TensorStoreHandler":
        handler = make(kvstore=f"{target.as_uri()}/") if how else make(path=target)
    else:
        handler = make(target)
    core.mda.run(useq.MDASequence(time_plan={"interval": 0.01, "loops": 2}), output=handler)
    (start,), (end,) = told()
    assert [Path(one) for one in start.outputs] == [target]
    assert (target.exists(), end.frames) == (True, 2)


def test_the_same_sequence_twice_is_two_runs(core, told):
    sequence = useq.MDASequence(channels=["DAPI"])
    core.mda.run(sequence)
    core.mda.run(sequence)
    starts, ends = told()
    assert len({one.origin for one in starts}) == 2
    assert [one.frames for one in ends] == [1, 1]


def test_ctrl_c_ends_the_run_as_canceled_and_reaches_the_user(core, told):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    core.mda.engine.teardown_event = interrupt
    with pytest.raises(KeyboardInterrupt):
        core.mda.run(useq.MDASequence(channels=["DAPI"]))
    _, (end,) = told()
    assert (end.reason, end.frames) == (FinishReason.CANCELED, 1)


def test_a_burst_is_heard_frame_by_frame_with_what_the_camera_says(core, told):
    core.mda.run(useq.MDASequence(time_plan={"interval": 0, "loops": 20}))
    _, (end,) = told()
    frames = read_run(end.span).frames
    assert [one["ImageNumber"] for one in frames.camera_metadata] == [str(number) for number in range(20)]
    assert frames.x_um[19] == pytest.approx(core.getXPosition())


def test_a_run_in_its_own_thread_and_live_mode_around_it(core, told):
    core.startContinuousSequenceAcquisition(1)
    core.stopSequenceAcquisition()
    core.snapImage()
    thread = core.run_mda(useq.MDASequence(channels=["DAPI", "FITC"]))
    assert isinstance(thread, threading.Thread)
    thread.join()
    starts, ends = told()
    assert len(starts) == len(ends) == 1
    assert ends[0].frames == 2


def test_attaching_twice_writes_once(core, told, tmp_path):
    attach(core, tmp_path)
    core.mda.run(useq.MDASequence(channels=["DAPI"]))
    _, (end,) = told()
    assert len(read_run(end.span).frames) == 1


@pytest.mark.parametrize("binding", ["PyQt6", "PySide6"])
def test_the_qt_event_backend_is_heard_without_waiting_for_the_gui(binding, tmp_path):
    if importlib.util.find_spec(binding) is None or importlib.util.find_spec("qtpy") is None:
        pytest.skip(f"{binding} with qtpy is not installed")
    code = f"""
import time, useq
from qtpy.QtWidgets import QApplication
app = QApplication([])
from pymmcore_plus import CMMCorePlus
from agent.hook import attach
core = CMMCorePlus(); core.loadSystemConfiguration()
assert type(core.mda.events).__name__ == "QMDASignaler"
attach(core, {str(tmp_path)!r})
core.run_mda(useq.MDASequence(channels=["DAPI", "FITC"], time_plan={{"interval": 0, "loops": 5}})).join()
"""
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "QT_API": binding.lower()}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (end,) = (one for one in JournalSource(tmp_path).poll() if isinstance(one, RunFinished))
    assert (end.reason, end.frames, end.lost) == (FinishReason.COMPLETED, 10, 0)
