"""Princeton Instruments .spe: a header of 4100 bytes, the frames, and from version 3 on an XML behind them."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.formats import binary, ome_build, safe_xml
from agent.formats.guarded import guarded
from agent.formats.jsonable import Json
from agent.formats.ome_xml import UnreadableError, local
from agent.formats.parts import Parts, date, given, number, plane, positive
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_layout import TroubleError

HEADER = 4100
_TYPES = {0: ("float32", 4), 1: ("int32", 4), 2: ("int16", 2), 3: ("uint16", 2), 5: ("float64", 8), 6: ("uint8", 1)}
_TYPES |= {8: ("uint32", 4)}
_WINVIEW = 0x01234567
_FIELDS = {
    "controller_version": (0, "h"), "logic_output": (2, "h"), "amp_high_cap_low_noise": (4, "H"), "mode": (8, "h"),
    "exposure_s": (10, "f"), "detector_temp": (36, "f"), "detector_type": (40, "h"), "st_diode": (44, "h"),
    "delay_time": (46, "f"), "shutter_control": (50, "H"), "absorb_live": (52, "h"), "absorb_mode": (54, "H"),
    "can_do_virtual_chip": (56, "h"), "threshold_min_live": (58, "h"), "threshold_min_val": (60, "f"),
    "threshold_max_live": (64, "h"), "threshold_max_val": (66, "f"), "adc_offset": (188, "H"), "adc_rate": (190, "H"),
    "adc_type": (192, "H"), "adc_resolution": (194, "H"), "adc_bit_adjust": (196, "H"), "gain": (198, "H"),
    "readout_time": (672, "f"), "clockspeed_us": (1428, "f"), "file_header_ver": (1992, "f"),
    "accumulations": (668, "i"), "spectrometer_wavelength": (72, "f"), "grating_grooves": (650, "f"),
}  # fmt: skip
_SDT = {
    "sdt_controller_name": (4, 0, 6, None), "sequence_type": (4, 6, 10, None), "color_code": (4, 10, 14, None),
    "detection_channels": (4, 15, 16, 1), "grid_s": (4, 16, 25, 1e-6), "pixel_size_um": (4, 25, 28, 0.1),
    "em_gain": (4, 28, 32, 1), "em": (4, 32, 33, None), "modulation": (4, 33, 34, None), "n_macro": (1, 0, 4, 1),
    "n_mini": (1, 4, 7, 1), "n_micro": (1, 7, 10, 1), "delay_macro_s": (1, 10, 19, 1e-3),
    "exposure_s": (1, 64, 73, 1e-6),
}  # fmt: skip
"""Comment, first and last character, factor (None for text)."""


@dataclass(frozen=True, slots=True)
class Spe:
    """The header; `stride` is the bytes of a frame with what is kept for each, `footer` where the XML begins."""

    width: int
    height: int
    dtype: str
    frames: int
    stride: int
    version: float
    footer: int
    raw: bytes

    def text(self, at: int, length: int) -> str:
        return self.raw[at : at + length].split(b"\0")[0].decode("latin-1").strip()


def spe(path: Path) -> Spe:
    """Raises TroubleError."""
    with binary.opened(path) as file:
        raw = file.read(0, HEADER, "the header")
    (width,), (height,), (kind,) = (struct.unpack_from(f, raw, at) for f, at in (("<H", 42), ("<H", 656), ("<h", 108)))
    (frames,) = struct.unpack_from("<i", raw, 1446)
    (version,) = struct.unpack_from("<f", raw, 1992)
    (footer,) = struct.unpack_from("<Q", raw, 678)
    if kind not in _TYPES or not width or not height or frames < 0:
        raise TroubleError(Wholeness.DAMAGED, "the header has impossible sizes")
    dtype, size = _TYPES[kind]
    # Version 2 keeps places of regions where version 3 keeps the place of its XML.
    footer = footer if version >= 3 else 0
    return Spe(width, height, dtype, frames, width * height * size, version, footer, raw)


class PrincetonSpe:
    """One file."""

    name = "spe"

    def matches(self, path: Path) -> bool:
        return path.suffix.lower() == ".spe" and path.is_file()

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        try:
            found = spe(dataset.main)
            size = dataset.main.stat().st_size
            if found.version >= 3:
                _footer(dataset.main, found)
                return binary.whole("the XML behind the frames is complete")
        except TroubleError as trouble:
            return trouble.verdict
        except UnreadableError:
            return binary.growing("the XML behind the frames is not complete yet")
        end = HEADER + found.frames * found.stride
        if found.frames == 0 or size < end:
            return binary.growing(
                f"{found.frames} frames are announced, {max(size - HEADER, 0) // found.stride} are there"
            )
        if size > end:
            return binary.unknown(f"{size - end} bytes follow behind the announced frames")
        return binary.whole(f"all {found.frames} frames are there")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Frames that are really there; None where every frame has more than its pixels."""
        try:
            found = spe(dataset.main)
        except TroubleError as trouble:
            return 0 if trouble.verdict.state is Wholeness.GROWING else None
        if found.version >= 3:
            return found.frames if self.is_whole(dataset).state is Wholeness.WHOLE else None
        return min(found.frames, max(dataset.main.stat().st_size - HEADER, 0) // found.stride)

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset.main))


