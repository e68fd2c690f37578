"""Device states: what each property was when a channel's frames were taken, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.clock import iso
from agent.contract.record import Captured, Origin, Scalar
from agent.sources.capture import DeviceProperty, RunCapture

State = dict[DeviceProperty, "Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A property's value, how it is known and when."""

    value: str
    source: Origin
    at_ns: int

    def captured(self, value: Scalar, unit: str | None = None) -> Captured:
        """`value` (this one, converted) with this reading's source and time."""
        return Captured(value=value, unit=unit, source=self.source, taken_at=iso(self.at_ns))


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of a run: labels of state devices, adapter libraries, presets, and the state at the start."""

    start: State = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    library: dict[str, str] = field(default_factory=dict)
    kind: dict[str, str] = field(default_factory=dict)
    description: dict[str, str] = field(default_factory=dict)
    presets: dict[tuple[str, str], tuple[tuple[str, str, str], ...]] = field(default_factory=dict)

    def cameras(self) -> list[str]:
        return [label for label, kind in self.kind.items() if kind.startswith("Camera")]

    def set(self, state: State, key: DeviceProperty, reading: Reading) -> None:
        """Set a property; `State` and `Label` of a state device follow each other."""
        device, name = key
        state[key] = reading
        labels = self.labels.get(device, ())
        if name == "State" and reading.value.isdigit() and int(reading.value) < len(labels):
            label = labels[int(reading.value)]
            state[(device, "Label")] = Reading(label, reading.source, reading.at_ns)
        elif name == "Label" and reading.value in labels:
            number = str(labels.index(reading.value))
            state[(device, "State")] = Reading(number, reading.source, reading.at_ns)


def read_devices(capture: RunCapture | None) -> Devices:
    """The devices as the run's summary lists them; empty without one."""
    devices = Devices()
    if capture is None:
        return devices
    for device in capture.summary.get("devices", ()):
        label = device["label"]
        devices.kind[label] = str(device.get("type", ""))
        devices.library[label] = str(device.get("library", ""))
        devices.description[label] = f"{device.get('name', '')} {device.get('description', '')}"
        if device.get("labels"):
            devices.labels[label] = tuple(device["labels"])
        for item in device.get("properties", ()):
            if item.get("value") is not None:
                reading = Reading(str(item["value"]), "live", capture.started_ns)
                devices.start[(label, item["name"])] = reading
    for group in capture.summary.get("config_groups", ()):
        for preset in group.get("presets", ()):
            devices.presets[(group["name"], preset["name"])] = tuple(
                (s["dev"], s["prop"], str(s["val"])) for s in preset.get("settings", ())
            )
    return devices


class Timeline:
    """Device state at any frame of a run: the state at the start and what the journal saw differ from it."""

    def __init__(self, devices: Devices, capture: RunCapture) -> None:
        self._devices = devices
        self._capture = capture

    def at(self, row: int) -> State:
        """The state when frame number `row` was taken."""
        frames = self._capture.frames
        state = dict(self._devices.start)
        if not frames.states:
            return state
        # A triggered camera runs through its presets alone: only their definitions say where the devices were.
        triggered = bool(frames.camera_metadata) and bool(frames.camera_metadata[row])
        source: Origin = "derived" if triggered else "cached"
        # A label says more than a number where a driver reports both.
        for key, value in sorted(frames.states[frames.state[row]].items(), key=_label_last):
            self._devices.set(state, key, Reading(value, source, frames.at_ns[row]))
        return state

    def planned(self, preset: tuple[str, str] | None) -> State:
        """The state that a channel (group, preset) without any frame would have had."""
        state = dict(self._devices.start)
        for device, name, value in self._devices.presets.get(preset or ("", ""), ()):
            reading = Reading(value, "derived", self._capture.started_ns)
            self._devices.set(state, (device, name), reading)
        return state


def _label_last(item: tuple[DeviceProperty, str]) -> tuple[bool, DeviceProperty]:
    return item[0][1] == "Label", item[0]


def active_shutters(state: State) -> set[str]:
    """The device that lets light through, and the devices behind it when it is a logical shutter."""
    found: set[str] = set()
    core = state.get(("Core", "Shutter"))
    todo = [core.value] if core and core.value else []
    while todo:
        shutter = todo.pop()
        if shutter in found:
            continue
        found.add(shutter)
        todo += [
            reading.value
            for (device, name), reading in state.items()
            if device == shutter
            and (name in ("State Device", "DA Device") or name.startswith("Physical Shutter"))
            and reading.value not in ("", "Undefined")
        ]
    return found


def plain(device_state: Mapping[DeviceProperty, Any]) -> list[dict[str, Any]]:
    """A device state as JSON-able rows."""
    return [{"dev": device, "prop": name, "val": value} for (device, name), value in device_state.items()]
