"""The first draft of an instrument profile from what a core, a configuration or a vendor's file tells."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.snapshot import labels
from agent.snapshot.adapters import IDENTITY, SETTINGS, property_of
from agent.snapshot.profile import Profile

_HINT = "read from the label: check it"
_KEYS = {
    "SerialNumber": "serial_number", "FirmwareVersion": "firmware", "Model": "model", "SensorWidth": "sensor_width_px",
    "SensorHeight": "sensor_height_px", "ElectronicConversionFactor": "conversion_factor_e_per_adu",
    "PixelWellCapacity": "well_capacity_e",
}  # fmt: skip
_SETTINGS = {
    "Binning": "binning", "Gain": "gain", "AmplificationGain": "amplification_gain", "Offset": "offset",
    "BitDepth": "bit_depth", "ReadOutRate": "readout_rate_mhz", "ReadoutMode": "readout_mode",
    "SensorExposureMode": "exposure_mode", "TriggerMode": "trigger_mode", "Temperature": "temperature_c",
    "FrameRate": "frame_rate_hz",
}  # fmt: skip
_LASER = re.compile(r"laser|obis|cobolt|toptica|ibeam|omicron|luxx|vortran|stradus|oxxius|mpb")
"""Words in the name or the library of adapters of lasers."""
_MAY_BE_LIGHT = ("Shutter", "Generic")
_CLIMATE = ("temperature", "incubat", "humidity", "co2", "okolab", "pecon", "tsp01")


@dataclass(slots=True)
class Draft:
    """A profile to be completed by hand."""

    profile: Profile
    found: list[str] = field(default_factory=list)
    """What was found, one line each."""
    unused: list[str] = field(default_factory=list)
    """Devices that are no part of the light path as far as can be told, one line each."""
    remarks: dict[tuple[str, ...], str] = field(default_factory=dict)
    """By path of a key: why it is there."""


def of_summary(summary: dict[str, Any]) -> Draft:
    """The draft of a pymmcore-plus summary (or of agent.snapshot.mmcfg's)."""
    maker = Maker()
    for device in summary.get("devices", ()):
        maker.device(device)
    for group in summary.get("config_groups", ()):
        if "channel" in str(group.get("name", "")).lower():
            maker.channels(group)
    return maker.draft()


class Maker:
    """Collects the tables of a draft."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Any]] = {}
        self._found: list[str] = []
        self._unused: list[str] = []
        self._remarks: dict[tuple[str, ...], str] = {}

    def draft(self) -> Draft:
        """What was collected."""
        profile = Profile.model_validate(self._tables)
        return Draft(profile, self._found, self._unused, self._remarks)

    def device(self, device: dict[str, Any]) -> None:
        """A device of a core."""
        label, kind = str(device["label"]), str(device.get("type", ""))
        said = f"{label} {device.get('name', '')} {device.get('description', '')}".lower()
        if label == "Core" or kind.startswith("Hub"):
            return
        if kind.startswith("Camera") and device.get("library") != "Utilities":
            self._camera(label, device)
        elif kind.startswith("State") and device.get("labels"):
            self._positions(label, [str(one) for one in device["labels"]], said)
        elif _LASER.search(f"{said} {device.get('library', '')}".lower()) and kind.startswith(_MAY_BE_LIGHT):
            self._light(label, {"source": "Laser", **labels.laser(label)}, "laser")
        elif kind.startswith("Shutter") and device.get("library") != "Utilities":
            self._light(label, {"source": "GenericExcitationSource"}, "light source (or a mere shutter)")
            self._remarks["light", label, "source"] = "Laser, LightEmittingDiode, Arc, Filament?"
        elif any(word in said for word in _CLIMATE):
            self.put(("environment", label), {}, "incubator")
        elif (table := _MOVERS.get(kind)) is not None:
            self.put((table[0], label), dict(table[1]), table[2])
        else:
            self._unused.append(f"{label} ({device.get('library')}, {kind or 'type not known'})")

    def channels(self, group: dict[str, Any]) -> None:
        """The presets of a channel group."""
        for preset in group.get("presets", ()):
            name = str(preset.get("name"))
            taken = name in self._tables.get("channel", {})
            self.put(
                ("channel", f"{group['name']}/{name}" if taken else name), {}, f"channel preset of {group['name']}"
            )

    def _light(self, label: str, keys: dict[str, Any], what: str) -> None:
        self.put(("light", label), keys, what)
        self._remarks |= {("light", label, key): _HINT for key in keys}

    def _camera(self, label: str, device: dict[str, Any]) -> None:
        library = str(device.get("library", ""))
        present = {str(one["name"]) for one in device.get("properties", ())}
        keys: dict[str, Any] = {}
        for names, wanted in ((IDENTITY[""], _KEYS), (SETTINGS[""], _SETTINGS)):
            read = {
                wanted[n]: p
                for n in (*names, "FrameRate")
                if n in wanted and (p := property_of(n, library, present, {}))
            }
            place = keys if wanted is _KEYS else keys.setdefault("settings", {})
            place |= {key: {"prop": found} for key, found in read.items()}
        told = {*keys, *keys["settings"]} - {"settings"}
        self.put(
            ("detector", label),
            keys,
            f"camera of library {library}; its adapter tells {', '.join(sorted(told)) or 'nothing'}",
        )

    def _positions(self, label: str, names: list[str], said: str) -> None:
        table, hint, more = _wheel(said, names)
        filled = [name for name in names if not labels.EMPTY.fullmatch(name)]
        if table is None or not filled:
            self._unused.append(f"{label} (positions {', '.join(names[:6])}{', ...' if len(names) > 6 else ''})")
            return
        for name in filled:
            keys = hint(name)
            self.put((table, label, name), {**more, **keys}, f"position of {label}")
            self._remarks |= {(table, label, name, key): _HINT for key in keys}

    def put(self, path: tuple[str, ...], keys: dict[str, Any], what: str) -> None:
        """A table with its keys; `what` says what it is."""
        place = self._tables
        for level in path[:-1]:
            place = place.setdefault(level, {})
        place[path[-1]] = keys
        self._found.append(f"{path[0]} {path[-1]}: {what}")


_MOVERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "XYStageDevice": ("stage", {"motorized": True, "axes": "XY"}, "XY stage"),
    "StageDevice": ("focus", {"motorized": True, "axes": "Z"}, "focus drive"),
    "AutoFocusDevice": ("autofocus", {}, "focus lock or autofocus"),
}
Hint = Callable[[str], dict[str, Any]]


def _wheel(said: str, names: list[str]) -> tuple[str | None, Hint, dict[str, Any]]:
    """Table, hint and given keys of a device with positions; table None when it is no optical part."""
    if "objective" in said or "nosepiece" in said:
        return "objective", labels.objective, {}
    if "dichroic" in said or "reflector" in said:
        return "dichroic", labels.dichroic, {}
    lines = sum(bool(labels.line(name)) for name in names)
    if lines and ("led" in said or "laser" in said or "light" in said):
        source = "Laser" if "laser" in said else "LightEmittingDiode"
        return "light_position", labels.line, {"source": source}
    for word, role in (("excitation", "excitation"), ("emission", "emission"), ("nd filter", "neutral density")):
        if word in said:
            return "filter", labels.band, {"role": role}
    if "filter" in said or (2 * sum(bool(labels.band(name)) for name in names) > len(names) > 1):
        return "filter", labels.band, {"role": "other"}
    return None, labels.band, {}
