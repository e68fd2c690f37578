"""Hamamatsu HPD-TA streak cameras: .img with a header of 64 bytes, or TIFF with the same text."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent.formats import binary, ome_build, tiff_layout
from agent.formats.guarded import guarded
from agent.formats.local_dates import day_and_time
from agent.formats.parts import Parts, date, first_number, given, plane
from agent.formats.places import in_one_file
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_layout import DATE_TIME, IMAGE_DESCRIPTION, SOFTWARE, TroubleError
from agent.formats.tiff_page import Head

_TYPES = {0: ("uint8", 1), 2: ("uint16", 2), 3: ("uint32", 4)}
_HEAD = 64
_SECTION = re.compile(r"^\s*\[([^\]]+)\],?(.*)$", re.DOTALL)
_PAIR = re.compile(r'([^=,\s"][^=,"]*)=("[^"]*"|[^,]*)')
_FACTORS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Img:
    """The header of an .img file."""

    width: int
    height: int
    dtype: str
    end: int
    text: str


def _img(path: Path) -> Img:
    """Raises TroubleError."""
    with binary.opened(path) as file:
        mark, comment, width, height, _, _, kind = struct.unpack("<2s6H", file.read(0, 14, "the header"))
        if mark != b"IM" or kind not in _TYPES or not width or not height:
            raise TroubleError(Wholeness.DAMAGED, "the file does not begin as an ITEX image does")
        text = file.read(_HEAD, comment, "the header's text").decode("utf-8", errors="replace")
        dtype, size = _TYPES[kind]
        return Img(width, height, dtype, _HEAD + comment + width * height * size, text)


class HamamatsuStreak:
    """One image of a streak camera."""

    name = "hamamatsu-streak"

    def matches(self, path: Path) -> bool:
        suffix = path.suffix.lower()
        if suffix == ".img":
            first = binary.head(path, 96)
            if len(first) < _HEAD + 32:
                return path.is_file() and b"IM".startswith(first[:2])
            return first.startswith(b"IM") and b"[Application]" in first[_HEAD:]
        if suffix not in (".tif", ".tiff"):
            return False
        try:
            head = Head(path)
            return head.text(SOFTWARE, 64).startswith("HPD-TA") or head.text(IMAGE_DESCRIPTION, 64).startswith(
                "[Application],"
            )
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.main.suffix.lower() != ".img":
            return tiff_layout.layout(dataset.main).verdict
        try:
            end = _img(dataset.main).end
        except TroubleError as trouble:
            return trouble.verdict
        size = dataset.main.stat().st_size
        if size < end:
            return binary.growing(f"{size} of {end} bytes are there")
        return binary.whole("every pixel is there")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        if self.is_whole(dataset).state is Wholeness.DAMAGED:
            return None
        return 1 if self.is_whole(dataset).state is Wholeness.WHOLE else 0

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: in_one_file(_read(dataset.main), dataset))


def fields(text: str) -> dict[str, dict[str, str]]:
    """`[Section],name=value,name="value"` lines."""
    found: dict[str, dict[str, str]] = {}
    for line in re.split(r"\r?\n(?=\[)", text):
        section = _SECTION.match(line)
        if section is not None:
            pairs = _PAIR.findall(section[2])
            found[section[1]] = {key.strip(): value.strip().strip('"') for key, value in pairs}
    return found


def _read(path: Path) -> Metadata:
    if path.suffix.lower() == ".img":
        try:
            img = _img(path)
        except TroubleError as trouble:
            return Metadata(errors=(f"{path.name}: {trouble.verdict.reason}",))
        width, height, dtype, text = img.width, img.height, img.dtype, img.text
        software: dict[str, str] = {}
        written = None
    else:
        head = Head(path)
        text, software = head.text(IMAGE_DESCRIPTION), head.software()
        width, height, dtype = head.page.width, head.page.height, head.page.dtype
        written = date(head.text(DATE_TIME, 64).strip(), "%Y:%m:%d %H:%M:%S")
    said = fields(text)
    application, camera = said.get("Application", {}), said.get("Camera", {})
    name = application.get("Software", "")
    if name:
        software[name] = application.get("SoftwareVersion", "")
    parts = Parts()
    model = camera.get("CameraName")
    serial = re.sub(r"^S/N:\s*", "", camera.get("SerialNumber", ""))
    detector = parts.detector(model=model, serial_number=serial or None, binning=camera.get("BinningKeyVal"))
    clock = application.get("Time", "").partition(".")[0]
    when, doubt = _when(application.get("Date", ""), clock, written)
    exposure = _seconds(said.get("Acquisition", {}).get("ExposureTime", camera.get("ExposureTime")))
    pixels = ome_build.pixel_type(dtype)
    rest: dict[str, Any] = {"HPD-TA": said}
    if pixels is None or not width or not height:
        return Metadata(None, software, rest, notes=("OME has no pixel type for this image",))
    image = ome_build.image(
        0,
        path.name,
        {"x": width, "y": height},
        pixels,
        channels=[given(detector_settings=detector)],
        planes=[plane(0, 0, 0, exposure_s=exposure)] if exposure is not None else [],
        date=when,
    )
    note = "the axes of a streak image are wavelength and time: they have no place in OME's pixel sizes"
    return Metadata(parts.ome([image]), software, rest, notes=(*doubt, note))


def _when(day: str, clock: str, written: datetime | None) -> tuple[datetime | None, tuple[str, ...]]:
    """The date of the acquisition; where it could be two, the one that lies a day at most before the file's."""
    for form in ("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"):
        found = date(f"{day} {clock}", form)
        if found and written and timedelta(0) <= written - found < timedelta(days=1):
            return found, ()
    return day_and_time(day, clock)


def _seconds(text: str | None) -> float | None:
    """`2 ms` in seconds; None without a unit."""
    value = first_number(text)
    factor = _FACTORS.get(re.sub(r"^[-+\d.eE\s]+", "", text or "").strip())
    return None if value is None or factor is None else value * factor
