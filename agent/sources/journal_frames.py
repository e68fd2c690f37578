"""Frames as columns, with the device state at each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from agent.sources.capture import DeviceProperty, Frames
from agent.sources.journal_columns import CameraMetadata
from agent.sources.journal_lines import FrameEntry, Summary

Setting = tuple[str, str, Any]


class FrameColumns:
    """Builds `Frames` entry by entry. `sizes` are the planned axes, `summary` the state at the start."""

    def __init__(self, sizes: dict[str, int], summary: Summary) -> None:
        self._frames = Frames(axes=tuple(axis for axis, size in sizes.items() if size > 0))
        self._camera_metadata = CameraMetadata()
        self._frames.camera_metadata = self._camera_metadata
        self._start = _start_state(summary)
        self._presets = _presets(summary)
        self._state: dict[DeviceProperty, str] = {}
        self._known: dict[frozenset[tuple[DeviceProperty, str]], int] = {}
        self._dirty = True
        self._number = 0
        self._place = {axis: _number(summary.position.get(axis)) for axis in ("x", "y", "z")}
        self._camera: str | None = None
        self._attached: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def change(self, settings: Iterable[Setting]) -> None:
        """The devices have these values from now on."""
        for device, name, value in settings:
            key, text = (device, name), str(value)
            if self._state.get(key, self._start.get(key)) != text:
                self._dirty = True
                if self._start.get(key) == text:
                    self._state.pop(key, None)
                else:
                    self._state[key] = text

    def set_preset(self, group: str, preset: str, state: Iterable[Setting]) -> None:
        """A preset was set; `state` is what its group is then, empty when it is as the last time."""
        known = list(state) or self._presets.get((group, preset), [])
        self._presets[group, preset] = known
        self.change(known)

    def append(self, at_ns: int, frame: FrameEntry) -> None:
        """One more frame."""
        frames = self._frames
        index = self._index(frame.index)  # may replace the column
        frames.index.append(index)
        frames.at_ns.append(at_ns)
        frames.runner_ms.append(_number(frame.runner_ms))
        frames.exposure_ms.append(_number(frame.exposure_ms))
        self._append_place(frame)
        frames.channel.append(frame.channel[1] if frame.channel else None)
        self._camera = frame.camera or self._camera
        frames.camera.append(self._camera)
        frames.position.append(frame.position)
        self._append_state(frame)
        if frame.camera_metadata:
            self._attached = {**self._attached, **frame.camera_metadata}
        self._camera_metadata.append(self._attached if frame.triggered else {})
        if frame.shape is not None and not frames.shape:
            frames.shape, frames.dtype = tuple(frame.shape), frame.dtype or ""

    def finish(self) -> Frames:
        """The columns."""
        return self._frames

    def _index(self, index: dict[str, int]) -> tuple[int, ...]:
        new = tuple(axis for axis in index if axis not in self._frames.axes)
        if new:
            # An axis that the plan did not name: a second camera, a generator, a grid of one position.
            self._frames.axes += new
            self._frames.index = [one + (-1,) * len(new) for one in self._frames.index]
        return tuple(index.get(axis, -1) for axis in self._frames.axes)

    def _append_place(self, frame: FrameEntry) -> None:
        for axis, value in (("x", frame.x), ("y", frame.y), ("z", frame.z)):
            if value is not None:
                self._place[axis] = value
        # A triggered frame says no position when the stage was not sent anywhere: it is where it was.
        self._frames.x_um.append(self._place["x"])
        self._frames.y_um.append(self._place["y"])
        self._frames.z_um.append(self._place["z"])

    def _append_state(self, frame: FrameEntry) -> None:
        self.change(frame.properties)
        if frame.triggered and frame.channel is not None:
            # The hardware steps through the presets by itself: only their definitions say where it is.
            self.change(self._presets.get(frame.channel, ()))
        self.change(frame.commanded)
        if self._dirty:
            self._dirty = False
            key = frozenset(self._state.items())
            if key not in self._known:
                self._known[key] = len(self._frames.states)
                self._frames.states.append(dict(self._state))
            self._number = self._known[key]
        self._frames.state.append(self._number)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _start_state(summary: Summary) -> dict[DeviceProperty, str]:
    return {
        (device.label, one.name): str(one.value)
        for device in summary.devices
        for one in device.properties
        if one.value is not None
    }


def _presets(summary: Summary) -> dict[tuple[str, str], list[Setting]]:
    return {
        (group.name, preset.name): [(one.dev, one.prop, one.val) for one in preset.settings]
        for group in summary.config_groups
        for preset in group.presets
    }
