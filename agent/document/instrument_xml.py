"""The OME Instrument: every component, its OME attributes in place, the rest in a map annotation."""

from __future__ import annotations

from lxml.etree import _Element

from agent.contract.record import Captured, Component
from agent.document.annotations import Annotations, pairs
from agent.document.order import NS, child, fill, make
from agent.snapshot import Snapshot

_MAKER: dict[str, str | None] = {"Manufacturer": None, "Model": None, "SerialNumber": None, "LotNumber": None}
_LIGHT: dict[str, str | None] = {**_MAKER, "Power": "mW"}
_ATTRIBUTES: dict[str, dict[str, str | None]] = {
    "Microscope": {**_MAKER, "Type": None},
    "Objective": {
        **_MAKER,
        "Correction": None,
        "Immersion": None,
        "LensNA": None,
        "NominalMagnification": None,
        "CalibratedMagnification": None,
        "WorkingDistance": "um",
    },
    "Detector": {**_MAKER, "Type": None},
    "Filter": {**_MAKER, "Type": None},
    "Dichroic": _MAKER,
    "Laser": {**_LIGHT, "Type": None, "LaserMedium": None, "Wavelength": "nm", "Tuneable": None},
    "Arc": {**_LIGHT, "Type": None},
    "Filament": {**_LIGHT, "Type": None},
    "LightEmittingDiode": _LIGHT,
    "GenericExcitationSource": _LIGHT,
}
_RANGE: dict[str, str | None] = {"CutIn": "nm", "CutOut": "nm", "Transmittance": None}
_OWN = frozenset(["Source", "Role"])
"""Said by the element itself or by where it is referenced from."""


def write_instrument(root: _Element, snapshot: Snapshot, notes: Annotations) -> str | None:
    """Complete or make the Instrument; its id, None when nothing is known of the instrument."""
    if not snapshot.microscope and not snapshot.components:
        return None
    instrument = child(root, "Instrument")
    if instrument.get("ID") is None:
        instrument.set("ID", "Instrument:0")
    if snapshot.microscope:
        stand = child(instrument, "Microscope")
        fill(stand, snapshot.microscope, _ATTRIBUTES["Microscope"])
        notes.attach(instrument, "microscope", _rest("Microscope", snapshot.microscope))
    present = {str(e.get("ID")): e for e in root.iterfind(f"{{{NS}}}Instrument/*") if e.get("ID")}
    for component in snapshot.components:
        _write(instrument, component, present.get(component.id), notes)
    return instrument.get("ID")


def _write(instrument: _Element, component: Component, element: _Element | None, notes: Annotations) -> None:
    kind, values = component.kind, component.attributes
    if kind not in _ATTRIBUTES:
        # OME has no element for stages, focus drives and incubators.
        about = [("Kind", kind), *([("Device", component.device)] if component.device else [])]
        notes.attach(instrument, "component", about + pairs(values))
        return
    if element is None:
        element = make(instrument, kind)
        element.set("ID", component.id)
    fill(element, values, _ATTRIBUTES[kind])
    if kind == "Filter":
        _band(element, values)
    notes.attach(element, "component", _place(component) + _rest(kind, values))


def _band(element: _Element, values: dict[str, Captured]) -> None:
    """The one pass band that OME has a place for."""
    edges = dict(values)
    bands = values.get("TransmittanceBands")
    if bands is not None and isinstance(bands.value, list) and len(bands.value) == 2:
        for name, edge in zip(("CutIn", "CutOut"), bands.value, strict=True):
            edges[name] = Captured(value=float(str(edge)), unit="nm", source=bands.source)
    if any(name in edges for name in _RANGE):
        fill(child(element, "TransmittanceRange"), edges, _RANGE)


def _place(component: Component) -> list[tuple[str, str]]:
    return (
        [(key, value) for key, value in (("Device", component.device), ("Label", component.label)) if value]
        if component.device
        else []
    )


def _rest(kind: str, values: dict[str, Captured]) -> list[tuple[str, str]]:
    """What has no OME attribute, and what contradicts another source."""
    leave = set(_ATTRIBUTES[kind]) | _OWN | (set(_RANGE) if kind == "Filter" else set())
    own = {name: v for name, v in values.items() if name not in leave and v.source != "file"}
    bands = own.get("TransmittanceBands")
    if kind == "Filter" and bands is not None and isinstance(bands.value, list) and len(bands.value) == 2:
        own.pop("TransmittanceBands")
    disputed = [(f"{n} (conflict)", v.conflict) for n, v in values.items() if n in leave and v.conflict]
    return pairs(own) + [(key, words) for key, words in disputed if words]
