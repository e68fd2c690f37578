"""The demo run with the demo profile: every tier-1 field of the components it has, its value and where it came from."""

import json
from pathlib import Path

import pytest

from agent import document
from agent.document.completeness import _element, completeness
from agent.snapshot import Snapshot, take
from tests.unit.snapshot.demo_runs import Recorded

NBO = json.loads((Path(document.__file__).parent / "nbo_fields.json").read_text(encoding="utf-8"))["elements"]
OURS = {
    "Magnification": "NominalMagnification",
    "ImmersionType": "Immersion",
    "EffectiveBitDepth": "BitDepth",
    "AnalogGain": "Gain",
    "PixelReadOutRate": "ReadOutRate",
}
INAPPLICABLE = {"Stage:XY": {"ZRepeatability"}}
"""A stage that moves in the plane has no repeatability in Z."""
COMPONENTS = {
    "Objective:Objective.Nikon-10X-S-Fluor": {
        "Manufacturer": ("Nikon", "profile"),
        "Model": ("S Fluor 10x", "profile"),
        "CatalogNumber": ("MRF00100", "profile"),
        "NominalMagnification": (10.0, "profile"),
        "LensNA": (0.5, "profile"),
        "Correction": ("SuperFluor", "profile"),
        "Immersion": ("Air", "profile"),
        "InfinityCorrected": (True, "profile"),
        "ContrastModulation": ("None", "profile"),
        "DIC": (False, "profile"),
    },
    "Filter:Excitation.Chroma-D360": {
        "Manufacturer": ("Chroma", "profile"),
        "Model": ("D360/40x", "profile"),
        "CatalogNumber": ("D360/40x", "profile"),
        "Type": ("BandPass", "profile"),
        "CoatingMethod": ("SoftCoated", "profile"),
        "LightPathLocation": ("Illumination port", "profile"),
    },
    "Filter:Excitation.Chroma-HQ480": {
        "Manufacturer": ("Chroma", "profile"),
        "Model": ("HQ480/40x", "profile"),
        "CatalogNumber": ("HQ480/40x", "profile"),
        "Type": ("BandPass", "profile"),
        "CoatingMethod": ("SoftCoated", "profile"),
        "LightPathLocation": ("Illumination port", "profile"),
    },
    "Filter:Emission.Chroma-HQ535": {
        "Manufacturer": ("Chroma", "profile"),
        "Model": ("HQ535/50m", "profile"),
        "CatalogNumber": ("HQ535/50m", "profile"),
        "Type": ("BandPass", "profile"),
        "CoatingMethod": ("SoftCoated", "profile"),
        "LightPathLocation": ("Camera Port", "profile"),
    },
    "Filter:Emission.Chroma-HQ620": {
        "Manufacturer": ("Chroma", "profile"),
        "Model": ("HQ620/60m", "profile"),
        "CatalogNumber": ("HQ620/60m", "profile"),
        "Type": ("BandPass", "profile"),
        "CoatingMethod": ("SoftCoated", "profile"),
        "LightPathLocation": ("Camera Port", "profile"),
    },
    "Dichroic:Dichroic.400DCLP": {
        "Manufacturer": ("Chroma", "profile"),
        "Model": ("400DCLP", "profile"),
        "CatalogNumber": ("400DCLP", "profile"),
        "Type": ("LongPass", "profile"),
        "CoatingMethod": ("SoftCoated", "profile"),
        "LightPathLocation": ("Infinity space", "profile"),
    },
    "Dichroic:Dichroic.Q505LP": {
        "Manufacturer": ("Chroma", "profile"),
        "Model": ("Q505LP", "profile"),
        "CatalogNumber": ("Q505LP", "profile"),
        "Type": ("LongPass", "profile"),
        "CoatingMethod": ("SoftCoated", "profile"),
        "LightPathLocation": ("Infinity space", "profile"),
    },
    "Detector:Camera": {
        "Manufacturer": ("Hamamatsu", "profile"),
        "Model": ("ORCA-Fusion BT", "profile"),
        "CatalogNumber": ("C15440-20UP", "profile"),
        "PixelWidth": (6.5, "profile"),
        "PixelHeight": (6.5, "profile"),
    },
    "LightSource:White-Light-Shutter": {
        "Manufacturer": ("Excelitas", "profile"),
        "Model": ("X-Cite 120Q", "profile"),
        "CatalogNumber": ("XCITE-120Q", "profile"),
    },
    "Stage:XY": {
        "Manufacturer": ("Maerzhaeuser", "profile"),
        "Model": ("SCAN IM 120 x 80", "profile"),
        "CatalogNumber": ("00-24-570-0000", "profile"),
        "Encoded": ("Rotary", "profile"),
        "Motorized": (True, "profile"),
        "XYRepeatability": (1.0, "profile"),
    },
    "FocusDrive:Z": {
        "Manufacturer": ("Nikon", "profile"),
        "Model": ("Ti2-E focus drive", "profile"),
        "CatalogNumber": ("MEA54000", "profile"),
        "Encoded": ("Linear", "profile"),
        "Motorized": (True, "profile"),
        "ZRepeatability": (0.05, "profile"),
    },
}
STAND = {
    "Manufacturer": ("Nikon", "profile"),
    "Model": ("Eclipse Ti2-E", "profile"),
    "CatalogNumber": ("MEA54000", "profile"),
    "StandType": ("Compound", "profile"),
    "Name": ("Demo microscope", "profile"),
}
CHANNELS = {
    "DAPI": {"Exposure": (10.0, "live", "ms"), "ExcitationWavelength": (360.0, "derived", "nm"),
             "EmissionWavelength": (620.0, "derived", "nm"), "Dichroic.Label": ("400DCLP", "live", None)},
    "FITC": {"Exposure": (20.0, "live", "ms"), "ExcitationWavelength": (480.0, "derived", "nm"),
             "EmissionWavelength": (535.0, "derived", "nm"), "Dichroic.Label": ("Q505LP", "cached", None)},
}  # fmt: skip
SETTINGS = {
    "IlluminationType": ("Epifluorescence", "profile", None),
    "ContrastMethod": ("Fluorescence", "profile", None),
    "AcquisitionMode": ("WideField", "profile", None),
    "BitDepth": ("16bit", "live", None),
    "Gain": (0, "live", None),
    "Offset": (0, "live", None),
    "Binning": ("1x1", "live", None),
    "ReadOutRate": (452.0, "profile", "MHz"),
    "SensorExposureMode": ("Rolling shutter", "profile", None),
    "Temperature": (0.0, "live", "degC"),
    "IlluminationPowerSettings": (100.0, "profile", "%"),
}


