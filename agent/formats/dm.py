"""Gatan DigitalMicrograph .dm3 and .dm4: whole when the tag tree ends where the length in the header says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.formats import binary, dm_tags, ome_build
from agent.formats.guarded import guarded
from agent.formats.local_dates import with_zone
from agent.formats.parts import Parts, date, given, number, plane, positive
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_layout import TroubleError

_TYPES = {1: "int16", 2: "float32", 3: "complex64", 6: "uint8", 7: "int32", 9: "int8", 10: "uint16", 11: "uint32"}
_TYPES |= {12: "float64", 13: "complex128", 14: "uint8", 23: "uint8"}
_RGB = 23
_TAIL = 8
"""Zeros behind the tags."""
_LENGTHS = {"m": "m", "mm": "mm", "µm": "µm", "um": "µm", "nm": "nm", "pm": "pm", "å": "Å", "a": "Å"}
_FILETIME_S = 11_644_473_600
"""Seconds from 1601, where Windows begins, to 1970."""
_DAYS = ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y-%m-%d", "%Y/%m/%d", "%d-%m-%Y")
_FORMS = tuple(f"{day} {clock}" for clock in ("%I:%M:%S %p", "%H:%M:%S") for day in _DAYS)


class Dm3:
    """Version 3."""

    name = "dm3"
    version = 3
    overhead = (16, 20)
    """Bytes of the file that its length does not count."""

    def matches(self, path: Path) -> bool:
        first = binary.head(path, 16)
        if len(first) < 16:
            return path.suffix.lower() == f".{self.name}" and path.is_file()
        if first[:4] != self.version.to_bytes(4, "big"):
            return False
        flag = first[12:16] if self.version == 4 else first[8:12]
        return flag in (b"\0\0\0\0", b"\0\0\0\1") and path.suffix.lower() in (".dm3", ".dm4")

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        try:
            with binary.opened(dataset.main) as file:
                found = dm_tags.read(file)
                over, left = file.size - found.length, file.size - found.end
                if found.length == 0 or over < self.overhead[0] or left < _TAIL:
                    return binary.growing(
                        f"{found.length + self.overhead[1]} bytes are announced, {file.size} are there"
                    )
                tail = file.read(found.end, min(left, 64), "the end")
        except TroubleError as trouble:
            return trouble.verdict
        if over > self.overhead[1] or left > _TAIL or tail.strip(b"\0"):
            return binary.unknown("bytes follow behind the end that the header announces")
        return binary.whole("the tags end where the header says")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Planes of all images that are no thumbnail."""
        try:
            with binary.opened(dataset.main) as file:
                images = list(_images(dm_tags.read(file).tree))
        except TroubleError as trouble:
            return 0 if trouble.verdict.state is Wholeness.GROWING else None
        return sum(_product(_sizes(image)[2:]) for image in images)

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset.main))


class Dm4(Dm3):
    """Version 4, with 64-bit sizes."""

    name = "dm4"
    version = 4
    overhead = (24, 24)


