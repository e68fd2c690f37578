"""What TIA says in the XML of its .emi and in the header of its series."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build, safe_xml
from agent.formats.jsonable import Json
from agent.formats.ome_xml import MAX_PLANES, UnreadableError
from agent.formats.parts import Parts, date, first_number, given, plane, positive
from agent.formats.port import Metadata
from agent.formats.sem_fields import um
from agent.formats.sem_vendors import length_m
from agent.formats.ser import Series

if TYPE_CHECKING:
    from lxml.etree import _Element

_NOTE = "a spectrum has no place in OME: its sizes and steps are kept beside it"


def read(found: list[tuple[Path, Series]], said: list[bytes], errors: tuple[str, ...]) -> Metadata:
    """The series in order, each with the XML of its number."""
    roots: list[_Element] = []
    for number, raw in enumerate(said):
        try:
            roots.append(safe_xml.parse(raw, f"the XML of signal {number + 1}"))
        except UnreadableError as error:
            errors = (*errors, str(error))
    parts = Parts()
    images: list[Any] = []
    notes: list[str] = []
    rest: dict[str, Json] = {f"ObjectInfo {i + 1}": safe_xml.tree(root) for i, root in enumerate(roots)}
    operator = None
    for i, (path, series) in enumerate(found):
        root = roots[i] if i < len(roots) else None
        facts = _facts(root)
        operator = operator or facts.get("User", ("", ""))[0] or None
        rest[path.name] = _kept(series)
        image = _image(len(images), path, series, root, facts, parts) if series.height else None
        if image is not None:
            images.append(image)
        elif series.width and not series.height:
            notes.append(_NOTE)
    ome = parts.ome(images, operator) if images else None
    return Metadata(ome, {"TIA": ""} if roots else {}, rest, errors, tuple(dict.fromkeys(notes)))


def _kept(series: Series) -> Json:
    axes: list[Json] = [{"size": one.size, "step": one.step, "unit": one.unit, "name": one.name} for one in series.axes]
    return {
        "planned": series.total, "saved": series.valid, "width": series.width, "height": series.height,
        "dtype": series.dtype, "steps": list(series.steps), "seconds since 1970": list(series.seconds[:MAX_PLANES]),
        "dimensions": axes,
    }  # fmt: skip


def _facts(root: _Element | None) -> dict[str, tuple[str, str]]:
    """Label, value and unit of the experiment's description."""
    found: dict[str, tuple[str, str]] = {}
    for one in [] if root is None else root.iter("Data"):
        label = safe_xml.child_text(one, "Label")
        if label:
            found[label] = (safe_xml.child_text(one, "Value") or "", safe_xml.child_text(one, "Unit") or "")
    return found


def _when(root: _Element | None) -> datetime | None:
    said = None if root is None else next((e.text for e in root.iter("AcquireDate")), None)
    return date(said, "%a %b %d %H:%M:%S %Y")


def _image(
    index: int, path: Path, series: Series, root: _Element | None, facts: dict[str, tuple[str, str]], parts: Parts
) -> Any:
    pixels = ome_build.pixel_type(series.dtype)
    if pixels is None:
        return None
    microscope = facts.get("Microscope", ("", ""))[0]
    if microscope and parts.microscope is None:
        parts.name_microscope(microscope, "FEI")
    camera = None if root is None else next((e.text for e in root.iter("CameraNamePath")), None)
    steps = {axis: (abs(size) * 1e9, "nm") for axis, size in zip("xy", series.steps, strict=True) if size}
    image = ome_build.image(
        index,
        path.name,
        {"x": series.width, "y": series.height, "t": series.valid},
        pixels,
        steps=steps if _is_length(facts) else None,
        channels=[given(detector_settings=parts.detector(model=(camera or "").strip() or None))],
        planes=_planes(series, facts),
        date=_when(root),
    )
    nominal = positive(first_number(facts.get("Magnification", ("", ""))[0]))
    image.objective_settings = parts.objective(nominal_magnification=nominal)
    return image


def _is_length(facts: dict[str, tuple[str, str]]) -> bool:
    """In diffraction the steps of a series are reciprocal."""
    return (
        "diffraction" not in facts.get("Mode", ("", ""))[0].lower() or "STEM" in facts.get("Mode", ("", ""))[0].upper()
    )


def _planes(series: Series, facts: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    where = [um(length_m(*facts.get(f"Stage {axis}", ("", "")))) for axis in "XYZ"]
    first = series.seconds[0] if series.seconds else 0
    times = series.seconds[:MAX_PLANES]
    several = series.valid > 1
    return [plane(0, 0, t, delta_s=float(at - first) if several else None, um=where) for t, at in enumerate(times)]
