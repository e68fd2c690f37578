"""The private tags of scanning microscopes: FEI and Thermo, ZEISS SmartSEM and Orion, Fibics Atlas, TESCAN."""

from __future__ import annotations

import re
from pathlib import Path

from agent.formats import safe_xml
from agent.formats.jsonable import Json
from agent.formats.local_dates import day_and_time
from agent.formats.parts import date, first_number, number
from agent.formats.sem_fields import Fields, Scan, sections, um
from agent.formats.tiff_layout import DATE_TIME
from agent.formats.tiff_page import ARTIST, MAKE, MODEL, Head

_ROUNDED = 6e-4
"""Four digits are off by less than that."""
FEI_SFEG, FEI_HELIOS, CZ_SEM, ORION, FIBICS, TESCAN = 34680, 34682, 34118, 65000, 51023, 50431


def fei(text: str) -> Scan:
    """FEI and Thermo Fisher xT: an INI text, SI units."""
    said = sections(text)
    user, system = said.get("User", {}), said.get("System", {})
    beam = said.get(said.get("Beam", {}).get("Beam", ""), {})
    frame = said.get(said.get("Beam", {}).get("Scan", ""), said.get("Scan", {}))
    stage, detectors = said.get("Stage", {}), said.get("Detectors", {})
    place = [number(stage.get(name)) for name in ("StageX", "StageY", "StageZ")]
    version = system.get("Software")
    day, doubt = day_and_time(user.get("Date", ""), user.get("Time", ""))
    return Scan(
        {"FEI": {name: dict(fields) for name, fields in said.items()}, **_of_beam(beam)},
        (number(frame.get("PixelWidth")), number(frame.get("PixelHeight"))),
        day,
        system.get("SystemType") or None,
        "FEI" if version else None,
        detectors.get("Name") or None,
        stage_um=(um(place[0]), um(place[1]), um(place[2])),
        operator=user.get("User") or None,
        software={"xT": version} if version else {},
        notes=doubt,
    )


def _of_beam(beam: Fields) -> dict[str, Json]:
    """The values people ask for, with their units."""
    wanted = {"HV": "accelerating_voltage_V", "WD": "working_distance_m", "BeamCurrent": "beam_current_A"}
    found = {name: number(beam.get(key)) for key, name in wanted.items()}
    dwell = number(beam.get("Dwell"))
    return {name: value for name, value in {**found, "dwell_time_s": dwell}.items() if value is not None}


def smartsem(raw: bytes) -> Scan:
    """ZEISS SmartSEM: numbers, then pairs of a name and a line `label = value unit`."""
    lines = raw.rstrip(b"\0").decode("cp1252", errors="replace").splitlines()
    said: Fields = {}
    head: list[str] = []
    key = ""
    for line in lines:
        if re.fullmatch(r"(AP|DP|SV)_[A-Z0-9_]+", line):
            key = line
        elif key:
            said[key], key = line, ""
        elif not said:
            head.append(line)

    def value(name: str) -> str:
        return re.split(r"\s*[=:]\s*", said.get(name, ""), maxsplit=1)[-1].strip()

    pixel = length_m(value("AP_IMAGE_PIXEL_SIZE"))
    pixel = _exact(pixel if pixel is not None else length_m(value("AP_PIXEL_SIZE")), head)
    model, version = value("DP_SEM"), value("SV_VERSION")
    place = [length_m(value(f"AP_STAGE_AT_{axis}")) for axis in "XYZ"]
    return Scan(
        {"ZEISS SmartSEM": {**said}, "ZEISS SmartSEM header": [*head]},
        (pixel, pixel),
        date(f"{value('AP_DATE')} {value('AP_TIME')}", "%d %b %Y %H:%M:%S"),
        model or None,
        "ZEISS" if said else None,
        value("DP_DETECTOR_CHANNEL") or None,
        _magnification(value("AP_MAG")),
        (um(place[0]), um(place[1]), um(place[2])),
        value("SV_USER_NAME") or None,
        {"SmartSEM": version} if version else {},
    )


def _exact(pixel: float | None, head: list[str]) -> float | None:
    """The size of a pixel with all its digits: the fourth number of the head is the one that the text rounds."""
    exact = number(head[3]) if len(head) > 3 else None
    return exact if pixel and exact is not None and abs(exact / pixel - 1) < _ROUNDED else pixel


def _magnification(text: str) -> float | None:
    """`22.37 K X` as a number."""
    value = first_number(text)
    factor = {"K": 1e3, "M": 1e6}.get(re.sub(r"[-+\d.\s]", "", text.upper())[:1], 1.0)
    return None if value is None else value * factor


