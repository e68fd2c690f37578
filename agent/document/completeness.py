"""How complete the description is, per NBO tier: required fields that are filled, of the components in use.

A field that cannot apply (amplification gain of a camera without amplification) is not counted.
The table of required fields is derived from the NBO specification v02-01, CC BY 3.0; see nbo_fields.json.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agent.contract.record import Captured, Channel, Component, Tier
from agent.snapshot import Snapshot

_TABLE = Path(__file__).with_name("nbo_fields.json")
_AMPLIFYING = frozenset(["EMCCD", "IntensifiedCCD", "EBCCD"])
_POINT = {"PMT": "PhotoMultiplierTube", "APD": "PhotoDiode", "Photodiode": "PhotoDiode"}
_CAMERA = {"CCD": "CCD", "EMCCD": "CCD", "EBCCD": "CCD", "IntensifiedCCD": "IntensifiedCamera"}
_ELEMENTS = {
    "Dichroic": "StandardDichroic",
    "FocusDrive": "Z-Drive",
    "FocusStabilizationDevice": "FocusStabilizationDevice",
    "EnvironmentalControlDevice": "EnvironmentalControlDevice",
}
_ROLES = {
    "excitation": "ExcitationFilter",
    "emission": "EmissionFilter",
    "neutral density": "NeutralDensityFilter",
}
_OUR_NAMES = {
    "Magnification": "NominalMagnification",
    "ImmersionType": "Immersion",
    "CorrectionCollar": "HasCorrectionCollar",
    "EffectiveBitDepth": "BitDepth",
    "AnalogGain": "Gain",
    "AmplificationGain": "AmplificationGain",
    "PixelReadOutRate": "ReadOutRate",
    "Pulse": "IsPulsed",
}
_WORDS = {
    "CatalogNumber": "catalogue number",
    "LensNA": "numerical aperture",
    "DIC": "whether it is made for DIC",
    "InfinityCorrected": "whether it is infinity corrected",
    "ContrastModulation": "phase ring or other contrast plate",
    "CorrectionCollar": "whether it has a correction collar",
    "ElectronicConversionFactor": "electrons per grey level",
    "ReadOutNoise": "read noise",
    "PixelWellCapacity": "full well capacity",
    "WavelengthProfile": "quantum efficiency curve",
    "EffectiveBitDepth": "bit depth",
    "AnalogGain": "gain",
    "PixelReadOutRate": "readout rate",
    "SensorExposureMode": "rolling or global shutter",
    "Integration": "frames integrated",
    "IlluminationPowerSettings": "power setting of the light",
    "XYRepeatability": "repeatability in XY",
    "ZRepeatability": "repeatability in Z",
    "LightPathLocation": "place in the light path",
    "Encoded": "kind of encoder",
    "IlluminationType": "kind of illumination",
    "PhysicalSizeX": "pixel size in X",
    "PhysicalSizeY": "pixel size in Y",
    "Timestamp": "time of each plane",
    "CO2Percent": "CO2",
    "WebsiteURL": "web site",
    "MinTemberature": "lowest temperature",
    "MaxTemperature": "highest temperature",
    "Wavelength": "pass band",
}
_NOUNS = {
    "Detector": "camera",
    "Filter": "filter",
    "Dichroic": "dichroic",
    "Objective": "objective",
    "Stage": "stage",
    "FocusDrive": "focus drive",
    "FocusStabilizationDevice": "focus lock",
    "EnvironmentalControlDevice": "incubator",
    "LightEmittingDiode": "LED",
    "Laser": "laser",
    "Arc": "lamp",
    "Filament": "lamp",
    "GenericExcitationSource": "light source",
}


@dataclass(frozen=True, slots=True)
class _Need:
    """A required field: `what` is missing where it is not `filled`."""

    tier: int
    filled: bool
    what: str


@cache
def _fields() -> dict[str, dict[str, list[str]]]:
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    elements: dict[str, dict[str, list[str]]] = table["elements"]
    return elements


def completeness(snapshot: Snapshot) -> dict[str, Tier]:
    """`tier1`, `tier2`, `tier3`: each counts its own fields and those of the tiers below it."""
    needs = list(_needs(snapshot))
    result = {}
    for tier in (1, 2, 3):
        mine = [need for need in needs if need.tier <= tier]
        missing = list(dict.fromkeys(need.what for need in mine if not need.filled))
        filled = sum(need.filled for need in mine)
        result[f"tier{tier}"] = Tier(filled=filled, required=len(mine), missing=missing)
    return result


def _needs(snapshot: Snapshot) -> Iterator[_Need]:
    stand = "UprightMicroscopeStand" if _is(snapshot.microscope, "Type", "Upright") else "InvertedMicroscopeStand"
    yield from _of("Instrument", "the instrument", {"Name"} & snapshot.microscope.keys())
    known = set(snapshot.microscope) - {"Type"} | ({"Type"} if "StandType" in snapshot.microscope else set())
    yield from _of(stand, "the microscope stand", known)
    used = [component for component in snapshot.components if component.id in snapshot.in_use]
    for component in used:
        yield from _component(component)
    for kind in ("Objective", "Detector"):
        if not any(component.kind == kind for component in used):
            yield _Need(1, False, f"which {_NOUNS[kind]} was used")
    yield from _of("AcquisitionSoftware", "the acquisition software", _software(snapshot))
    yield from _images(snapshot)
    for channel in snapshot.channels:
        yield from _channel(channel, [c for c in used if c.id in channel.components])
    environment = set(snapshot.environment)
    if environment or any(component.kind == "EnvironmentalControlDevice" for component in used):
        yield from _of("ImagingEnvironment", "the sample's surroundings", environment)


def _of(element: str, whose: str, known: set[str], skip: frozenset[str] = frozenset()) -> Iterator[_Need]:
    """The needs of one NBO element; `known` and `skip` are our names of fields."""
    for tier, fields in _fields()[element].items():
        for field in fields:
            ours = _OUR_NAMES.get(field, field)
            if ours not in skip:
                yield _Need(int(tier), ours in known, f"{whose}: {_words(field)}")


def _component(component: Component) -> Iterator[_Need]:
    values = component.attributes
    known = _filled(values)
    whose = _whose(component)
    element = _element(component)
    if element is None:
        return
    skip = frozenset(["ZRepeatability"]) if _is(values, "MovementAxes", "XY") else frozenset()
    yield from _of(element, whose, known, skip)
    if component.kind in ("Filter", "Dichroic"):
        band = {"TransmittanceBands", "CutIn", "CutOut"} & known
        yield _Need(1, bool(band), f"{whose}: {_words('Wavelength')}")


def _element(component: Component) -> str | None:
    """The NBO element of a component."""
    kind, values = component.kind, component.attributes
    if kind == "Detector":
        type_ = str(values["Type"].value) if "Type" in values else ""
        return _POINT.get(type_) or _CAMERA.get(type_, "CMOS")
    if kind == "Filter":
        return _ROLES.get(str(values["Role"].value), "EmissionFilter") if "Role" in values else "EmissionFilter"
    if kind == "Stage":
        return "PiezoElectricStage" if _is(values, "Piezo", True) else "MechanicalStage"
    element = _ELEMENTS.get(kind, kind)
    return element if element in _fields() else None


def _images(snapshot: Snapshot) -> Iterator[_Need]:
    if not snapshot.images:
        yield _Need(1, False, "the images: size, axes and pixel type")
        return
    planes = [image.planes for image in snapshot.images]
    sizes = {"DimensionOrder", "SizeX", "SizeY", "SizeZ", "SizeC", "SizeT", "PixelType"}
    named = {"Name"} if all(image.name for image in snapshot.images) else set()
    yield from _of("Image", "the images", named)
    yield from _of("Pixels", "the images", sizes | _filled(snapshot.pixel_size))
    listed = {"TheZ", "TheT", "TheC"} if any(len(p) for p in planes) else set()
    timed = {"Timestamp"} if any(len(p) and math.isfinite(p.delta_s[0]) for p in planes) else set()
    yield from _of("Plane", "the planes", listed | timed)


def _channel(channel: Channel, used: list[Component]) -> Iterator[_Need]:
    whose = f"channel {channel.name}"
    known = _filled(channel.settings)
    named = {"Name"} if channel.name != "unnamed" else set()
    yield from _of("Channel", whose, known | named)
    for detector in (component for component in used if component.kind == "Detector"):
        type_ = str(detector.attributes["Type"].value) if "Type" in detector.attributes else ""
        if type_ in _POINT:
            yield from _of("PointDetectorSettings", whose, known)
            continue
        amplified = frozenset() if type_ in _AMPLIFYING else frozenset(["AmplificationGain"])
        shutterless = frozenset(["SensorExposureMode"]) if type_ in _CAMERA else frozenset()
        yield from _of("CameraSettings", whose, known, amplified | shutterless)
    if any(_NOUNS.get(c.kind) in ("LED", "laser", "lamp", "light source") for c in used):
        power = {"IlluminationPower", "Attenuation"} & known
        yield from _of("LightSourceSettings", whose, known | ({"IlluminationPowerSettings"} if power else set()))


def _software(snapshot: Snapshot) -> set[str]:
    known = set()
    if snapshot.developer.get("name") or snapshot.software:
        known.add("Name")
    if snapshot.software:
        known.add("Version")
    if snapshot.developer.get("developer"):
        known.add("Developer")
    if snapshot.developer.get("website"):
        known.add("WebsiteURL")
    return known


def _filled(values: Mapping[str, Captured]) -> set[str]:
    return {name for name, v in values.items() if v.value is not None and str(v.value).strip() and v.value != []}


def _is(values: Mapping[str, Captured], name: str, value: object) -> bool:
    return name in values and values[name].value == value


def _whose(component: Component) -> str:
    model = component.attributes.get("Model")
    name = component.label or (str(model.value) if model else component.device or component.id)
    return f"{_NOUNS.get(component.kind, component.kind)} {name}"


def _words(field: str) -> str:
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field)
    return _WORDS.get(field) or " ".join(w if w.isupper() else w.lower() for w in plain.split())
