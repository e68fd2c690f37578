"""What MetaMorph, MetaXpress and VisiView write into a TIFF file: UIC tags, or XML in the description."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.formats import ome_build, tiff_layout
from agent.formats.jsonable import jsonable
from agent.formats.parts import Parts, date, given, number, positive
from agent.formats.safe_xml import parse

UIC1, UIC2 = 33628, 33629
_SECONDS = {"ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0, "us": 1e-6, "min": 60.0}


@dataclass(slots=True)
class Said:
    """Of one file; lists are by plane. Lengths in micrometres, times in seconds."""

    kind: str = ""
    width: int = 0
    height: int = 0
    samples: int = 1
    name: str = ""
    planes: int = 1
    step: dict[str, tuple[float, str]] = field(default_factory=dict)
    exposure_s: float | None = None
    emission_nm: float | None = None
    binning: str | None = None
    times: list[datetime] = field(default_factory=list)
    stage: list[tuple[float | None, float | None]] = field(default_factory=list)
    z: list[float | None] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    label: str | None = None
    objective: dict[str, Any] = field(default_factory=dict)
    camera: str | None = None
    software: dict[str, str] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)


def has_uic(path: Path) -> bool:
    """Whether MetaMorph wrote the file; Prairie View writes the same tags and is not MetaMorph."""
    found = tiff_layout.layout(path, max_ifds=1)
    if UIC1 not in found.first and UIC2 not in found.first:
        return False
    return not tiff_layout.text(path, found, tiff_layout.SOFTWARE, 64).startswith("Prairie")


def is_metaseries(path: Path) -> bool:
    """Whether MetaXpress or a later MetaMorph wrote its XML into the file."""
    found = tiff_layout.layout(path, max_ifds=1)
    if not found.first or not tiff_layout.text(path, found, tiff_layout.SOFTWARE, 64).startswith("MetaSeries"):
        return False
    return tiff_layout.text(path, found, tiff_layout.IMAGE_DESCRIPTION, 64).lstrip().startswith("<MetaData")


def exposure(text: str) -> float | None:
    """Seconds of `Exposure: 300 ms` in a description."""
    found = re.search(r"Exposure(?: Time)?:? *([\d.]+) *(msec|ms|sec|s|us|min)\b", text)
    value = number(found[1]) if found else None
    return None if value is None or found is None else value * _SECONDS[found[2]]


def metaseries(path: Path) -> Said:
    """The XML of a file. Raises UnreadableError and ValueError."""
    found = tiff_layout.layout(path, max_ifds=1)
    root = parse(tiff_layout.text(path, found, tiff_layout.IMAGE_DESCRIPTION).encode(), "the description")
    flat: dict[str, str] = {}
    for one in root.iter("prop", "custom-prop"):
        flat.setdefault(one.get("id", ""), one.get("value", ""))
    said = Said(rest={"metaseries": dict(flat)}, kind=_kind(path, found))
    said.width, said.height = int(flat.get("pixel-size-x", 0)), int(flat.get("pixel-size-y", 0))
    said.name = flat.get("_IllumSetting_", "")
    if flat.get("spatial-calibration-state", "").lower() in ("on", "true", "1"):
        unit = ome_build.length_unit(flat.get("spatial-calibration-units"))
        for axis in "xy":
            value = positive(flat.get(f"spatial-calibration-{axis}"))
            if unit and value:
                said.step[axis] = (value, unit)
    said.exposure_s = exposure(
        f"Exposure: {flat['Exposure Time']}" if "Exposure Time" in flat else flat.get("Description", "")
    )
    said.emission_nm = positive(flat.get("wavelength"))
    x, y = positive(flat.get("camera-binning-x")), positive(flat.get("camera-binning-y"))
    said.binning = f"{x:g}x{y:g}" if x and y else None
    time = date(flat.get("acquisition-time-local"), "%Y%m%d %H:%M:%S.%f", "%Y%m%d %H:%M:%S")
    said.times = [time] if time else []
    said.stage = [(number(flat.get("stage-position-x")), number(flat.get("stage-position-y")))]
    said.z = [number(flat.get("z-position"))]
    said.label = flat.get("stage-label") or None
    said.objective = _objective(flat)
    camera = re.search(r"Acquired from ([^\r\n]+)", flat.get("Description", ""))
    said.camera = camera[1].strip() if camera else None
    said.software = {flat.get("ApplicationName") or "MetaSeries": flat.get("ApplicationVersion", "")}
    return said


def _kind(path: Path, found: tiff_layout.Layout) -> str:
    bits = tiff_layout.short(path, found, 258)
    return {8: "uint8", 16: "uint16", 32: "float"}.get(bits or 0, "")


def _objective(flat: dict[str, Any]) -> dict[str, Any]:
    return given(
        model=flat.get("_MagSetting_"),
        lens_na=positive(flat.get("_MagNA_")),
        refractive_index=positive(flat.get("_MagRI_")),
    )


def uic(path: Path) -> Said:
    """The UIC tags, read by tifffile. Raises whatever it raises."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first.aspage()
        tags = dict(tiff.stk_metadata or {})
        description = str(page.description or "")
        said = Said(
            kind=ome_build.pixel_type(str(page.dtype)) or "",
            width=page.imagewidth,
            height=page.imagelength,
            samples=int(page.samplesperpixel),
            name=str(tags.get("Name") or ""),
            planes=int(tags.get("NumberPlanes", 1)),
            exposure_s=exposure(description),
            emission_nm=positive(tags.get("wavelength")),
            rest={"uic": jsonable(tags), "ImageDescription": description[:100_000]},
        )
        version = re.match(r"(\D+?) *([\d.]+)$", str(page.software or "").strip())
        said.software = {version[1]: version[2]} if version else {}
    unit = ome_build.length_unit(tags.get("CalibrationUnits"))
    for axis in "xy":
        value = positive(tags.get(f"{axis.upper()}Calibration"))
        if tags.get("SpatialCalibration") and unit and value:
            said.step[axis] = (value, unit)
    binning: Any = tags.get("CameraBin")
    said.binning = f"{binning[0]}x{binning[1]}" if isinstance(binning, tuple) and len(binning) == 2 else None
    said.times = _times(tags)
    said.stage = [(number(float(x)), number(float(y))) for x, y in tags.get("StagePosition", ())]
    said.z = [number(float(z)) for z in tags.get("AbsoluteZ", ())]
    said.distances = [d for one in tags.get("ZDistance", ()) if (d := number(float(one))) is not None]
    labels: Any = tags.get("StageLabel")
    said.label = (str(labels[0]).strip("\0 ") or None) if labels is not None and len(labels) else None
    properties = {
        str(one.get("name")): one.get("value") for one in tags.get("PlaneProperty", ()) if isinstance(one, dict)
    }
    said.objective = _objective(properties)
    said.name = str(properties.get("_IllumSetting_") or "")
    said.exposure_s = said.exposure_s or exposure(f"Exposure: {properties.get('Exposure Time', '')}")
    camera = re.search(r"Acquired from ([^\r\n]+)", description)
    said.camera = camera[1].strip() if camera else None
    return said


def _times(tags: dict[str, Any]) -> list[datetime]:
    created = tags.get("DatetimeCreated")
    listed = [] if created is None else [str(one) for one in created]
    times = [date(one[:26]) for one in listed] or [date(tags.get("CreateTime"))]
    known = [one for one in times if one is not None]
    return known if len(known) == len(times) else []


def channel(parts: Parts, said: Said, name: str | None = None) -> dict[str, Any]:
    """Fields of an OME channel."""
    return given(
        name=name or said.name,
        emission_wavelength=said.emission_nm,
        detector_settings=parts.detector(model=said.camera, binning=said.binning) if said.camera else None,
    )


def objective(parts: Parts, said: Said) -> Any:
    """Objective settings; None where the file names none."""
    return parts.objective(**said.objective) if said.objective else None