def _footer(path: Path, found: Spe) -> Any:
    """The XML of version 3. Raises TroubleError and UnreadableError."""
    with binary.opened(path) as file:
        if not HEADER <= found.footer < file.size:
            raise TroubleError(Wholeness.GROWING, "the XML behind the frames is not there yet")
        file.inside(HEADER, found.frames * found.stride, "the frames")
        if found.footer < HEADER + found.frames * found.stride:
            raise TroubleError(Wholeness.DAMAGED, "the XML lies inside the frames")
        return safe_xml.parse(file.read(found.footer, file.size - found.footer, "the XML"), "the XML")


def _read(path: Path) -> Metadata:
    try:
        found = spe(path)
    except TroubleError as trouble:
        return Metadata(errors=(f"{path.name}: {trouble.verdict.reason}",))
    said: dict[str, Json] = {
        name: struct.unpack_from("<" + form, found.raw, at)[0] for name, (at, form) in _FIELDS.items()
    }
    said["comments"] = [text for i in range(5) if (text := found.text(200 + 80 * i, 80))]
    said["ROIs"] = regions(found)
    rest: dict[str, Json] = {"SPE": said}
    errors: tuple[str, ...] = ()
    software = {"WinView/WinSpec": version} if (version := found.text(688, 16)) else {}
    when, exposure, camera = _when(found), positive(said["exposure_s"]), None
    if found.version >= 3:
        when = exposure = None
        try:
            root = _footer(path, found)
            rest["SPE XML"] = safe_xml.tree(root)
            when, exposure, camera, software = _lightfield(root)
        except (TroubleError, UnreadableError) as error:
            errors = (f"{path.name}: {error}",)
    sdt = sdt_control(found)
    if sdt:
        rest["SDT-control"] = {**sdt}
        exposure, software = positive(sdt.get("exposure_s")), {**software, "SDT-control": str(sdt["version"])}
    pixels = ome_build.pixel_type(found.dtype)
    if pixels is None or not found.frames:
        return Metadata(None, software, rest, errors, ("the header announces no frames",))
    parts = Parts()
    image = ome_build.image(
        0,
        path.name,
        {"x": found.width, "y": found.height, "t": found.frames},
        pixels,
        channels=[given(detector_settings=parts.detector(model=camera))],
        planes=[plane(0, 0, 0, exposure_s=exposure)] if exposure else [],
        date=when,
    )
    return Metadata(parts.ome([image]), software, rest, errors)


def _when(found: Spe) -> datetime | None:
    """`22Jul2015` and `094018`, on the PC's clock."""
    return date(f"{found.text(20, 10)} {found.text(172, 7)}".strip(), "%d%b%Y %H%M%S")


def _lightfield(root: Any) -> tuple[datetime | None, float | None, str | None, dict[str, str]]:
    """Date with its zone, exposure in seconds (LightField counts milliseconds), camera and software."""
    every = list(root.iter())
    created = next((one.get("created") for one in every if local(one) == "Origin" and one.get("created")), None)
    exposure = next((one.text for one in every if local(one) == "ExposureTime"), None)
    camera = next((one.get("model") for one in every if local(one) == "Camera" and one.get("model")), None)
    origin = next((one for one in every if one.get("software")), None)
    software = {} if origin is None else {str(origin.get("software")): str(origin.get("softwareVersion") or "")}
    ms = positive(re.sub(r"[^\d.eE+-]", "", exposure or ""))
    return date(created), None if ms is None else ms / 1000, camera, software


def sdt_control(found: Spe) -> dict[str, Json]:
    """Settings that the program SDT-control hides in the comments; empty for other programs."""
    texts = [found.raw[200 + 80 * i : 280 + 80 * i].decode("latin-1") for i in range(5)]
    version = re.fullmatch(r"SW(\d\d)(\d\d)COMVER\d{4}", texts[4][64:])
    if version is None:
        return {}
    said: dict[str, Json] = {"version": f"{int(version[1])}.{int(version[2])}"}
    for name, (comment, begin, end, factor) in _SDT.items():
        text = texts[comment][begin:end]
        if factor is None:
            said[name] = text
        elif (value := number(text)) is not None:
            said[name] = value * factor
    script = found.text(742, 436).replace("\r", "")
    return said | ({"modulation_script": script} if script else {})


def regions(found: Spe) -> list[Json]:
    """The regions of interest: first and last pixel, and binning, as (x, y), counted from 1."""
    (count,) = struct.unpack_from("<h", found.raw, 1510)
    said: list[Json] = []
    for i in range(min(max(count, 1), 10)):
        x, to_x, bin_x, y, to_y, bin_y = struct.unpack_from("<6H", found.raw, 1512 + 12 * i)
        if to_x and to_y:
            said.append({"top_left": [x, y], "bottom_right": [to_x, to_y], "bin": [bin_x, bin_y]})
    return said