def _product(sizes: list[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def _images(tree: dm_tags.Tree) -> Iterator[dm_tags.Tree]:
    """The images that are shown; the thumbnails are named in a list of their own."""
    images = _group(tree, "ImageList")
    hidden = {str(_group(one).get("ImageIndex")) for one in _group(tree, "Thumbnails").values()}
    if not hidden and len(images) > 1:
        hidden = {"0"}
    for number_, image in images.items():
        if number_ not in hidden and _sizes(image):
            yield image


def _group(value: Any, *path: str) -> dm_tags.Tree:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _sizes(image: dm_tags.Tree) -> list[int]:
    sizes = [size for size in _group(image, "ImageData", "Dimensions").values() if isinstance(size, int)]
    return sizes if all(0 < size < 1 << 31 for size in sizes) else []


def _read(path: Path) -> Metadata:
    with binary.opened(path) as file:
        try:
            tree = dm_tags.read(file).tree
        except TroubleError as trouble:
            return Metadata(errors=(f"{path.name}: {trouble.verdict.reason}",))
    parts = Parts()
    shown = list(_images(tree))
    notes: list[str] = []
    images: list[Any] = []
    for image in shown:
        made = _image(len(images), image, path, parts, notes)
        if made is not None:
            images.append(made)
    tags = _group(shown[0], "ImageTags") if shown else {}
    operator = str(_group(tags, "Session Info").get("Operator") or "") or None
    version = str(_group(tags, "GMS Version").get("Created") or "")
    software = {"DigitalMicrograph": version} if version else {}
    ome = parts.ome(images, operator) if images else None
    return Metadata(ome, software, {"DigitalMicrograph": _plain(tree)}, notes=tuple(dict.fromkeys(notes)))


def _image(index: int, image: dm_tags.Tree, path: Path, parts: Parts, notes: list[str]) -> Any:
    data, tags = _group(image, "ImageData"), _group(image, "ImageTags")
    kind = data.get("DataType")
    pixels = ome_build.pixel_type(_TYPES.get(kind if isinstance(kind, int) else 0, ""))
    sizes = _sizes(image)
    if pixels is None:
        notes.append(f"image {index}: OME has no pixel type for DigitalMicrograph's type {kind}")
        return None
    calibrations = list(_group(data, "Calibrations", "Dimension").values())
    steps: dict[str, tuple[float, str]] = {}
    for axis, calibration in zip("xyz", calibrations, strict=False):
        unit = _LENGTHS.get(str(_group(calibration).get("Units", "")).strip().lower())
        scale = positive(_group(calibration).get("Scale"))
        if unit and scale:
            steps[axis] = (scale, unit)
    info, bar = _group(tags, "Microscope Info"), _group(tags, "DataBar")
    depth = _product(sizes[2:])
    spatial = "z" in steps and len(sizes) == 3
    if not spatial:
        steps.pop("z", None)
    if depth > 1 and not spatial:
        units = [str(_group(one).get("Units", "")) for one in calibrations[2:]]
        notes.append(f"image {index}: its further axes {units} are none of OME's: they count as T")
    if parts.microscope is None:
        vendor = str(_group(info, "Type").get("Vendor") or "") or None
        parts.name_microscope(str(info.get("Name") or "") or None, vendor)
    device, signal = (str(bar.get(name) or "") or None for name in ("Device Name", "Signal Name"))
    channel = given(name=signal, detector_settings=parts.detector(model=device))
    made = ome_build.image(
        index,
        str(image.get("Name") or "").strip() or path.name,
        {"x": sizes[0], "y": sizes[1] if len(sizes) > 1 else 1, "z" if spatial else "t": depth},
        pixels,
        steps=steps,
        channels=[channel],
        samples=4 if kind == _RGB else 1,
        planes=_plane(info, tags, bar),
        date=_when(bar),
    )
    made.objective_settings = parts.objective(nominal_magnification=positive(info.get("Indicated Magnification")))
    return made


def _plane(info: dm_tags.Tree, tags: dm_tags.Tree, bar: dm_tags.Tree) -> list[dict[str, Any]]:
    """Stage in micrometres, and the exposure of a camera; a scan has a dwell time instead."""
    stage = _group(info, "Stage Position")
    exposure = positive(bar.get("Exposure Time (s)"))
    if exposure is None:
        exposure = positive(_group(tags, "Acquisition", "Parameters", "High Level").get("Exposure (s)"))
    if exposure is None and not stage:
        return []
    return [plane(0, 0, 0, exposure_s=exposure, um=[number(stage.get(f"Stage {axis}")) for axis in "XYZ"])]


def _when(bar: dm_tags.Tree) -> datetime | None:
    """The local date in the PC's language; its system time in UTC says which date it is, and the zone."""
    said = str(bar.get("Acquisition Time (OS)") or "")
    system = number(said)
    if system is None or system <= 0:
        return None
    try:
        utc = datetime.fromtimestamp(round(system / 1e7 - _FILETIME_S, 3), tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None
    text = f"{bar.get('Acquisition Date', '')} {bar.get('Acquisition Time', '')}"
    for form in _FORMS:
        found = with_zone(date(text, form), utc)
        if found is not None:
            return found
    return utc


def _plain(value: Any) -> Any:
    """The tree as JSON; unnamed members as a list."""
    if isinstance(value, dict):
        if value and all(name == str(i) for i, name in enumerate(value)):
            return [_plain(one) for one in value.values()]
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and number(value) is None else value
