"""A hooked run's channels: settings and components by the devices' states when each channel's frames were taken."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import Any

from agent.contract.record import Captured, Channel
from agent.snapshot.adapters import camera_settings, normal
from agent.snapshot.devices import Devices, State, Timeline
from agent.snapshot.hardware import LIGHTS, Mounted, in_use
from agent.snapshot.model import Image
from agent.snapshot.parts import Detector, Filter, Light, Objective
from agent.snapshot.profile import Profile
from agent.snapshot.values import attributes
from agent.sources.capture import DeviceProperty, Frames, RunCapture

_MAX_EXPOSURES = 8


@dataclass(slots=True)
class Run:
    """What a capture says of images and channels."""

    images: list[Image] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)
    objective_settings: dict[str, Captured] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    first_state: State = field(default_factory=dict)
    plane_states: list[dict[str, str]] = field(default_factory=list)
    numbers: list[array[int]] = field(default_factory=list)
    """Of each image the number of the frame, in the order of arrival, that each of its planes is."""


@dataclass(slots=True)
class Reader:
    capture: RunCapture
    profile: Profile
    devices: Devices
    found: list[Mounted]
    run: Run
    timeline: Timeline = field(init=False)
    autofocus: bool = field(init=False)

    def __post_init__(self) -> None:
        self.timeline = Timeline(self.devices, self.capture)
        sequence = self.capture.sequence
        plans = [sequence, *(p for p in sequence.get("stage_positions") or () if isinstance(p, dict))]
        self.autofocus = any(_uses_autofocus(plan) for plan in plans)

    def planned_channels(self) -> list[dict[str, Any]]:
        return [c for c in self.capture.sequence.get("channels") or () if isinstance(c, dict)]

    def used(self, state: State, camera: str | None) -> list[Mounted]:
        active = in_use(self.found, state, camera, self.autofocus)
        ids = [m.component.id for m in active]
        self.run.in_use += [i for i in ids if i not in self.run.in_use]
        return active


def _uses_autofocus(plan: dict[str, Any]) -> bool:
    inner = plan.get("sequence")
    return bool(plan.get("autofocus_plan")) or (isinstance(inner, dict) and _uses_autofocus(inner))


def channel(number: int, rows: list[int], plan: dict[str, Any], cameras: int, reader: Reader) -> Channel:
    frames = reader.capture.frames
    preset_name = (frames.channel[rows[0]] if rows else None) or plan.get("config")
    preset = (str(plan.get("group") or "Channel"), str(preset_name)) if preset_name else None
    camera = frames.camera[rows[0]] if rows else None
    state = reader.timeline.at(rows[0]) if rows else reader.timeline.planned(preset)
    if number == 0:
        reader.run.first_state = state
    active = reader.used(state, camera)
    for row in _other_states(frames, rows):
        more = reader.used(reader.timeline.at(row), camera)
        if {m.component.id for m in more} != {m.component.id for m in active}:
            reader.run.notes.append(f"channel {preset_name}: other components came into use while the run was on")
            active += [m for m in more if m not in active]
    settings = _settings(state, camera, preset, active, reader)
    settings |= _exposure(rows, frames, plan)
    name = str(preset_name or "unnamed")
    name = f"{name} {camera}" if cameras > 1 and camera else name
    return Channel(name=name, settings=settings, components=[m.component.id for m in active])


def _other_states(frames: Frames, rows: list[int]) -> list[int]:
    """The first frame of each further state of the light path in a channel."""
    if not frames.states:
        return []
    # Temperatures and the like change all the time and move nothing in or out of the light.
    lights = [frozenset(item for item in state.items() if _moves_light(item[0])) for state in frames.states]
    seen: dict[frozenset[tuple[DeviceProperty, str]], int] = {}
    for row in rows:
        seen.setdefault(lights[frames.state[row]], row)
    return list(seen.values())[1:]


def _moves_light(key: DeviceProperty) -> bool:
    device, name = key
    return device == "Core" or name in ("Label", "State", "State Device", "DA Device") or "Shutter" in name


def _settings(
    state: State,
    camera: str | None,
    preset: tuple[str, str] | None,
    active: list[Mounted],
    reader: Reader,
) -> dict[str, Captured]:
    profile, devices = reader.profile, reader.devices
    settings: dict[str, Captured] = {}
    if preset is not None:
        entry = profile.channel.get("/".join(preset)) or profile.channel.get(preset[1])
        settings |= attributes(entry, "", state) if entry else {}
        settings |= {
            f"{device}.{name}": state[(device, name)].captured(state[(device, name)].value)
            for device, name, _ in devices.presets.get(preset, ())
            if (device, name) in state
        }
    for item in active:
        device, part = item.component.device or "", item.part
        if isinstance(part, Detector | Light):
            settings |= attributes(part.settings, device, state)
        elif isinstance(part, Objective) and not reader.run.objective_settings:
            reader.run.objective_settings = attributes(part.settings, device, state)
    if camera is not None:
        library = devices.library.get(camera, "")
        for name, value in camera_settings(camera, library, state, profile.camera_properties).items():
            settings.setdefault(name, value)
    return normal(settings) | _wavelengths(settings, active)


def _wavelengths(settings: dict[str, Captured], active: list[Mounted]) -> dict[str, Captured]:
    """Excitation and emission from the filters and lights in use, where each is one band only."""
    found: dict[str, Captured] = {}
    lines = [m.part.wavelength_nm for m in active if isinstance(m.part, Light) and m.component.kind in LIGHTS]
    if len(lines) == 1 and isinstance(lines[0], float | int):
        found["ExcitationWavelength"] = Captured(value=float(lines[0]), unit="nm", source="derived")
    for role, name in (("excitation", "ExcitationWavelength"), ("emission", "EmissionWavelength")):
        bands = [band for m in active if isinstance(m.part, Filter) and m.part.role == role for band in m.part.bands_nm]
        if len(bands) == 1 and name not in found:
            found[name] = Captured(value=sum(bands[0]) / 2, unit="nm", source="derived")
    return {name: value for name, value in found.items() if name not in settings}


def _exposure(rows: list[int], frames: Frames, plan: dict[str, Any]) -> dict[str, Captured]:
    values = sorted({frames.exposure_ms[row] for row in rows if not math.isnan(frames.exposure_ms[row])})
    if len(values) == 1:
        return {"Exposure": Captured(value=values[0], unit="ms", source="live")}
    if values:
        return {"Exposure": Captured(value=values[:_MAX_EXPOSURES], unit="ms", source="live")}
    if plan.get("exposure"):
        return {"Exposure": Captured(value=float(plan["exposure"]), unit="ms", source="derived")}
    return {}
