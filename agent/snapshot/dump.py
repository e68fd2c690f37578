"""Every device property of a run, losslessly and JSON-able."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from agent.clock import iso
from agent.snapshot.devices import plain
from agent.sources.capture import Frames, RunCapture


def device_dump(capture: RunCapture | None) -> dict[str, Any]:
    """The state at the start and the end, what changed between, and what the camera attached to the frames."""
    if capture is None:
        return {}
    return {
        "run": capture.uid,
        "started_at": iso(capture.started_ns),
        "finished_at": None if capture.finished_ns is None else iso(capture.finished_ns),
        "start": capture.summary,
        "end": plain(capture.end_state),
        "changes": [[c.at_ns, c.device, c.property, c.value] for c in capture.changes],
        "states": [plain(state) for state in capture.frames.states],
        "state_of_frames": _runs(capture.frames.state),
        "camera_metadata": _columns(capture.frames),
        "sequence": capture.sequence,
    }


def _runs(states: list[int]) -> list[list[int]]:
    """`[state, frames]` for each stretch of frames with the same state."""
    return [[state, sum(1 for _ in group)] for state, group in groupby(states)]


def _columns(frames: Frames) -> dict[str, Any]:
    """One value where it is the same in every frame, else the list of all."""
    columns: dict[str, list[Any]] = {}
    for row, attached in enumerate(frames.camera_metadata):
        for key, value in attached.items():
            column = columns.setdefault(key, [])
            column.extend([None] * (row - len(column)))
            column.append(value)
    count = len(frames.camera_metadata)
    for column in columns.values():
        column.extend([None] * (count - len(column)))
    return {key: column[0] if _constant(column) else column for key, column in sorted(columns.items())}


def _constant(column: list[Any]) -> bool:
    return all(value == column[0] for value in column)
