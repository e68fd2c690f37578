"""Instrument and channels of a CZI file's XML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent.formats.parts import Parts, choice, first_number, given, number, positive
from agent.formats.safe_xml import child, child_text, children

if TYPE_CHECKING:
    from lxml.etree import _Element
    from ome_types.model import ObjectiveSettings


def _model(element: _Element | None) -> str | None:
    return child_text(element, "Manufacturer", "Model")


def instrument(parts: Parts, info: _Element | None) -> ObjectiveSettings | None:
    """Name the microscope, and the objective that the image refers to; None where it is not said."""
    found, image = child(info, "Instrument"), child(info, "Image")
    for one in children(found, "Microscopes", "Microscope")[:1]:
        parts.name_microscope(
            _model(one) or one.get("Name") or child_text(one, "System"),
            child_text(one, "Manufacturer", "Manufacturer"),
            child_text(one, "Type"),
        )
    for one in children(found, "Detectors", "Detector"):
        _detector(parts, one)
    for one in children(found, "LightSources", "LightSource"):
        _light(parts, one)
    settings = child(image, "ObjectiveSettings")
    reference = child(settings, "ObjectiveRef")
    objectives = children(found, "Objectives", "Objective")
    wanted = reference.get("Id") if reference is not None else None
    for one in objectives:
        if one.get("Id") == wanted or (wanted is None and len(objectives) == 1):
            return parts.objective(
                model=_model(one) or one.get("Name"),
                lens_na=positive(child_text(one, "LensNA")),
                nominal_magnification=positive(child_text(one, "NominalMagnification")),
                immersion=child_text(one, "Immersion"),
                correction=child_text(one, "Correction"),
                working_distance_um=positive(child_text(one, "WorkingDistance")),
                refractive_index=positive(child_text(settings, "RefractiveIndex")),
                medium=child_text(settings, "Medium"),
            )
    return None


def channel_fields(parts: Parts, top: _Element, index: int) -> dict[str, Any]:
    """Fields of an OME channel: the acquisition's own words, the name from the display settings if need be."""
    from ome_types import model

    info = child(top, "Information")
    channels = children(info, "Image", "Dimensions", "Channels", "Channel")
    shown = children(top, "DisplaySetting", "Channels", "Channel")
    display = shown[index] if index < len(shown) else None
    if index >= len(channels):
        return given(name=None if display is None else display.get("Name"))
    one = channels[index]
    name = one.get("Name") or (display.get("Name") if display is not None and len(shown) == len(channels) else None)
    color = re.fullmatch(r"#[0-9A-Fa-f]{2}([0-9A-Fa-f]{6})", child_text(one, "Color") or "")
    return given(
        name=name,
        color=model.Color(f"#{color[1]}") if color else None,
        fluor=child_text(one, "Fluor"),
        acquisition_mode=choice(model.Channel_AcquisitionMode, child_text(one, "AcquisitionMode")),
        contrast_method=choice(model.Channel_ContrastMethod, child_text(one, "ContrastMethod")),
        illumination_type=choice(model.Channel_IlluminationType, child_text(one, "IlluminationType")),
        excitation_wavelength=positive(child_text(one, "ExcitationWavelength")),
        emission_wavelength=positive(child_text(one, "EmissionWavelength")),
        pinhole_size=positive(child_text(one, "PinholeSize")),
        detector_settings=_detector_settings(parts, info, one),
        light_source_settings=_light_settings(parts, info, one),
        light_path=_light_path(parts, info, one),
    )


def _detector(parts: Parts, one: _Element, **more: Any) -> Any:
    return parts.detector(
        kind=child_text(one, "Type"),
        model=_model(one) or one.get("Name") or child_text(one, "Type"),
        manufacturer=child_text(one, "Manufacturer", "Manufacturer"),
        serial_number=child_text(one, "Manufacturer", "SerialNumber"),
        **more,
    )


def _detector_settings(parts: Parts, info: _Element | None, channel: _Element) -> Any:
    settings = child(channel, "DetectorSettings")
    reference = child(settings, "Detector")
    for one in children(info, "Instrument", "Detectors", "Detector"):
        if reference is not None and one.get("Id") == reference.get("Id"):
            values = given(
                gain=number(child_text(settings, "Gain")),
                offset=number(child_text(settings, "Offset")),
                voltage=number(child_text(settings, "Voltage")),
            )
            return _detector(parts, one, binning=child_text(settings, "Binning"), settings=values)
    return None


def _light(parts: Parts, one: _Element) -> str | None:
    kinds = child(one, "LightSourceType")
    kind = next((str(part.tag) for part in kinds if isinstance(part.tag, str)), None) if kinds is not None else None
    # ZEN writes the power of lasers in milliwatts and of lamps in percent: only a laser's is kept.
    power = positive(child_text(one, "Power")) if kind == "Laser" else None
    return parts.light(
        kind,
        model=(_model(one) or one.get("Name") or one.get("Id") or "").strip(),
        wavelength_nm=positive(child_text(kinds, "Laser", "Wavelength")),
        power_mw=power,
    )


def _light_settings(parts: Parts, info: _Element | None, channel: _Element) -> Any:
    for settings in children(channel, "LightSourcesSettings", "LightSourceSettings")[:1]:
        reference = child(settings, "LightSource")
        for one in children(info, "Instrument", "LightSources", "LightSource"):
            if reference is not None and one.get("Id") == reference.get("Id"):
                intensity = child_text(settings, "Intensity")
                share = first_number(intensity) if intensity and intensity.endswith("%") else None
                return parts.light_settings(
                    _light(parts, one),
                    positive(child_text(settings, "Wavelength")),
                    number(child_text(settings, "Attenuation")) if share is None else 1 - share / 100,
                )
    return None


def _light_path(parts: Parts, info: _Element | None, channel: _Element) -> Any:
    reference = child(channel, "FilterSetRef")
    reference = child(channel, "FilterSet") if reference is None else reference
    filters = {one.get("Id"): one for one in children(info, "Instrument", "Filters", "Filter")}
    for one in children(info, "Instrument", "FilterSets", "FilterSet"):
        if reference is None or one.get("Id") != reference.get("Id"):
            continue
        found = {
            kind: [
                _filter(parts, filters.get(ref.get("Id")))
                for ref in children(one, f"{kind}Filters", f"{kind}FilterRef")
            ]
            for kind in ("Excitation", "Emission")
        }
        return parts.light_path(found["Excitation"], None, found["Emission"])
    return None


def _filter(parts: Parts, one: _Element | None) -> str | None:
    if one is None:
        return None
    cut = child(one, "TransmittanceRange")
    return parts.filter(
        model=_model(one) or one.get("Name"),
        cut_nm=(number(child_text(cut, "CutIn")), number(child_text(cut, "CutOut"))),
    )
