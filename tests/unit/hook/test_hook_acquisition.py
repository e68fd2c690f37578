"""A real acquisition in a process of its own, heard through the installed hook."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from agent.hook.install import install, uninstall
from agent.sources.events import FinishReason, Plan, RunFinished, RunProgress, RunStarted
from agent.sources.journal import JournalSource, read_run

SCRIPT = Path(__file__).parent / "lab_script.py"
CORNERS = {"OME-TIFF": "x.ome.tiff", "OME-Zarr": "x.ome.zarr"}


@pytest.fixture
def lab(lab_python, tmp_path):
    """An environment with the hook and the folder of its journals."""
    installed = install(lab_python, tmp_path / "spool")
    yield lab_python, installed.spool
    uninstall(lab_python)


def _start(python: Path, folder: Path, output: str, loops: int) -> subprocess.Popen[str]:
    command = [python, SCRIPT, folder / output, folder / "truth.json", str(loops)]
    environment = os.environ | {"PYMM_LOG_LEVEL": "ERROR", "PYTHONPATH": ""}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("output", CORNERS.values(), ids=CORNERS.keys())
def test_every_frame_is_told_as_it_was(lab, tmp_path, output):
    python, spool = lab
    process = _start(python, tmp_path, output, loops=2)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "scope-agent" not in errors

    source = JournalSource(spool)
    events = source.poll()
    started, finished = (next(one for one in events if isinstance(one, kind)) for kind in (RunStarted, RunFinished))
    assert started.plan == Plan(24, (2, 2, 2, 3), ("t", "p", "c", "z"))
    assert (started.name, started.marks) == ("x", {"user": "ada", "sample.slide": "7"})
    assert started.software["pymmcore-plus"]
    assert len(started.software["configuration-sha256"]) == 64
    assert all(Path(one).exists() for one in started.outputs)
    assert (finished.reason, finished.frames, finished.lost) == (FinishReason.COMPLETED, 24, 0)

    capture = read_run(finished.span)
    frames, truth = capture.frames, json.loads((tmp_path / "truth.json").read_text())
    assert len(frames) == len(truth) == 24
    start = {
        (device["label"], one["name"]): one["value"]
        for device in capture.summary["devices"]
        for one in device["properties"]
    }
    for number, seen in enumerate(truth):
        state = start | frames.states[frames.state[number]]
        assert dict(zip(frames.axes, frames.index[number], strict=True)) == seen["index"]
        assert frames.channel[number] == seen["channel"]
        assert frames.exposure_ms[number] == seen["exposure"]
        assert frames.position[number] == seen["position"]
        assert frames.x_um[number] == pytest.approx(seen["x"], abs=0.02)
        assert frames.z_um[number] == pytest.approx(seen["z"], abs=0.02)
        assert state["Emission", "Label"] == seen["emission"]
        assert state["Camera", "Gain"] == seen["gain"]
    assert [one.value for one in capture.changes if one.property == "Gain"] == ["3"]
    assert list(frames.at_ns) == sorted(frames.at_ns)
    assert (frames.shape, frames.dtype) == ((64, 64), "uint16")
    assert capture.end_state["Camera", "Gain"] == "3"
    assert capture.reason is FinishReason.COMPLETED
    assert (capture.lost, capture.notes) == (0, [])


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_killed_acquisition_is_aborted_within_seconds_and_its_frames_are_contiguous(lab, tmp_path):
    python, spool = lab
    source = JournalSource(spool)
    process = _start(python, tmp_path, "x.ome.tiff", loops=2000)
    told, deadline = [], time.monotonic() + 60
    while not any(isinstance(one, RunProgress) and one.frames > 10 for one in told):
        assert time.monotonic() < deadline
        assert process.poll() is None
        told += source.poll()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = time.monotonic()
    while not isinstance(told[-1], RunFinished):
        assert time.monotonic() - killed < 5
        told += source.poll()
        time.sleep(0.05)
    end = told[-1]
    assert end.reason is FinishReason.ABORTED
    assert sum(isinstance(one, RunStarted) for one in told) == 1
    capture = read_run(end.span)
    assert len(capture.frames) == end.frames > 10
    assert (
        capture.frames.index
        == [(t, p, c, z) for t in range(2000) for p in range(2) for c in range(2) for z in range(3)][: end.frames]
    )
    assert (capture.reason, capture.end_state) == (FinishReason.ABORTED, {})
    assert source.durable_offsets() == {Path(end.span.path).name: Path(end.span.path).stat().st_size}
