"""What slide scanners say in their TIFF tags."""

from __future__ import annotations

import re
from typing import Any

from agent.formats import ome_build, safe_xml
from agent.formats.jsonable import Json
from agent.formats.parts import Parts, date, first_number, given, number, plane, positive
from agent.formats.port import Metadata
from agent.formats.tiff_layout import DATE_TIME, IMAGE_DESCRIPTION
from agent.formats.tiff_page import MAKE, MODEL, RESOLUTION_UNIT, X_RESOLUTION, Head, Page

MAX_PAGES = 20_000
NDPI_FORMAT = 65420
_SOURCE_LENS, _OFFSETS, _FLUORESCENCE, _SERIAL, _PROPERTIES, _WAVELENGTH = 65421, 65422, 65434, 65442, 65449, 65451
_NDPI = {
    65420: "FileFormat", 65421: "Magnification", 65422: "XOffsetFromSlideCenter", 65423: "YOffsetFromSlideCenter",
    65424: "ZOffsetFromSlideCenter", 65425: "TissueIndex", 65427: "Reference", 65428: "AuthCode", 65433: "ScannerModel",
    65434: "Fluorescence", 65435: "ExposureRatio", 65436: "RedMultiplier", 65437: "GreenMultiplier",
    65438: "BlueMultiplier", 65439: "FocusPoints", 65440: "FocusPointRegions", 65441: "CaptureMode",
    65442: "ScannerSerialNumber", 65444: "JpegQuality", 65445: "RefocusInterval", 65446: "FocusOffset",
    65447: "BlankLines", 65448: "FirmwareVersion", 65449: "Comments", 65451: "Wavelength", 65453: "LampAge",
    65454: "ExposureTime", 65455: "FocusTime", 65456: "ScanTime", 65457: "WriteTime", 65458: "FullyAutoFocus",
}  # fmt: skip
_UNITS = {2: 25400.0, 3: 10000.0}
"""Micrometres of an inch and of a centimetre, as TIFF numbers them."""
Pages = list[tuple[Page, str]]


def _resolution(head: Head) -> dict[str, tuple[float, str]]:
    """Pixel sizes of a scanner that writes its true resolution."""
    unit = (head.values(RESOLUTION_UNIT) or (0,))[0]
    found = {}
    for axis, code in (("x", X_RESOLUTION), ("y", X_RESOLUTION + 1)):
        said = head.values(code)
        if unit in _UNITS and len(said) == 2 and said[0] and said[1]:
            found[axis] = (_UNITS[unit] * said[1] / said[0], "µm")
    return found


def aperio(head: Head, pages: Pages) -> Metadata:
    """Aperio: `name = value` behind bars; Left and Top in millimetres of the slide."""
    text = head.text(IMAGE_DESCRIPTION)
    first, *facts = text.split("|")
    said = {key.strip(): value.strip() for key, _, value in (fact.partition("=") for fact in facts)}
    mpp = positive(said.get("MPP"))
    parts = Parts()
    parts.name_microscope(None, "Aperio")
    left, top = number(said.get("Left")), number(said.get("Top"))
    where = [plane(0, 0, 0, um=(left * 1000, top * 1000))] if left is not None and top is not None else []
    steps = {"x": (mpp, "µm"), "y": (mpp, "µm")} if mpp else None
    images = []
    main = head.page.image(
        0,
        said.get("Filename") or head.path.name,
        steps=steps,
        planes=where,
        date=date(f"{said.get('Date')} {said.get('Time')}", "%m/%d/%y %H:%M:%S"),
    )
    if main is None:
        return Metadata(None, {}, {"Aperio": {**said}}, notes=("OME has no pixel type for this image",))
    main.objective_settings = parts.objective(nominal_magnification=positive(said.get("AppMag")))
    images.append(main)
    images += _pictures(pages, ("label", "macro"))
    software = {"Aperio Image Library": first.splitlines()[0].strip()} if first.strip() else {}
    rest: dict[str, Json] = {"Aperio": {**said}, "Aperio description": text}
    return Metadata(parts.ome(images, said.get("User")), software, rest)


def _pictures(pages: Pages, names: tuple[str, ...]) -> list[Any]:
    """Label and overview, which are photographs of the slide without a scale."""
    found: list[Any] = []
    for page, text in pages[1:]:
        named = next((name for name in names if re.search(rf"(?m)^{name}\b", text)), None)
        picture = page.image(len(found) + 1, named) if named else None
        if picture is not None:
            found.append(picture)
    return found


