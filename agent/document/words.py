"""Names of fields and parts in words that a microscopist understands."""

from __future__ import annotations

import re

from agent.contract.record import Component

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
NOUNS = {
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


def whose(component: Component) -> str:
    """A part by what it is and what people call it: `objective Nikon 10X S Fluor`."""
    model = component.attributes.get("Model")
    name = component.label or (str(model.value) if model else component.device or component.id)
    return f"{NOUNS.get(component.kind, component.kind)} {name}"


def words(field: str) -> str:
    """A field of NBO as words: `LensNA` is the numerical aperture."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field)
    return _WORDS.get(field) or " ".join(w if w.isupper() else w.lower() for w in plain.split())


def channel_named(name: str) -> str:
    """`channel DAPI`; a channel that only has a number is called `channel 0` already."""
    return name if name.startswith("channel ") else f"channel {name}"
