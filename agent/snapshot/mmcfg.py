"""A Micro-Manager configuration file as a summary of devices, read as text: no hardware is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.errors import Misconfigured

_ROLES = {"Camera": "CameraDevice", "Focus": "StageDevice", "XYStage": "XYStageDevice", "Shutter": "ShutterDevice",
          "AutoFocus": "AutoFocusDevice"}  # fmt: skip
_TYPES = (
    ("camera", "CameraDevice"), ("dcam", "CameraDevice"), ("xystage", "XYStageDevice"), ("xydrive", "XYStageDevice"),
    ("autofocus", "AutoFocusDevice"), ("pfsstatus", "AutoFocusDevice"), ("crisp", "AutoFocusDevice"),
    ("definitefocus", "AutoFocusDevice"), ("zdcoffset", "GenericDevice"), ("pfsoffset", "GenericDevice"),
    ("shutter", "ShutterDevice"), ("stage", "StageDevice"), ("zdrive", "StageDevice"), ("focusdrive", "StageDevice"),
)  # fmt: skip
"""What adapters call their devices, for those that no role names; the first that fits."""


def read_cfg(path: Path) -> dict[str, Any]:
    """`devices` and `config_groups` in the form of pymmcore-plus' summary; types are told by roles and names.

    Raises Misconfigured when the file cannot be read or holds no device.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror or error}") from error
    devices: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, list[dict[str, str]]]] = {}
    for fields in ([part.strip() for part in line.split(",")] for line in lines if not line.lstrip().startswith("#")):
        match fields:
            case ["Device", _, "SerialManager", *_]:
                continue  # a port is no part of the microscope
            case ["Device", label, library, name, *_]:
                devices[label] = {"label": label, "library": library, "name": name, "type": "", "properties": []}
            case ["Label", label, state, *words] if label in devices:
                devices[label].setdefault("states", {})[int(state)] = ",".join(words)
            case ["Property", "Core", role, label, *_] if label in devices and role in _ROLES:
                devices[label]["type"] = _ROLES[role]
            case ["Property", label, name, *value] if label in devices:
                devices[label]["properties"].append({"name": name, "value": ",".join(value)})
            case ["ConfigGroup", group, preset, device, name, *value]:
                settings = groups.setdefault(group, {}).setdefault(preset, [])
                settings.append({"dev": device, "prop": name, "val": ",".join(value)})
    if not devices:
        raise Misconfigured(f"{path} is no Micro-Manager configuration: it has no line 'Device,label,library,name'")
    return {"devices": [_finished(device) for device in devices.values()], "config_groups": _groups(groups)}


def _finished(device: dict[str, Any]) -> dict[str, Any]:
    states = device.pop("states", None)
    if states:
        device["labels"] = [states.get(number, f"State-{number}") for number in range(max(states) + 1)]
        # A wheel with names for its positions may close the light as well, and be the core's shutter.
        device["type"] = "StateDevice"
    plain = f"{device['name']} {device['label']}".lower().replace(" ", "")
    device["type"] = device["type"] or next((kind for word, kind in _TYPES if word in plain), "GenericDevice")
    return device


def _groups(groups: dict[str, dict[str, list[dict[str, str]]]]) -> list[dict[str, Any]]:
    return [
        {"name": group, "presets": [{"name": preset, "settings": settings} for preset, settings in presets.items()]}
        for group, presets in groups.items()
    ]
