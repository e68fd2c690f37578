"""How complete the description is, per NBO tier: required fields that are filled, of the components in use.

Each field says how it is known: captured, by the profile, by the session, derived or defaulted. A field that cannot
apply (amplification gain of a camera without amplification, `NA` in the profile) is named and not counted. Whether
the instrument was in order is another question: that is quality control.
The table of required fields is derived from the NBO specification v02-01, CC BY 3.0; see nbo_fields.json.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from agent.contract.record import Captured, Channel, Component, Origin, Tier
from agent.document.words import NOUNS, channel_named, whose, words
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
_NO_ANSWER = frozenset(["na", "n/a", "not applicable", "not available", "none known", "unknown", "?"])


class How(StrEnum):
    """How a field is known."""

    CAPTURED = "captured"
    PROFILE = "profile"
    SESSION = "session"
    DERIVED = "derived"
    DEFAULTED = "defaulted"
    MISSING = "missing"
    NOT_APPLICABLE = "not applicable"


_BY_ORIGIN: dict[Origin, How] = {
    "live": How.CAPTURED, "cached": How.CAPTURED, "file": How.CAPTURED, "measured": How.CAPTURED,
    "profile": How.PROFILE, "session": How.SESSION, "derived": How.DERIVED,
}  # fmt: skip
Known = Mapping[str, How]
"""Our name of a field to how it is known; fields that are not in it are missing."""


@dataclass(frozen=True, slots=True)
class Need:
    """A required field of a tier."""

    tier: int
    how: How
    what: str
    field: str = ""
    """Our name of it, where it is one field of one part."""


@cache
def _fields() -> dict[str, dict[str, list[str]]]:
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    elements: dict[str, dict[str, list[str]]] = table["elements"]
    return elements


def completeness(snapshot: Snapshot) -> dict[str, Tier]:
    """`tier1`, `tier2`, `tier3`: each counts its own fields and those of the tiers below it."""
    needs = list(_needs(snapshot))
    return {f"tier{tier}": summed(need for need in needs if need.tier <= tier) for tier in (1, 2, 3)}


def summed(needs: Iterable[Need]) -> Tier:
    """The fields of one tier, counted."""
    every = list(needs)
    counts = Counter(need.how for need in every)
    missing, absent = counts.pop(How.MISSING, 0), counts.pop(How.NOT_APPLICABLE, 0)

    def named(how: How) -> list[str]:
        return list(dict.fromkeys(need.what for need in every if need.how is how))

    return Tier(
        filled=len(every) - missing - absent,
        required=len(every) - absent,
        missing=named(How.MISSING),
        states={str(how): counts[how] for how in How if counts[how]},
        defaulted=named(How.DEFAULTED),
        not_applicable=named(How.NOT_APPLICABLE),
    )


def of_components(components: Iterable[Component]) -> Iterator[Need]:
    """The needs of components alone, in use or not."""
    for component in components:
        yield from _component(component)


def of_stand(microscope: Mapping[str, Captured]) -> Iterator[Need]:
    """The needs of the instrument as a whole and of its stand."""
    known = ways(microscope)
    yield from _of("Instrument", "the instrument", known)
    # NBO's type of a stand is not OME's type of a microscope.
    type_ = {"Type": known["StandType"]} if "StandType" in known else {}
    stand = "UprightMicroscopeStand" if _is(microscope, "Type", "Upright") else "InvertedMicroscopeStand"
    for need in _of(stand, "the microscope stand", {k: v for k, v in known.items() if k != "Type"} | type_):
        yield replace(need, field="StandType") if need.field == "Type" else need


def ways(values: Mapping[str, Captured]) -> dict[str, How]:
    """How each of these values is known; blanks are missing."""
    return {name: _way(value) for name, value in values.items()}


def _way(captured: Captured) -> How:
    text = str(captured.value).strip()
    if captured.value is None or not text or captured.value == []:
        return How.MISSING
    if text.lower() in _NO_ANSWER:
        return How.NOT_APPLICABLE if text.lower() in ("na", "n/a", "not applicable") else How.MISSING
    return _BY_ORIGIN[captured.source]


def _needs(snapshot: Snapshot) -> Iterator[Need]:
    yield from of_stand(snapshot.microscope)
    used = [component for component in snapshot.components if component.id in snapshot.in_use]
    yield from of_components(used)
    for kind in ("Objective", "Detector"):
        if not any(component.kind == kind for component in used):
            yield Need(1, How.MISSING, f"which {NOUNS[kind]} was used")
    yield from _of("AcquisitionSoftware", "the acquisition software", _software(snapshot))
    yield from _images(snapshot)
    for channel in snapshot.channels:
        yield from _channel(channel, [c for c in used if c.id in channel.components])
    environment = ways(snapshot.environment)
    if environment or any(component.kind == "EnvironmentalControlDevice" for component in used):
        yield from _of("ImagingEnvironment", "the sample's surroundings", environment)


def _of(element: str, who: str, known: Known, skip: frozenset[str] = frozenset()) -> Iterator[Need]:
    """The needs of one NBO element; `known` and `skip` are our names of fields."""
    for tier, fields in _fields()[element].items():
        for field in fields:
            ours = _OUR_NAMES.get(field, field)
            how = How.NOT_APPLICABLE if ours in skip else known.get(ours, How.MISSING)
            yield Need(int(tier), how, f"{who}: {words(field)}", ours)


def _component(component: Component) -> Iterator[Need]:
    values = component.attributes
    known, who = ways(values), whose(component)
    element = _element(component)
    if element is None:
        return
    skip = frozenset(["ZRepeatability"]) if _is(values, "MovementAxes", "XY") else frozenset()
    if _is(values, "MovementAxes", "Z"):
        skip = frozenset(["XYRepeatability", "XTravelRange", "YTravelRange"])
    yield from _of(element, who, known, skip)
    if component.kind in ("Filter", "Dichroic"):
        bands = [
            known[name] for name in ("TransmittanceBands", "CutIn", "CutOut", "TransmittanceRange") if name in known
        ]
        yield Need(1, bands[0] if bands else How.MISSING, f"{who}: {words('Wavelength')}", "TransmittanceBands")


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


def _images(snapshot: Snapshot) -> Iterator[Need]:
    if not snapshot.images:
        yield Need(1, How.MISSING, "the images: size, axes and pixel type")
        return
    sizes = dict.fromkeys(("SizeX", "SizeY", "SizeZ", "SizeC", "SizeT", "PixelType"), How.CAPTURED)
    # Without a file nobody has laid the planes in an order: OME asks for one all the same.
    order = How.CAPTURED if snapshot.skeleton is not None else How.DEFAULTED
    numbered = all(image.name.replace("-", "").isdigit() for image in snapshot.images)
    named = all(image.name for image in snapshot.images)
    name = How.DEFAULTED if numbered else How.CAPTURED if named else How.MISSING
    yield from _of("Image", "the images", {"Name": name})
    yield from _of("Pixels", "the images", {**sizes, "DimensionOrder": order} | ways(snapshot.pixel_size))
    planes = [image.planes for image in snapshot.images]
    listed: Iterable[str] = ("TheZ", "TheT", "TheC") if any(len(p) for p in planes) else ()
    timed: Iterable[str] = ("Timestamp",) if any(len(p) and math.isfinite(p.delta_s[0]) for p in planes) else ()
    yield from _of("Plane", "the planes", dict.fromkeys([*listed, *timed], How.CAPTURED))


def _channel(channel: Channel, used: list[Component]) -> Iterator[Need]:
    who = channel_named(channel.name)
    known = ways(channel.settings)
    numbered = channel.name.removeprefix("channel ").isdigit()
    if channel.name != "unnamed":
        known["Name"] = How.DEFAULTED if numbered else How.CAPTURED
    yield from _of("Channel", who, known)
    for detector in (component for component in used if component.kind == "Detector"):
        type_ = str(detector.attributes["Type"].value) if "Type" in detector.attributes else ""
        if type_ in _POINT:
            yield from _of("PointDetectorSettings", who, known)
            continue
        amplified = frozenset() if type_ in _AMPLIFYING else frozenset(["AmplificationGain"])
        shutterless = frozenset(["SensorExposureMode"]) if type_ in _CAMERA else frozenset()
        yield from _of("CameraSettings", who, known, amplified | shutterless)
    if any(NOUNS.get(c.kind) in ("LED", "laser", "lamp", "light source") for c in used):
        power = [known[name] for name in ("IlluminationPower", "Attenuation") if name in known]
        yield from _of("LightSourceSettings", who, dict.fromkeys(["IlluminationPowerSettings"], power[0]) | known
                       if power else known)  # fmt: skip


def _software(snapshot: Snapshot) -> dict[str, How]:
    known = {}
    if snapshot.developer.get("name") or snapshot.software:
        known["Name"] = How.PROFILE if snapshot.developer.get("name") else How.CAPTURED
    if snapshot.software:
        known["Version"] = How.CAPTURED
    for ours, name in (("developer", "Developer"), ("website", "WebsiteURL")):
        if snapshot.developer.get(ours):
            known[name] = How.PROFILE
    return known


def _is(values: Mapping[str, Captured], name: str, value: object) -> bool:
    return name in values and values[name].value == value
