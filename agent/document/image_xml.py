"""OME Image, Pixels and Channel elements, completed from the snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from lxml.etree import Comment, _Element

from agent.contract.record import Captured, Channel, Component
from agent.document.annotations import Annotations, pairs
from agent.document.order import NS, child, fill, make, text
from agent.snapshot import Image, Snapshot, StageLabel

_CHANNEL: dict[str, str | None] = {
    "IlluminationType": None,
    "AcquisitionMode": None,
    "ContrastMethod": None,
    "ExcitationWavelength": "nm",
    "EmissionWavelength": "nm",
    "Fluor": None,
    "PinholeSize": "um",
    "NDFilter": None,
}
_DETECTOR: dict[str, str | None] = {"Gain": None, "Offset": None, "Voltage": "V"}
_BINNINGS = ("1x1", "2x2", "4x4", "8x8")
_LIGHTS = frozenset(["Laser", "LightEmittingDiode", "Arc", "Filament", "GenericExcitationSource"])
_SHOWN = frozenset(
    [*_CHANNEL, *_DETECTOR, "ReadOutRate", "Integration", "Attenuation", "Wavelength", "Zoom", "PockelCellSetting"]
)
"""Settings with a place in OME: the rest goes into the channel's map annotation."""


@dataclass(frozen=True, slots=True)
class Common:
    """What all images share."""

    snapshot: Snapshot
    components: dict[str, Component]
    instrument: str | None
    experimenter: str | None
    hooked: bool
    about: list[tuple[str, list[tuple[str, str]]]]
    """Map annotations of every image: (topic, pairs)."""
    notes: Annotations


def write_image(root: _Element, element: _Element | None, number: int, image: Image, common: Common) -> _Element:
    """Complete or make the element of image `number`, with a comment where TiffData and planes will stand."""
    if element is None:
        element = make(root, "Image")
        element.set("ID", f"Image:{number}")
    if common.hooked:
        element.set("Name", text(image.name))
        # DeltaT counts from the start of the run, so that is what the date must be.
        child(element, "AcquisitionDate").text = common.snapshot.started_at
    if common.experimenter and element.find(f"{{{NS}}}ExperimenterRef") is None:
        make(element, "ExperimenterRef").set("ID", common.experimenter)
    if common.instrument and element.find(f"{{{NS}}}InstrumentRef") is None:
        make(element, "InstrumentRef").set("ID", common.instrument)
    _objective(element, image, common)
    _environment(element, common.snapshot.environment)
    if image.stage is not None and element.find(f"{{{NS}}}StageLabel") is None:
        _stage(make(element, "StageLabel"), image.stage)
    _pixels(element, number, image, common)
    for topic, content in common.about:
        common.notes.attach(element, topic, content)
    return element


def _objective(element: _Element, image: Image, common: Common) -> None:
    known = common.components.get(image.objective or "")
    if known is None or known.kind != "Objective":
        return
    settings = child(element, "ObjectiveSettings")
    if settings.get("ID") is None:
        settings.set("ID", known.id)
    names: dict[str, str | None] = {"CorrectionCollar": None, "Medium": None, "RefractiveIndex": None}
    fill(settings, common.snapshot.objective_settings, names)


def _environment(element: _Element, values: dict[str, Captured]) -> None:
    if not values or element.find(f"{{{NS}}}ImagingEnvironment") is not None:
        return
    made = make(element, "ImagingEnvironment")
    fill(made, values, {"Temperature": "degC"})
    for name in ("Humidity", "CO2Percent"):
        share = values.get(name)
        if share is not None and isinstance(share.value, int | float) and 0 <= share.value <= 100:
            made.set(name, text(share.value / 100))


def _stage(element: _Element, stage: StageLabel) -> None:
    element.set("Name", text(stage.name))
    for axis, value in (("X", stage.x_um), ("Y", stage.y_um), ("Z", stage.z_um)):
        if value is not None:
            element.set(axis, text(value))
            element.set(f"{axis}Unit", "µm")


def _pixels(element: _Element, number: int, image: Image, common: Common) -> None:
    pixels = child(element, "Pixels")
    if pixels.get("ID") is None:
        pixels.set("ID", f"Pixels:{number}")
        pixels.set("DimensionOrder", image.order)
        pixels.set("Type", image.pixel_type)
    for axis, size in zip("XYZCT", image.size, strict=True):
        pixels.set(f"Size{axis}", str(max(size, 1)))
    _sizes(pixels, image, common.snapshot.pixel_size)
    present = pixels.findall(f"{{{NS}}}Channel")
    for place, index in enumerate(image.channels):
        one = present[place] if place < len(present) else make(pixels, "Channel")
        if one.get("ID") is None:
            one.set("ID", f"Channel:{number}:{place}")
            one.set("SamplesPerPixel", str(image.samples))
        _channel(one, common.snapshot.channels[index], common)
    mark = Comment(MARK)
    last = pixels.findall(f"{{{NS}}}Channel")
    if last:
        last[-1].addnext(mark)
    else:
        pixels.insert(0, mark)


