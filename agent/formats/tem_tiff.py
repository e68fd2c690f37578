"""TIFF of transmission electron microscopes: FEI TIA (XML), Olympus Soft Imaging iTEM, TVIPS EM-MENU."""

from __future__ import annotations

import struct
from typing import Any

from agent.formats import binary, safe_xml, tiff_layout, vsi_tags
from agent.formats.jsonable import Json, jsonable
from agent.formats.parts import Parts, date, first_number, given, number, plane, positive
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.sem_fields import Scan, to_metadata, um
from agent.formats.sem_vendors import FEI_HELIOS, length_m
from agent.formats.single import judged
from agent.formats.tiff_layout import DATE_TIME, Tag
from agent.formats.tiff_page import ARTIST, MAKE, MODEL, Head, values
from agent.formats.vendor_tiff import VendorTiff

_X_RATIO, _EXIF, _EXPOSURE = 65450, 34665, 33434
_TVIPS, _SIS = 37706, 33560
_CENTIMETRE = 3
_NO_PIXELS = "OME has no pixel type for this image"


class TemTiff(VendorTiff):
    """One image of a transmission electron microscope."""

    name = "tem-tiff"

    def claims(self, head: Head) -> bool:
        if FEI_HELIOS in head.tags:
            return head.raw(FEI_HELIOS, 64).lstrip().startswith(b"<")
        if _TVIPS in head.tags:
            return True
        return _SIS in head.tags or head.text(MAKE, 256).startswith("Olympus Soft Imaging")

    def is_whole(self, dataset: Dataset) -> Verdict:
        found = tiff_layout.layout(dataset.main).verdict
        return judged(dataset.main, _block) if found.state is Wholeness.WHOLE else found

    def read(self, head: Head, dataset: Dataset) -> Metadata:
        if FEI_HELIOS in head.tags:
            return to_metadata(head, _tia(head))
        if _TVIPS in head.tags:
            return to_metadata(head, _tvips(head))
        return _soft_imaging(head)


def _block(file: binary.Binary) -> Verdict:
    """Soft Imaging's own tags lie behind all that TIFF knows of; nothing but their own chain leads to their end."""
    own = file.size > 24 and vsi_tags.begins(file.read(8, 4, "the tags of Soft Imaging"))
    if own and (need := vsi_tags.end(file)) > file.size:
        return binary.growing(f"{need} bytes are announced by the tags of Soft Imaging, {file.size} are there")
    return binary.whole("every plane that the file lists is there")


def _tia(head: Head) -> Scan:
    """FEI TIA: labels, values and units as XML; the pixel size in tags of its own."""
    root = safe_xml.parse(head.raw(FEI_HELIOS), "the FEI tag")
    said: dict[str, tuple[str, str]] = {}
    for one in root.iter("Data"):
        label = safe_xml.child_text(one, "Label")
        if label:
            said[label] = (safe_xml.child_text(one, "Value") or "", safe_xml.child_text(one, "Unit") or "")
    sizes: list[float | None] = []
    for code in (_X_RATIO, _X_RATIO + 1):
        ratio = head.values(code)
        known = len(ratio) == 2 and all(ratio) and head.values(_X_RATIO + 2) == (_CENTIMETRE,)
        # Per centimetre, as everywhere in TIFF.
        sizes.append(0.01 * ratio[1] / ratio[0] if known else None)
    place = [length_m(*said.get(f"Stage {axis}", ("", ""))) for axis in "XYZ"]
    return Scan(
        {"FEI TIA": safe_xml.tree(root)},
        (sizes[0], sizes[1]),
        microscope=said.get("Microscope", ("", ""))[0] or None,
        manufacturer="FEI",
        magnification=first_number(said.get("Magnification", ("", ""))[0]),
        stage_um=(um(place[0]), um(place[1]), um(place[2])),
        operator=said.get("User", ("", ""))[0] or None,
    )


def _tvips(head: Head) -> Scan:
    """TVIPS EM-MENU: a structure; version 2 has the size of a pixel in nanometres."""
    import tifffile

    with tifffile.TiffFile(head.path) as tiff:
        said = dict(tiff.tvips_metadata or {})
    nm = [positive(said.get(f"PixelSize{axis}")) for axis in "XY"]
    sizes = [None if size is None else size * 1e-9 for size in nm]
    return Scan(
        {"TVIPS": jsonable(said)},
        (sizes[0], sizes[1]),
        microscope=str(said.get("TemType") or "").strip() or None,
        detector=str(said.get("CameraType") or "").strip() or None,
        magnification=positive(said.get("TemMagnification")),
    )


def _soft_imaging(head: Head) -> Metadata:
    """Olympus Soft Imaging: a block of its own, or the tags of a photograph."""
    rest: dict[str, Json] = {}
    said: dict[str, Any] = {}
    if _SIS in head.tags:
        import tifffile

        with tifffile.TiffFile(head.path) as tiff:
            said = dict(tiff.sis_metadata or {})
        rest["SIS"] = jsonable({key: str(value) if key == "datetime" else value for key, value in said.items()})
    parts = Parts()
    camera = head.text(MODEL, 256) or str(said.get("cameraname") or "").strip() or None
    exposure = _exif_exposure(head)
    if exposure is not None:
        rest["Exif ExposureTime s"] = exposure
    size = {axis: positive(said.get(f"pixelsize{axis}")) for axis in "xy"}
    image = head.page.image(
        0,
        head.path.name,
        steps={axis: (step * 1e9, "nm") for axis, step in size.items() if step},
        channels=[given(detector_settings=parts.detector(model=camera))],
        planes=[plane(0, 0, 0, exposure_s=exposure)] if exposure else [],
        date=date(head.text(DATE_TIME, 64).strip(), "%Y:%m:%d %H:%M:%S") or said.get("datetime"),
    )
    if image is None:
        return Metadata(None, head.software(), rest, notes=(_NO_PIXELS,))
    image.objective_settings = parts.objective(nominal_magnification=positive(said.get("magnification")))
    return Metadata(parts.ome([image], head.text(ARTIST, 256) or None), head.software(), rest)


def _exif_exposure(head: Head) -> float | None:
    """Seconds, of the directory that cameras write."""
    places = head.values(_EXIF)
    if not places:
        return None
    order = head.layout.byteorder
    with head.path.open("rb") as file:
        file.seek(places[0])
        (count,) = struct.unpack(order + "H", file.read(2))
        for code, kind, many, at in struct.iter_unpack(order + "HHII", file.read(min(count, 512) * 12)):
            if code == _EXPOSURE and kind == 5 and many == 1:
                ratio = values(file, head.layout, Tag(kind, many, at, 8))
                return number(ratio[0] / ratio[1]) if len(ratio) == 2 and ratio[1] else None
    return None
