"""A run read out of its journal: the state at each frame, and a long run in little memory."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path

import pytest

from agent.sources.events import Plan, Span
from agent.sources.journal import read_run
from agent.sources.journal_columns import CameraMetadata
from agent.sources.journal_lines import Started
from agent.sources.journal_plan import marks_of, name_of, plan_of

SUMMARY = {
    "devices": [
        {"label": "Emission", "properties": [{"name": "Label", "value": "DAPI filter"}]},
        {"label": "Laser", "properties": [{"name": "Power", "value": "1"}, {"name": "Temp", "value": None}]},
    ],
    "position": {"x": 1.0, "y": 2.0, "z": 3.0},
    "config_groups": [
        {
            "name": "Channel",
            "presets": [
                {"name": name, "settings": [{"dev": "Emission", "prop": "Label", "val": f"{name} filter"}]}
                for name in ("DAPI", "FITC")
            ],
        }
    ],
}
LASER, EMISSION = ("Laser", "Power"), ("Emission", "Label")


def _journal(path: Path, *entries: tuple[str, dict]) -> Span:
    with path.open("w") as file:
        for number, (kind, data) in enumerate(entries, 1):
            file.write(json.dumps({"n": number, "t": number * 10, "k": kind, "d": data}) + "\n")
    return Span(str(path), 0, path.stat().st_size)


def _start(**more: object) -> tuple[str, dict]:
    return "started", {"run": 1, "core": 1, "sizes": {"t": 2}, "summary": SUMMARY, **more}


def _frame(t: int, **more: object) -> tuple[str, dict]:
    return "frame", {"run": 1, "i": {"t": t}, **more}


def _states(span: Span) -> list[dict]:
    frames = read_run(span).frames
    return [frames.states[number] for number in frames.state]


def test_the_state_follows_presets_properties_and_frames(tmp_path):
    span = _journal(
        tmp_path / "j",
        _start(),
        _frame(0),
        ("preset", {"core": 1, "group": "Channel", "preset": "FITC", "state": [["Emission", "Label", "FITC filter"]]}),
        ("property", {"core": 2, "dev": "Laser", "prop": "Power", "val": "9"}),
        _frame(1),
        ("property", {"core": 1, "dev": "Laser", "prop": "Power", "val": "5"}),
        _frame(2, pv=[["Emission", "Label", "FITC filter"]]),
        ("property", {"core": 1, "dev": "Laser", "prop": "Power", "val": "1"}),
        _frame(3, pv=[["Emission", "Label", "DAPI filter"]]),
        ("preset", {"core": 1, "group": "Channel", "preset": "FITC"}),
        _frame(4, set=[["Laser", "Power", 7]]),
        ("finished", {"run": 1, "reason": "completed", "frames": 5, "state": [["Laser", "Power", "7"]]}),
    )
    fitc = {EMISSION: "FITC filter"}
    assert _states(span) == [{}, fitc, fitc | {LASER: "5"}, {}, fitc | {LASER: "7"}]
    capture = read_run(span)
    assert len(capture.frames.states) == 4  # distinct ones only
    assert [(one.at_ns, one.value) for one in capture.changes] == [(60, "5"), (80, "1")]
    assert capture.end_state == {LASER: "7"}


def test_triggered_frames_take_their_state_from_the_presets_definition(tmp_path):
    span = _journal(
        tmp_path / "j",
        _start(),
        _frame(0, hw=True, ch=["Channel", "DAPI"], cm={"Camera": "C", "ImageNumber": "0"}),
        _frame(1, hw=True, ch=["Channel", "FITC"], cm={"ImageNumber": "1"}, z=4.0),
        _frame(2, hw=True, ch=["Channel", "DAPI"], cm={"ImageNumber": "2"}),
    )
    assert _states(span) == [{}, {EMISSION: "FITC filter"}, {}]
    frames = read_run(span).frames
    assert list(frames.camera_metadata) == [{"Camera": "C", "ImageNumber": str(n)} for n in range(3)]
    assert list(zip(frames.x_um, frames.y_um, frames.z_um, strict=True)) == [(1, 2, 3), (1, 2, 4), (1, 2, 4)]


def test_axes_that_the_plan_did_not_name_are_added(tmp_path):
    span = _journal(tmp_path / "j", _start(summary={}), _frame(0), ("frame", {"run": 1, "i": {"t": 1, "cam": 1}}))
    frames = read_run(span).frames
    assert (frames.axes, frames.index) == (("t", "cam"), [(0, -1), (1, 1)])
    assert math.isnan(frames.x_um[0])


def test_a_pause_and_a_cancel_are_noted(tmp_path):
    span = _journal(
        tmp_path / "j",
        _start(),
        ("paused", {"run": 1, "paused": True}),
        ("paused", {"run": 1, "paused": False}),
        ("canceled", {"run": 1}),
        ("finished", {"run": 1, "reason": "canceled"}),
    )
    assert [note.split(" by")[0] for note in read_run(span).notes] == ["paused", "resumed", "canceled"]


def test_the_plan_of_an_irregular_sequence_is_counted():
    position = {"x": 0, "sequence": {"z_plan": {"range": 2, "step": 1}}}
    sequence = {"stage_positions": [{"x": 1}, position], "channels": [{"config": "DAPI"}]}
    assert plan_of(Started(1, 1, sequence, {"p": 2, "c": 1})) == Plan(4)
    skipping = {
        "channels": [{"config": "DAPI"}, {"config": "FITC", "acquire_every": 2}],
        "time_plan": {"interval": 0, "loops": 4},
    }
    assert plan_of(Started(1, 1, skipping, {"t": 4, "c": 2})) == Plan(6)
    assert plan_of(Started(1, 1)) == Plan()
    cameras = {"image_infos": [{"num_camera_adapter_channels": 2}]}
    assert plan_of(Started(1, 1, {"a": 1}, {"t": 4}, summary=cameras)) == Plan(8, (4, 2), ("t", "cam"))


def test_name_and_marks():
    widgets = {"pymmcore_widgets": {"save_name": "cells", "n": 1}}
    assert name_of(Started(1, 1, {"metadata": widgets})) == "cells"
    assert marks_of(Started(1, 1, {"metadata": widgets})) == {
        "pymmcore_widgets.save_name": "cells",
        "pymmcore_widgets.n": "1",
    }
    assert name_of(Started(1, 1)) == "mda"
    assert name_of(Started(1, 1, outputs=["/data/run 3.ome.zarr", "/data/x"])) == "run 3"


def test_camera_metadata_is_a_list_of_dictionaries():
    column, expected = CameraMetadata(), [{"ImageNumber": str(number)} for number in range(1000)]
    for one in expected:
        column.append(one)
    assert list(column) == expected
    assert (column[-1], column[255:258], len(column)) == (expected[-1], expected[255:258], 1000)
    with pytest.raises(IndexError):
        column[1000]


def test_a_long_run_is_read_in_little_memory(tmp_path):
    camera = {"Binning": "1", "Camera": "Camera", "PixelType": "GREY16", "Width": "512", "Height": "512"}
    count = 20_000
    frames = (
        _frame(
            t,
            ms=t * 1.5,
            x=1.0,
            y=2.0,
            z=t * 0.1,
            e=10.0,
            ch=["Channel", "DAPI"],
            hw=True,
            cm=camera | {"ImageNumber": str(t)},
        )
        for t in range(count)
    )
    span = _journal(tmp_path / "j", _start(), *frames)
    tracemalloc.start()
    capture = read_run(span)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(capture.frames) == count
    assert peak / count < 300  # bytes a frame