_METRES = {
    "m": 1.0,
    "cm": 1e-2,
    "mm": 1e-3,
    "µm": 1e-6,
    "μm": 1e-6,
    "um": 1e-6,
    "microns": 1e-6,
    "nm": 1e-9,
    "pm": 1e-12,
}


def length_m(text: str | None, unit: str | None = None) -> float | None:
    """A length with its unit in metres; None without a unit that is known."""
    value = first_number(text)
    named = unit if unit is not None else re.sub(r"^[-+\d.eE\s]+", "", text or "")
    factor = _METRES.get(named.strip()) or _METRES.get(named.strip().lower())
    return None if value is None or factor is None else value * factor


def orion(raw: bytes) -> Scan:
    """ZEISS Orion helium microscopes: XML of Value and Units."""
    root = safe_xml.parse(raw, "the Orion tag")
    said = {
        str(one.tag): (safe_xml.child_text(one, "Value") or "", safe_xml.child_text(one, "Units") or "") for one in root
    }

    def metres(name: str) -> float | None:
        return length_m(*said.get(name, ("", "")))

    # Its PCs speak every kind of English: AM and PM prove nothing.
    stamp, _, clock = said.get("TimeStamp", ("", ""))[0].partition(" ")
    day, doubt = day_and_time(stamp, clock, month_first=False)
    place = [metres(name) for name in ("StageX", "StageY", "StageZ")]
    return Scan(
        {"ZEISS Orion": safe_xml.tree(root)},
        (metres("ScalingX"), metres("ScalingY")),
        day,
        said.get("System.Model", ("", ""))[0].strip("_ ") or None,
        "ZEISS",
        said.get("DetectorName", ("", ""))[0] or None,
        stage_um=(um(place[0]), um(place[1]), um(place[2])),
        notes=doubt,
    )


def fibics(raw: bytes) -> Scan:
    """Fibics Atlas: XML; steps of a pixel and places in micrometres."""
    root = safe_xml.parse(raw, "the Fibics tag")
    scan = safe_xml.child(root, "Scan")
    dwell = safe_xml.child_text(scan, "Dwell")
    steps = [number(safe_xml.child_text(scan, name)) for name in ("Ux", "Vy")]
    sizes = [abs(step) * 1e-6 if step else None for step in steps]
    stage = [number(safe_xml.child_text(root, "Stage", axis)) for axis in "XYZ"]
    day, doubt = day_and_time(*(safe_xml.child_text(root, "Application", "Date") or "").partition(" ")[::2])
    version = safe_xml.child_text(root, "Application", "Version")
    known: dict[str, Json] = {"dwell_time_ns": dwell} if dwell else {}
    return Scan(
        {"Fibics": safe_xml.tree(root), **known},
        (sizes[0], sizes[1]),
        day or date(safe_xml.child_text(root, "Application", "Date")),
        stage_um=(stage[0], stage[1], stage[2]),
        software={"Fibics Atlas": version} if version else {},
        notes=doubt,
    )


def tescan(head: Head, header: Path | None) -> Scan:
    """TESCAN: the .hdr beside the image, or the copy of its text in a tag; SI units."""
    said: dict[str, Fields] = {}
    if header is not None:
        with header.open("rb") as file:
            said = sections(file.read(1 << 20).decode("utf-8", errors="replace"))
    elif (at := (raw := head.raw(TESCAN)).find(b"AccFrames=")) >= 0:
        said = {"MAIN": sections(raw[at:].decode("utf-8", errors="replace")).get("", {})}
    flat = {key: value for fields in said.values() for key, value in fields.items()}
    place = [number(flat.get(f"Stage{axis}")) for axis in "XYZ"]
    written = head.text(DATE_TIME, 64).strip()
    notes: tuple[str, ...] = ()
    if flat.get("Date"):
        notes = (f"the header's clock says {flat['Date']} {flat.get('Time', '')}, in a zone that it does not name",)
    software = flat.get("SoftwareVersion")
    return Scan(
        {"TESCAN": {name: dict(fields) for name, fields in said.items()}},
        (number(flat.get("PixelSizeX")), number(flat.get("PixelSizeY"))),
        date(written, "%Y:%m:%d %H:%M:%S"),
        flat.get("Device") or head.text(MODEL, 256) or None,
        "TESCAN" if said or "TESCAN" in head.text(MAKE, 256).upper() else None,
        flat.get("Detector") or None,
        number(flat.get("Magnification")),
        (um(place[0]), um(place[1]), um(place[2])),
        flat.get("UserName") or head.text(ARTIST, 256) or None,
        {"TESCAN": software} if software else {},
        notes,
    )
