"""OME-XML elements: made, found, and placed in the order that the schema demands."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lxml.etree import SubElement, _Element

from agent.contract.record import Captured

NS = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_LIGHTS = ("Laser", "Arc", "Filament", "LightEmittingDiode", "GenericExcitationSource")
_ORDER: dict[str, tuple[str, ...]] = {
    "OME": (
        "Rights", "Project", "Dataset", "Folder", "Experiment", "Plate", "Screen", "Experimenter",
        "ExperimenterGroup", "Instrument", "Image", "StructuredAnnotations", "ROI",
    ),
    "Instrument": ("Microscope", _LIGHTS[0], "Detector", "Objective", "FilterSet", "Filter", "Dichroic",
                   "AnnotationRef"),
    "Image": (
        "AcquisitionDate", "ExperimenterRef", "Description", "ExperimentRef", "ExperimenterGroupRef",
        "InstrumentRef", "ObjectiveSettings", "ImagingEnvironment", "StageLabel", "Pixels", "ROIRef",
        "MicrobeamManipulationRef", "AnnotationRef",
    ),
    "Pixels": ("Channel", "BinData", "TiffData", "MetadataOnly", "Plane"),
    "Channel": ("LightSourceSettings", "DetectorSettings", "FilterSetRef", "AnnotationRef", "LightPath"),
    "LightPath": ("ExcitationFilterRef", "DichroicRef", "EmissionFilterRef", "AnnotationRef"),
    "Filter": ("TransmittanceRange", "AnnotationRef"),
    "Laser": ("AnnotationRef", "Pump"),
    "GenericExcitationSource": ("AnnotationRef", "Map"),
}  # fmt: skip
_UNITS = {"um": "µm", "degC": "°C"}
"""The record's spelling of units to OME's, where they differ."""


def name(element: _Element) -> str:
    """Name without namespace; empty for comments."""
    return str(element.tag).rpartition("}")[2] if isinstance(element.tag, str) else ""


def make(parent: _Element, tag: str) -> _Element:
    """A new child at the place that the schema gives it, behind others of its name."""
    child = SubElement(parent, f"{{{NS}}}{tag}")
    ranks = _ORDER.get(name(parent), ())
    mine = _rank(ranks, tag)
    if mine >= 0:
        for sibling in parent:
            if sibling is not child and _rank(ranks, name(sibling)) > mine:
                sibling.addprevious(child)
                break
    return child


def _rank(ranks: tuple[str, ...], tag: str) -> int:
    # The kinds of light sources may stand in any order among themselves.
    group = _LIGHTS[0] if tag in _LIGHTS else tag
    return ranks.index(group) if group in ranks else -1


def child(parent: _Element, tag: str) -> _Element:
    """The first child of that name, made when there is none."""
    found = parent.find(f"{{{NS}}}{tag}")
    return make(parent, tag) if found is None else found


def text(value: object) -> str:
    """A value as XML writes it: `true`, `0.5`, `10`; signs that XML cannot hold are replaced."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.12g}" if isinstance(value, float) else _NO_XML.sub("\ufffd", str(value))


_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXTS = frozenset(
    ["Manufacturer", "Model", "SerialNumber", "LotNumber", "Type", "Correction", "Immersion", "Medium", "Fluor",
     "LaserMedium", "Tuneable", "IlluminationType", "AcquisitionMode", "ContrastMethod"]
)  # fmt: skip
_POSITIVE = frozenset(["Wavelength", "ExcitationWavelength", "EmissionWavelength", "CutIn", "CutOut"])
_SHARES = frozenset(["Attenuation", "Transmittance", "NDFilter"])


def fill(element: _Element, values: Mapping[str, Captured], names: Mapping[str, str | None]) -> None:
    """Set the attributes `names` (with the record's unit, if any) that are known; those from the file stay.

    A value that the schema forbids (a wavelength of 0, a number that is text) is left to the record.
    """
    for attribute, unit in names.items():
        known = values.get(attribute)
        if known is None or not _allowed(attribute, known.value):
            continue
        if known.source == "file" and element.get(attribute) is not None:
            continue
        element.set(attribute, text(known.value))
        if unit is not None:
            own = known.unit or unit
            element.set(f"{attribute}Unit", _UNITS.get(own, own))


def _allowed(attribute: str, value: object) -> bool:
    if attribute in _TEXTS:
        return isinstance(value, str | int | float)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return not (attribute in _POSITIVE and value <= 0) and not (attribute in _SHARES and not 0 <= value <= 1)