@pytest.fixture(scope="module")
def snapshot(tiff_run: Recorded) -> Snapshot:
    return take(tiff_run.acquisition, tiff_run.profile, tiff_run.capture, tiff_run.metadata)


def test_every_component_in_use_is_listed_and_no_other(snapshot: Snapshot) -> None:
    assert set(snapshot.in_use) == set(COMPONENTS)


@pytest.mark.parametrize("name", COMPONENTS)
def test_tier_one_of_a_component(snapshot: Snapshot, name: str) -> None:
    component = next(one for one in snapshot.components if one.id == name)
    element = _element(component)
    required = {OURS.get(field, field) for field in NBO.get(element or "", {}).get("1", [])}
    assert set(COMPONENTS[name]) == required - INAPPLICABLE.get(name, set()), "the list above is not whole"
    for field, (value, source) in COMPONENTS[name].items():
        told = component.attributes[field]
        assert (told.value, told.source) == (value, source), field
        assert told.conflict is None


def test_tier_one_of_the_stand_and_of_the_pixels(snapshot: Snapshot) -> None:
    for field, (value, source) in STAND.items():
        assert (snapshot.microscope[field].value, snapshot.microscope[field].source) == (value, source)
    for axis in "XY":
        size = snapshot.pixel_size[f"PhysicalSize{axis}"]
        assert (size.value, size.unit, size.source) == (1.0, "um", "live")
    assert snapshot.software["MMCore"] == "12.5.1"
    assert snapshot.developer["developer"].startswith("Open Imaging")


@pytest.mark.parametrize("name", CHANNELS)
def test_tier_one_of_a_channel(snapshot: Snapshot, name: str) -> None:
    channel = next(one for one in snapshot.channels if one.name == name)
    required = {
        OURS.get(f, f) for element in ("Channel", "CameraSettings", "LightSourceSettings") for f in NBO[element]["1"]
    }
    # The demo camera is no EMCCD: it has no gain of that kind.
    assert required - {"Name", "AmplificationGain"} <= SETTINGS.keys(), "the list above is not whole"
    for field, expected in (SETTINGS | CHANNELS[name]).items():
        told = channel.settings[field]
        assert (told.value, told.source, told.unit) == expected, field


def test_nothing_contradicts_anything(snapshot: Snapshot) -> None:
    assert snapshot.conflicts == ()
    assert snapshot.notes == ()


def test_how_the_fields_are_known_adds_up(snapshot: Snapshot) -> None:
    tiers = completeness(snapshot)
    for tier in tiers.values():
        assert sum(tier.states.values()) == tier.filled == tier.required - len(tier.missing)
    assert set(tiers["tier1"].states) == {"captured", "profile"}
    assert "channel DAPI: amplification gain" in tiers["tier1"].not_applicable
    assert "stage SCAN IM 120 x 80: repeatability in Z" in tiers["tier1"].not_applicable
    assert tiers["tier1"].defaulted == []