def nanozoomer(head: Head, pages: Pages) -> Metadata:
    """Hamamatsu: numbered tags; places in nanometres from the middle of the slide."""
    rest: dict[str, Json] = {}
    for code, name in _NDPI.items():
        tag = head.tags.get(code)
        if tag is not None:
            said = head.text(code).strip() if tag.type == 2 else list(head.values(code))
            rest[name] = said[0] if isinstance(said, list) and len(said) == 1 else said
    properties = head.text(_PROPERTIES)
    lines = (line.partition("=") for line in properties.splitlines())
    rest["properties"] = {key: value for key, equals, value in lines if equals}
    parts = Parts()
    model = head.text(MODEL, 256) or None
    parts.name_microscope(model, head.text(MAKE, 256) or None)
    offsets = [number(next(iter(head.values(code)), None)) for code in range(_OFFSETS, _OFFSETS + 3)]
    where = [plane(0, 0, 0, um=[None if at is None else at / 1000 for at in offsets])]
    channel = given(name=head.text(_FLUORESCENCE).strip())
    wave = positive(next(iter(head.values(_WAVELENGTH)), None))
    if channel and wave:
        channel |= {"emission_wavelength": wave, "emission_wavelength_unit": "nm"}
    image = head.page.image(
        0,
        head.path.name,
        steps=_resolution(head),
        channels=[channel],
        planes=where if any(at is not None for at in offsets) else [],
        date=date(head.text(DATE_TIME, 64).strip(), "%Y:%m:%d %H:%M:%S"),
    )
    if image is None:
        return Metadata(None, head.software(), {"NDPI": rest}, notes=("OME has no pixel type for this image",))
    lens = positive(next(iter(head.values(_SOURCE_LENS)), None))
    image.objective_settings = parts.objective(nominal_magnification=lens)
    return Metadata(parts.ome([image]), head.software(), {"NDPI": rest})


def full_size(pages: Pages) -> int:
    """Pages of the size of the first one, before the first smaller one: the channels of the full image."""
    count = 0
    for page, _ in pages:
        if (page.width, page.height) != (pages[0][0].width, pages[0][0].height):
            break
        count += 1
    return count


def akoya(head: Head, pages: Pages) -> Metadata:
    """Akoya and PerkinElmer: XML of every page; exposure in microseconds."""
    count = full_size(pages)
    # The text says of itself that it is UTF-16 and is not.
    texts = [re.sub(r"^\s*<\?xml[^>]*\?>", "", text) for _, text in pages[:count]]
    roots = [safe_xml.parse(text.encode(), "the QPI description") for text in texts]
    first = roots[0]

    def said(*path: str) -> str | None:
        return safe_xml.child_text(first, *path)

    parts = Parts()
    parts.name_microscope(said("InstrumentType"), "Akoya" if "Akoya" in (said("DescriptionVersion") or "") else None)
    camera = parts.detector(model=said("CameraName"))
    channels, planes = [], []
    for number_, root in enumerate(roots):
        channels.append(given(name=safe_xml.child_text(root, "Name"), detector_settings=camera))
        exposure = first_number(safe_xml.child_text(root, "ExposureTime"))
        if exposure:
            planes.append(plane(0, number_, 0, exposure_s=exposure / 1e6))
    page = head.page
    rest: dict[str, Json] = {"QPI": [safe_xml.tree(root) for root in roots]}
    version = said("AcquisitionSoftware")
    software = head.software() | ({"Acquisition software": version} if version else {})
    if page.pixels is None:
        return Metadata(None, software, rest, notes=("OME has no pixel type for this image",))
    sizes = {"x": page.width, "y": page.height, "c": count}
    image = ome_build.image(
        0, head.path.name, sizes, page.pixels, steps=_resolution(head), channels=channels, samples=page.samples,
        planes=planes, date=date(said("DateTime") or head.text(DATE_TIME, 64).strip(), "%Y:%m:%d %H:%M:%S"),
    )  # fmt: skip
    name = said("Objective")
    power = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*[xX].*", name or "")
    image.objective_settings = parts.objective(model=name, nominal_magnification=float(power[1]) if power else None)
    return Metadata(parts.ome([image], said("OperatorName")), software, rest)