MARK = "scope-agent: TiffData and planes"


def _sizes(pixels: _Element, image: Image, known: dict[str, Captured]) -> None:
    """Sizes that are known and that the file does not give itself; never zero."""
    lengths = {"PhysicalSizeX": None, "PhysicalSizeY": None, "PhysicalSizeZ": image.z_step_um}
    for name, own in lengths.items():
        captured = known.get(name)
        value = own if own is not None else captured.value if captured and name != "PhysicalSizeZ" else None
        if pixels.get(name) is None:
            pixels.attrib.pop(f"{name}Unit", None)
            if isinstance(value, int | float) and value > 0:
                pixels.set(name, text(float(value)))
                pixels.set(f"{name}Unit", "µm")
    if image.t_step_s and image.size[4] > 1 and pixels.get("TimeIncrement") is None:
        pixels.set("TimeIncrement", text(image.t_step_s))


def _channel(element: _Element, channel: Channel, common: Common) -> None:
    if element.get("Name") is None and channel.name != "unnamed":
        element.set("Name", text(channel.name))
    fill(element, channel.settings, _CHANNEL)
    for name in ("ExcitationWavelength", "EmissionWavelength"):
        if element.get(name) is None:
            element.attrib.pop(f"{name}Unit", None)
    used = [common.components[i] for i in channel.components if i in common.components]
    _light_source(element, [c for c in used if c.kind in _LIGHTS], channel.settings)
    _detector(element, [c for c in used if c.kind == "Detector"], channel.settings)
    common.notes.attach(element, "channel", _rest(channel.settings))
    if element.find(f"{{{NS}}}LightPath") is None and common.hooked:
        _light_path(element, used)


def _rest(settings: dict[str, Captured]) -> list[tuple[str, str]]:
    leave = set(_SHOWN)
    if str(settings["Binning"].value if "Binning" in settings else "") in _BINNINGS:
        leave.add("Binning")
    rate = settings.get("ReadOutRate")
    if rate is not None and not isinstance(rate.value, int | float):
        leave.discard("ReadOutRate")
    return pairs({name: value for name, value in settings.items() if value.source != "file"}, leave)


def _light_source(element: _Element, lights: list[Component], settings: dict[str, Captured]) -> None:
    if not lights:
        return
    made = child(element, "LightSourceSettings")
    if made.get("ID") is None:
        made.set("ID", lights[0].id)
    fill(made, settings, {"Attenuation": None, "Wavelength": "nm"})


def _detector(element: _Element, detectors: list[Component], settings: dict[str, Captured]) -> None:
    if not detectors:
        return
    made = child(element, "DetectorSettings")
    if made.get("ID") is None:
        made.set("ID", detectors[0].id)
    numeric = {n: v for n, v in settings.items() if isinstance(v.value, int | float)}
    fill(made, numeric, {**_DETECTOR, "ReadOutRate": "MHz"})
    binning = settings.get("Binning")
    if binning is not None and binning.source != "file":
        made.set("Binning", str(binning.value) if binning.value in _BINNINGS else "Other")
    frames = numeric.get("Integration")
    if frames is not None and frames.source != "file" and float(str(frames.value)) >= 1:
        made.set("Integration", str(int(float(str(frames.value)))))


def _light_path(element: _Element, used: list[Component]) -> None:
    """Filters and dichroic by their roles; OME's one dichroic is the first one in the beam."""
    refs: dict[str, list[str]] = {"ExcitationFilterRef": [], "DichroicRef": [], "EmissionFilterRef": []}
    for component in used:
        role = component.attributes.get("Role")
        if component.kind == "Dichroic":
            refs["DichroicRef"] = refs["DichroicRef"] or [component.id]
        elif component.kind == "Filter" and role is not None:
            place = {"excitation": "ExcitationFilterRef", "neutral density": "ExcitationFilterRef"}
            target = "EmissionFilterRef" if role.value == "emission" else place.get(str(role.value))
            if target:
                refs[target].append(component.id)
    if any(refs.values()):
        path = make(element, "LightPath")
        for tag, ids in refs.items():
            for one in ids:
                make(path, tag).set("ID", one)
