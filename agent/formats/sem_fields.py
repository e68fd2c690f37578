"""What an electron or ion microscope's TIFF says, before it becomes OME."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent.formats.jsonable import Json
from agent.formats.parts import Parts, given, plane
from agent.formats.port import Metadata
from agent.formats.tiff_page import Head

Fields = dict[str, str]


@dataclass(slots=True)
class Scan:
    """The facts of one scanned image; None where the file does not say."""

    vendor: dict[str, Json]
    """Everything, losslessly, under the vendor's name."""
    pixel_m: tuple[float | None, float | None] = (None, None)
    date: datetime | None = None
    microscope: str | None = None
    manufacturer: str | None = None
    detector: str | None = None
    magnification: float | None = None
    stage_um: tuple[float | None, float | None, float | None] = (None, None, None)
    operator: str | None = None
    software: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def sections(text: str) -> dict[str, Fields]:
    """An INI text, as it is: no interpolation, no doubts about duplicates, no lower case."""
    found: dict[str, Fields] = {}
    current = found.setdefault("", {})
    for line in text.splitlines():
        plain = line.strip()
        if plain.startswith("[") and plain.endswith("]"):
            current = found.setdefault(plain[1:-1], {})
        elif "=" in plain:
            key, _, value = plain.partition("=")
            current[key.strip()] = value.strip()
    return {name: fields for name, fields in found.items() if fields}


def um(metres: float | None) -> float | None:
    """Micrometres."""
    return None if metres is None else metres * 1e6


def to_metadata(head: Head, scan: Scan) -> Metadata:
    """The OME document of a single scanned image."""
    parts = Parts()
    parts.name_microscope(scan.microscope, scan.manufacturer)
    channel: dict[str, Any] = {}
    if scan.detector:
        channel = given(name=scan.detector, detector_settings=parts.detector(model=scan.detector))
    steps = {axis: (size * 1e9, "nm") for axis, size in zip("xy", scan.pixel_m, strict=True) if size and size > 0}
    where = [plane(0, 0, 0, um=scan.stage_um)] if any(v is not None for v in scan.stage_um) else []
    image = head.page.image(0, head.path.name, steps=steps, channels=[channel], planes=where, date=scan.date)
    software = {**head.software(), **scan.software}
    if image is None:
        return Metadata(None, software, scan.vendor, notes=(*scan.notes, "OME has no pixel type for this image"))
    if scan.magnification and scan.magnification > 0:
        image.objective_settings = parts.objective(nominal_magnification=scan.magnification)
    ome = parts.ome([image], scan.operator)
    return Metadata(ome, software, scan.vendor, notes=scan.notes)
