"""The components of the instrument, and which of them a device state puts into the light path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from agent.contract.record import Captured, Component
from agent.snapshot.adapters import camera_identity
from agent.snapshot.devices import Devices, State, active_shutters
from agent.snapshot.parts import Autofocus, Detector, Environment, Focus, Light, Part, Stage
from agent.snapshot.profile import Profile
from agent.snapshot.values import attributes, merged, number

_MAGNIFICATION = re.compile(r"(\d+(?:\.\d+)?)\s*[xX]\b")
_ID_PREFIX = {
    "Laser": "LightSource",
    "LightEmittingDiode": "LightSource",
    "Arc": "LightSource",
    "Filament": "LightSource",
    "GenericExcitationSource": "LightSource",
}
LIGHTS = frozenset(_ID_PREFIX)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A component with its place in the profile; `part` is None when the profile does not know it."""

    component: Component
    part: Part | None


def component_id(kind: str, device: str, label: str | None) -> str:
    """An OME identifier that says which part is meant and stays the same between runs."""
    name = device if label is None else f"{device}.{label}"
    return f"{_ID_PREFIX.get(kind, kind)}:{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-')}"


def mounted(profile: Profile, devices: Devices, conflicts: list[str]) -> list[Mounted]:
    """Every component of the profile, and the cameras and objectives that only the core knows."""
    found = [
        Mounted(_component(part, device, label, devices, profile, conflicts), part)
        for device, label, part in profile.parts()
    ]
    for camera in devices.cameras():
        if camera not in profile.detector and devices.library.get(camera) != "Utilities":
            library = devices.library.get(camera, "")
            identity = camera_identity(camera, library, devices.start, profile.camera_properties)
            found.append(Mounted(_bare("Detector", camera, None, identity), None))
    for device, labels in devices.labels.items():
        if "objective" in f"{device} {devices.description.get(device, '')}".lower():
            known = profile.objective.get(device, {})
            found += [_unprofiled(device, label, devices) for label in labels if label not in known]
    return _distinct(found)


def _distinct(found: list[Mounted]) -> list[Mounted]:
    """Labels that differ only in signs that an identifier cannot have get a number."""
    taken: set[str] = set()
    distinct = []
    for item in found:
        name, number_ = item.component.id, 1
        while name in taken:
            number_ += 1
            name = f"{item.component.id}-{number_}"
        taken.add(name)
        distinct.append(Mounted(item.component.model_copy(update={"id": name}), item.part))
    return distinct


def _bare(kind: str, device: str, label: str | None, values: dict[str, Captured]) -> Component:
    return Component(id=component_id(kind, device, label), kind=kind, device=device, label=label, attributes=values)


def _unprofiled(device: str, label: str, devices: Devices) -> Mounted:
    """An objective of which only the label is known: its name, and nothing read out of it."""
    reading = devices.start.get((device, "Label"))
    values = {"Model": reading.captured(label)} if reading else {}
    return Mounted(_bare("Objective", device, label, values), None)


def _component(
    part: Part, device: str, label: str | None, devices: Devices, profile: Profile, conflicts: list[str]
) -> Component:
    values = attributes(part, device, devices.start)
    what = f"{part.kind} {label or device}"
    if isinstance(part, Detector):
        told = camera_identity(device, devices.library.get(device, ""), devices.start, profile.camera_properties)
        if "Model" in values:
            # Adapters put driver names here; the facility's own word for the model is better.
            told.pop("Model", None)
        values = merged(values, told, what, conflicts)
    if label is not None and part.kind == "Objective":
        values = merged(values, _label_hint(label), what, conflicts)
    return _bare(part.kind, device, label, values)


def _label_hint(label: str) -> dict[str, Captured]:
    match = _MAGNIFICATION.search(label)
    value = number(match[1]) if match else None
    return {"NominalMagnification": Captured(value=value, source="derived")} if value else {}


def in_use(found: Iterable[Mounted], state: State, camera: str | None, autofocus: bool) -> list[Mounted]:
    """The components that a device state puts to use; nothing is in use when no state is known."""
    shutters = active_shutters(state)
    return [m for m in found if _used(m, state, shutters, camera, autofocus)]


def _used(item: Mounted, state: State, shutters: set[str], camera: str | None, autofocus: bool) -> bool:
    device, part = item.component.device or "", item.part
    if item.component.kind == "Detector":
        return device == camera
    if isinstance(part, Light) and (part.shutter or device) not in shutters:
        return False
    if item.component.label is not None:
        return _in_place(device, item.component.label, state)
    match part:
        case Light():
            return True
        case Stage():
            return _role(state, "XYStage") == device
        case Focus():
            return _role(state, "Focus") == device
        case Autofocus():
            return autofocus and _role(state, "AutoFocus") == device
        case Environment():
            return True
        case _:
            return False


def _in_place(device: str, label: str, state: State) -> bool:
    at_label, at_state = state.get((device, "Label")), state.get((device, "State"))
    return (at_label is not None and at_label.value == label) or (
        at_state is not None and f"state:{at_state.value}" == label
    )


def _role(state: State, role: str) -> str | None:
    reading = state.get(("Core", role))
    return reading.value if reading else None
