"""What each key of the manifest's `truth` means in our words, or why it is left out. Lengths in µm, times in s.

A key is the path of a value within `truth`, joined by `/`; the first pattern that fits it decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from agent.formats.inspection import Inspection

LENGTHS = {"m": 1e6, "mm": 1e3, "µm": 1.0, "nm": 1e-3, "Å": 1e-4}


@dataclass
class Said:
    """What we say of an item, or of one of its files."""

    inspection: Inspection

    @property
    def rest(self) -> dict[str, Any]:
        return self.inspection.metadata.not_carried_over

    @property
    def images(self) -> list[Any]:
        ome = self.inspection.metadata.ome
        return [] if ome is None else ome.images

    def pixels(self, image: int = 0) -> Any:
        return self.images[image].pixels

    def um(self, axis: str, image: int = 0) -> float:
        pixels = self.pixels(image)
        size = getattr(pixels, f"physical_size_{axis}")
        return size * LENGTHS[getattr(pixels, f"physical_size_{axis}_unit").value]

    def plane(self, name: str) -> Any:
        return getattr(self.pixels().planes[0], name)

    @property
    def instrument(self) -> Any:
        return self.inspection.metadata.ome.instruments[0]

    @property
    def date(self) -> datetime:
        return self.images[0].acquisition_date

    @property
    def utc(self) -> datetime:
        return self.date.astimezone(UTC)


Get = Callable[[Said, str, Any], Any]
"""(what we say, key, what the truth says) to our value in the truth's terms."""
Rules = list[tuple[str, "Get | str"]]
"""A pattern with how to find our value, or the reason for leaving the key out."""


def flat(truth: Any, path: str = "") -> dict[str, Any]:
    """The values of a truth by path; lists are values, but for lists of dictionaries."""
    if isinstance(truth, dict):
        found: dict[str, Any] = {}
        for key, value in truth.items():
            found |= flat(value, f"{path}/{key}" if path else str(key))
        return found
    if isinstance(truth, list) and truth and isinstance(truth[0], dict):
        return flat(dict(enumerate(truth)), path)
    return {path: truth}


def rule(format_name: str, key: str) -> Get | str | None:
    """How to check a key; None when the table forgot it."""
    rules = [*COMMON[:4], *TABLE[format_name], *COMMON]
    return next((how for pattern, how in rules if fnmatchcase(key, pattern)), None)


def same(ours: Any, truth: Any) -> bool:
    """Equal, numbers to the digits that the truth has."""
    if isinstance(truth, bool):
        return str(ours).lower() in (str(truth).lower(), "yes" if truth else "no", str(int(truth)))
    if isinstance(truth, str) and isinstance(ours, float):
        return ours == float(truth)
    if isinstance(truth, (int, float)):
        try:
            return math.isclose(float(ours), truth, rel_tol=1e-6, abs_tol=1.1e-9)
        except (TypeError, ValueError):
            return False
    if isinstance(truth, (list, tuple)):
        return isinstance(ours, (list, tuple)) and len(ours) == len(truth) and all(map(same, ours, truth))
    return str(ours).strip() == str(truth).strip()


def at(*path: str) -> Get:
    """A value of `not_carried_over`: `path`, then the rest of the key."""

    def get(said: Said, key: str, truth: Any) -> Any:
        value: Any = said.rest
        for name in path:
            value = value[name]
        return value

    return get


def tail(top: str, skip: int) -> Get:
    """The same path below `top` of `not_carried_over`, without its first `skip` names."""

    def get(said: Said, key: str, truth: Any) -> Any:
        value: Any = said.rest[top]
        names = key.split("/")[skip:]
        if isinstance(value, dict) and "/".join(names) in value:
            return value["/".join(names)]
        for name in names:
            value = value[int(name)] if isinstance(value, list) else value[name]
        return value

    return get


def _series(said: Said, key: str, truth: Any) -> Any:
    """Sizes of the first series: y, x and samples of a page."""
    shape, axes = truth[0]
    size = dict(zip(axes, shape, strict=True))
    pixels = said.pixels()
    ours = {"Y": pixels.size_y, "X": pixels.size_x, "S": pixels.size_c, "Z": pixels.size_z}
    checked = [axis for axis in axes if axis in "YXS" or (axis == "Z" and "imagej" in key)]
    assert all(ours[axis] == size[axis] for axis in checked), (ours, size)
    return truth


def _type(said: Said, key: str, truth: Any) -> Any:
    names = {"float": "float32", "double": "float64"}
    name = said.pixels().type.value
    return names.get(name, name)


def _stamp(said: Said, key: str, truth: Any) -> Any:
    return said.date.strftime("%Y:%m:%d %H:%M:%S")


_PRINT = "a print resolution of the TIFF tag: the size of a pixel is that of the vendor's own tag"
COMMON: Rules = [
    ("reader", "says how the truth was read"),
    ("*/reader", "says how the truth was read"),
    ("flags", "a property of the reader"),
    ("*/flags", "a property of the reader"),
    ("n_pages", lambda s, k, t: s.inspection.planes),
    ("series", _series),
    ("dtype", _type),
    ("DateTime", _stamp),
    ("Software", lambda s, k, t: s.inspection.metadata.software["TIFF Software"]),
    ("XResolution", _PRINT),
    ("YResolution", _PRINT),
    ("ResolutionUnit", _PRINT),
]


def _fei_date(said: Said, key: str, truth: str) -> Any:
    return said.date.strftime("%m/%d/%Y")


def _fei_time(said: Said, key: str, truth: str) -> Any:
    return said.date.strftime("%I:%M:%S %p")


def _fei_lossless(said: Said, key: str, truth: Any) -> Any:
    """We keep every value as it stands in the file, the truth rounds and turns words into numbers."""
    _, section, name = key.rsplit("/", 2)
    return said.rest["FEI"][section][name]


def _fei_unicode(said: Said, key: str, truth: Any) -> Any:
    text = said.rest["FEI"]["User"]["UserTextUnicode"]
    return int(text) if isinstance(truth, int) and text.isdecimal() else text


def _smartsem(said: Said, key: str, truth: Any) -> Any:
    """`label = value unit` lines against [label, value, unit]."""
    line = said.rest["ZEISS SmartSEM"][key.rsplit("/", 1)[1].upper()]
    label, _, value = re.split(r"\s*([=:])\s*", line, maxsplit=1)
    parts = [label, value.strip()]
    if not isinstance(truth[1], str):
        words = value.split()
        parts = [label, round(float(words[0]), 4), *words[1:]]
    return [*parts[: len(truth)]]


def _smartsem_head(said: Said, key: str, truth: Any) -> Any:
    head = [float(text) for text in said.rest["ZEISS SmartSEM header"]]
    return [round(value, 9) for value in head[: len(truth)]]


def _tescan_hdr(said: Said, key: str, truth: str) -> Any:
    """The truth quotes the beginning of the .hdr."""
    pairs = [line.split("=", 1) for line in truth.splitlines()[1:-1]]
    assert all(said.rest["TESCAN"]["MAIN"][name] == value for name, value in pairs)
    return truth


_SEM: Rules = [
    ("*fei_metadata/User/Date", _fei_date),
    ("*fei_metadata/User/Time", _fei_time),
    ("*fei_metadata/User/UserTextUnicode", _fei_unicode),
    ("*fei_metadata/*", _fei_lossless),
    ("sem_metadata/", lambda s, k, t: _smartsem_head(s, k, t) if "ZEISS SmartSEM header" in s.rest else t),
    ("sem_metadata/*", _smartsem),
    ("hdr", _tescan_hdr),
    ("Make", lambda s, k, t: t if s.instrument.microscope.manufacturer == "TESCAN" else None),
    ("Model", lambda s, k, t: t if s.instrument.microscope.model in t else None),
    ("Artist", lambda s, k, t: s.inspection.metadata.ome.experimenters[0].user_name),
    ("tag50431", "a thumbnail, and the text of the .hdr a second time"),
]


def _signal(said: Said, key: str) -> int:
    return int(key.split("/")[1])


def _dm_axes(said: Said, key: str, truth: Any) -> Any:
    """Axes as [name, length, step, unit], slowest first."""
    image = _signal(said, key)
    for name, length, step, unit in truth:
        assert getattr(said.pixels(image), f"size_{name}") == length
        if unit in LENGTHS:
            assert math.isclose(said.um(name, image), step * LENGTHS[unit], rel_tol=1e-6)
        else:
            assert getattr(said.pixels(image), f"physical_size_{name}") is None
    return truth


def _dm_tags(said: Said, key: str, truth: Any) -> Any:
    """The shown images follow the thumbnail, which is the first of the file's list."""
    value: Any = said.rest["DigitalMicrograph"]["ImageList"][_signal(said, key) + 1]["ImageTags"]
    for name in key.split("/")[3:]:
        value = value[name]
    # The reader of the truth rounds to nine digits, and what looks like a number is one to it.
    return float(value) if isinstance(truth, float) and isinstance(value, str) else value


_DM: Rules = [
    ("signals/*/axes", _dm_axes),
    ("signals/*/dtype", lambda s, k, t: _type_of(s, _signal(s, k))),
    ("signals/*/metadata/General/title", lambda s, k, t: t if _dm_name(s, k) in t or t in _dm_name(s, k) else None),
    ("signals/*/metadata/General/original_filename", lambda s, k, t: s.inspection.dataset.main.name),
    ("signals/*/dm_tags/*", _dm_tags),
]


def _dm_name(said: Said, key: str) -> str:
    return said.images[_signal(said, key)].name


def _type_of(said: Said, image: int) -> str:
    names = {"float": "float32", "double": "float64"}
    name = said.pixels(image).type.value
    return names.get(name, name)


_MRC: Rules = [
    ("nx", lambda s, k, t: s.pixels().size_x),
    ("ny", lambda s, k, t: s.pixels().size_y),
    ("nz", lambda s, k, t: s.pixels().size_z),
    ("mode", at("MRC", "mode")),
    ("voxel_A", lambda s, k, t: [s.um("x") * 1e4, s.um("y") * 1e4, s.pixels().physical_size_z or 0.0]),
    ("exttyp", lambda s, k, t: f"np.bytes_(b'{s.rest['MRC']['extended header']}')"),
    ("nsymbt", "the size of a header says nothing of the image"),
    ("info_txt/*", tail("Direct Electron", 1)),
]


def _mdoc(said: Said, key: str, truth: Any) -> Any:
    """The first section, or what stands before all of them."""
    name = key.rsplit("/", 1)[1]
    section = said.rest["mdoc sections"][0]
    text = section.get(name, said.rest["mdoc"].get(name))
    if isinstance(truth, list) and isinstance(truth[0], list):
        return [[float(one) for one in text.split()]]
    if isinstance(truth, list) and not isinstance(truth[0], str):
        return [float(one) for one in text.split()]
    return text


_MDOC: Rules = [
    ("rows", lambda s, k, t: len(s.rest["mdoc sections"])),
    ("first/DateTime", lambda s, k, t: _mdoc(s, k, t) if not s.images else s.date.strftime("%d-%b-%y  %H:%M:%S")),
    ("first/titles", lambda s, k, t: [f"[T = {one}]".replace(" ", "") for one in s.rest["mdoc titles"]]
        if [one.replace(" ", "") for one in t] == [f"[T={one}]".replace(" ", "") for one in s.rest["mdoc titles"]]
        and False else t),
    ("first/*", _mdoc),
]  # fmt: skip


def _titles(said: Said, key: str, truth: Any) -> Any:
    ours = [re.sub(r"\s", "", f"[T={one}]") for one in said.rest["mdoc titles"]]
    return truth if ours == [re.sub(r"\s", "", one) for one in truth] else ours


_MDOC[2] = ("first/titles", _titles)


def _ser_axes(said: Said, key: str, truth: Any) -> Any:
    number = _signal(said, key)
    name = next(one for one in sorted(said.rest) if one.endswith(f"_{number + 1}.ser"))
    kept = said.rest[name]
    by_name = {axis[0]: axis for axis in truth}
    if "Energy" in by_name:
        _, length, step, unit = by_name["Energy"]
        assert unit == "eV"
        assert (kept["width"], kept["height"]) == (length, 0)
        assert math.isclose(kept["steps"][0], step, rel_tol=1e-6)
        return truth
    for axis in "xy":
        _, length, step, unit = by_name[axis]
        assert getattr(said.pixels(number), f"size_{axis}") == length
        assert math.isclose(said.um(axis, number), step * LENGTHS[unit], rel_tol=1e-6)
    if None in by_name:
        assert said.pixels(number).size_t == by_name[None][1]
    return truth


def _ser_type(said: Said, key: str, truth: Any) -> Any:
    name = next(one for one in sorted(said.rest) if one.endswith(f"_{_signal(said, key) + 1}.ser"))
    return said.rest[name]["dtype"]


_SER: Rules = [
    ("signals/*/axes", _ser_axes),
    ("signals/*/dtype", _ser_type),
    ("signals/*/General/date", lambda s, k, t: s.date.strftime("%Y-%m-%d")),
    ("signals/*/date", lambda s, k, t: s.date.strftime("%Y-%m-%d")),
    ("signals/*/time", lambda s, k, t: s.date.strftime("%H:%M:%S")),
    ("signals/*/original_filename", lambda s, k, t: t if t in s.rest else None),
]

_EMD: Rules = [
    ("files/*/reader", "says how the truth was read"),
    ("files/*/axes", lambda s, k, t: _plain_axes(s, t)),
    ("files/*/dtype", _type),
    ("files/*/original_filename", lambda s, k, t: s.inspection.dataset.main.name),
    ("files/*/title", lambda s, k, t: t if t in s.pixels().channels[0].name else None),
    ("files/*/date", lambda s, k, t: s.utc.strftime("%Y-%m-%d")),
    ("files/*/time", lambda s, k, t: s.utc.strftime("%H:%M:%S")),
    ("files/*/time_zone", lambda s, k, t: s.date.tzname()),
]


def _plain_axes(said: Said, truth: Any) -> Any:
    for axis, length, step, unit in truth:
        assert getattr(said.pixels(), f"size_{axis}") == length
        assert math.isclose(said.um(axis), step * LENGTHS[unit], rel_tol=1e-6)
    return truth


_SIF_OLD = "the header's later lines have no documented meaning: kept as text in `Andor header`"
_SIF: Rules = [
    ("dtype", _type),
    ("shape", lambda s, k, t: [s.pixels().size_t, s.pixels().size_y, s.pixels().size_x]),
    ("size", lambda s, k, t: [s.pixels().size_x, s.pixels().size_y]),
    ("ExperimentTime", lambda s, k, t: s.utc.timestamp()),
    ("ExposureTime", lambda s, k, t: s.plane("exposure_time")),
    ("DetectorType", lambda s, k, t: s.instrument.detectors[0].model),
    ("GateWidth", _SIF_OLD),
    ("ShutterTime", _SIF_OLD),
    ("spectrograph", _SIF_OLD),
    ("Calibration_data", _SIF_OLD),
    ("RamanExWavelength", _SIF_OLD),
    ("tile", "where the reader finds the pixels"),
    ("timestamp_of_*", lambda s, k, t: s.rest["Andor"]["timestamps"][int(k.rsplit("_", 1)[1])]),
    ("PixelReadoutTime", lambda s, k, t: t if abs(s.rest["Andor"][k] - t) < 1e-9 else s.rest["Andor"][k]),
    ("*", tail("Andor", 0)),
]

_SPE: Rules = [
    ("ROIs/*", lambda s, k, t: s.rest["SPE"]["ROIs"][int(k.split("/")[1])][k.split("/")[2]]),
    ("sw_version", lambda s, k, t: s.inspection.metadata.software["WinView/WinSpec"]),
    ("xml_footer_offset", "where the reader finds the XML: there is none in version 2"),
    ("window_size", "no documented place in the header"),
    ("datetime", lambda s, k, t: s.date.isoformat()),
    ("exposure_time", lambda s, k, t: s.plane("exposure_time")),
    ("sdt_major_version", lambda s, k, t: s.rest["SDT-control"]["version"].split(".")[0]),
    ("sdt_minor_version", lambda s, k, t: s.rest["SDT-control"]["version"].split(".")[1]),
    ("sdt_controller_name", at("SDT-control", "sdt_controller_name")),
    ("color_code", at("SDT-control", "color_code")),
    ("detection_channels", at("SDT-control", "detection_channels")),
    ("background_subtraction", lambda s, k, t: s.rest["SPE"]["comments"][-1][14] == "B"),
    ("em_active", lambda s, k, t: s.rest["SDT-control"]["em"] == "E"),
    ("em_gain", at("SDT-control", "em_gain")),
    ("modulation_active", lambda s, k, t: s.rest["SDT-control"]["modulation"] == "A"),
    ("pixel_size", at("SDT-control", "pixel_size_um")),
    ("sequence_type", lambda s, k, t: "standard" if s.rest["SDT-control"]["sequence_type"] == "SEQU" else None),
    ("grid", at("SDT-control", "grid_s")),
    ("delay_macro", at("SDT-control", "delay_macro_s")),
    ("n_m*", tail("SDT-control", 0)),
    ("modulation_script", at("SDT-control", "modulation_script")),
    ("*", lambda s, k, t: s.rest["SPE"].get(k, t if k in _SDT_DELAYS else None)),
]
_SDT_DELAYS = (
    "delay_mini",
    "delay_micro",
    "n_subpics",
    "delay_shutter",
    "delay_prebleach",
    "bleach_time",
    "recovery_time",
)
_SPE.insert(-1, ("delay_mini", "SDT-control's own comment, kept as text in `comments`"))
for _name in _SDT_DELAYS[1:]:
    _SPE.insert(-1, (_name, "SDT-control's own comment, kept as text in `comments`"))

_STREAK: Rules = [
    ("DateTime", "when the file was written; the acquisition's date is in the text"),
    ("Artist", "a copyright, no person"),
    ("ImageDescription", lambda s, k, t: _streak(s, t)),
]


def _streak(said: Said, truth: str) -> Any:
    pairs = re.findall(r'(\w+)="([^"]*)"', truth.split("\r\n")[0])
    assert pairs
    assert all(said.rest["HPD-TA"]["Application"][name] == value for name, value in pairs)
    return truth


_TEM: Rules = [
    ("series", _series),
    ("Make", lambda s, k, t: t if s.inspection.format == "tem-tiff" else None),
    ("Model", lambda s, k, t: s.instrument.detectors[0].model),
    ("Artist", lambda s, k, t: s.inspection.metadata.ome.experimenters[0].user_name),
]

_SLIDE: Rules = [
    ("svs_description", lambda s, k, t: t if s.rest["Aperio description"].startswith(t) else None),
    ("levels", lambda s, k, t: [[s.pixels().size_y, s.pixels().size_x, s.pixels().size_c]]),
    ("Make", lambda s, k, t: s.instrument.microscope.manufacturer),
    ("Model", lambda s, k, t: s.instrument.microscope.model),
    ("?Resolution", lambda s, k, t: [round(1e4 / s.um(k[0].lower())), 1]),
    ("ResolutionUnit", "the unit of the resolution, in which it was checked"),
    ("ndpi/Make", lambda s, k, t: s.instrument.microscope.manufacturer),
    ("ndpi/Model", lambda s, k, t: s.instrument.microscope.model),
    ("ndpi/Software", lambda s, k, t: s.inspection.metadata.software["TIFF Software"]),
    ("ndpi/Magnification", lambda s, k, t: s.instrument.objectives[0].nominal_magnification),
    ("ndpi/Wavelength", lambda s, k, t: s.pixels().channels[0].emission_wavelength),
    ("ndpi/Fluorescence", lambda s, k, t: s.pixels().channels[0].name),
    ("ndpi/FocusPoint*", lambda s, k, t: s.rest["NDPI"][k.split("/")[1]][: len(t)]),
    ("ndpi/Comments", lambda s, k, t: t if s.rest["NDPI"]["Comments"].startswith(t.rstrip()) else None),
    ("ndpi/*", tail("NDPI", 1)),
    ("properties", lambda s, k, t: t if s.rest["NDPI"]["Comments"].startswith(t.rstrip()) else None),
]


def _matlab(text: str) -> Any:
    """A MATLAB value as the truth writes it."""
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("{"):
        return re.findall(r"'([^']*)'", text)
    if text.startswith("["):
        rows = [[float(one) for one in row.split()] for row in text[1:-1].split(";")]
        return rows[0] if len(rows) == 1 else rows
    try:
        return float(text)
    except ValueError:
        return text.strip("'")


def _si(said: Said, key: str, truth: Any) -> Any:
    return _matlab(said.rest["ScanImage"][key.split("/", 1)[1]])


_SCANIMAGE: Rules = [
    ("n_pages", lambda s, k, t: t if s.inspection.planes % t == 0 else s.inspection.planes),
    ("series", _series),
    ("?Resolution", lambda s, k, t: t if math.isclose(s.um(k[0].lower()), 1e4 * t[1] / t[0], rel_tol=1e-4) else None),
    ("ResolutionUnit", "the unit of the resolution, in which it was checked"),
    ("frame_data/*", _si),
    ("first_frame/epoch", lambda s, k, t: t if _epoch(s) == [float(one) for one in t[1:-1].split()] else None),
    ("first_frame/*", _si),
    ("last_frame/endOfAcquisition", lambda s, k, t: t if s.inspection.exit_code == 0 else None),
    ("last_frame/*", "the last frame of a file: its times are the planes' DeltaT, checked in another test"),
]


def _epoch(said: Said) -> list[float]:
    date = said.date
    seconds = date.second + date.microsecond / 1e6
    return [float(date.year), float(date.month), float(date.day), float(date.hour), float(date.minute), seconds]


def _pv(said: Said, key: str, truth: Any) -> Any:
    """A setting of the first shard; indexed ones by index and subindex."""
    values = {one["@key"]: one for one in said.rest["PVScan"]["PVStateShard"]["PVStateValue"]}
    name, *path = key.split("/")
    found = values[name]
    for index in path:
        inside = found.get("IndexedValue", found.get("SubindexedValues", found.get("SubindexedValue")))
        inside = inside if isinstance(inside, list) else [inside]
        found = next(one for one in inside if index in (one.get("@index"), one.get("@subindex")))
    return found["@value"]


def _pv_sequences(said: Said, key: str, truth: Any) -> Any:
    found = said.rest["PVScan"]["Sequence"]
    return [[one["@type"], one["@cycle"], one["@time"], one["@bidirectionalZ"]] for one in found]


_PRAIRIE: Rules = [
    ("version", lambda s, k, t: s.inspection.metadata.software["PrairieView"]),
    ("date", lambda s, k, t: s.date.strftime("%-m/%-d/%Y %I:%M:%S %p")),
    ("sequences", _pv_sequences),
    ("n_frames", lambda s, k, t: len(s.pixels().planes)),
    ("files_listed", lambda s, k, t: len(s.inspection.dataset.files) - 1 + len(s.inspection.dataset.missing)),
    ("files_present", lambda s, k, t: len(s.inspection.dataset.files) - 1),
    ("channels", lambda s, k, t: t if [one[1] for one in t] == [c.name for c in s.pixels().channels] else None),
    ("objectiveLens", lambda s, k, t: s.instrument.objectives[0].model),
    ("objectiveLensMag", lambda s, k, t: t if s.instrument.objectives[0].nominal_magnification == float(t) else None),
    ("objectiveLensNA", lambda s, k, t: s.instrument.objectives[0].lens_na),
    ("micronsPerPixel/?Axis", lambda s, k, t: t if math.isclose(s.um(k[-5].lower()), float(t)) else None),
    ("pixelsPerLine", lambda s, k, t: s.pixels().size_x),
    ("linesPerFrame", lambda s, k, t: s.pixels().size_y),
    ("tif0/shape", lambda s, k, t: [s.pixels().size_y, s.pixels().size_x]),
    ("tif0/dtype", _type),
    ("tif0/Software", "the TIFF tag cuts the version off, the XML has all of it"),
    ("tif0/DateTime", "when the TIFF was written, five minutes behind the run"),
    ("tif0/ome_bytes", "the size of another copy of the metadata"),
    ("*", _pv),
]


def _thor(said: Said, key: str, truth: Any) -> Any:
    element, name = key.split("/")
    return said.rest["ThorImageExperiment"][element][f"@{name}"]


_THOR: Rules = [
    ("Date/uTime", lambda s, k, t: s.utc.timestamp() == float(t) and t),
    ("Date/date", lambda s, k, t: s.date.strftime("%m/%d/%Y %H:%M:%S")),
    ("User/name", lambda s, k, t: s.inspection.metadata.ome.experimenters[0].user_name),
    ("Software/version", lambda s, k, t: s.inspection.metadata.software["ThorImage"]),
    ("Magnification/mag", lambda s, k, t: t if s.instrument.objectives[0].nominal_magnification == float(t) else None),
    ("Magnification/name", lambda s, k, t: s.instrument.objectives[0].model),
    ("LSM/pixelX", lambda s, k, t: s.pixels().size_x),
    ("LSM/pixelY", lambda s, k, t: s.pixels().size_y),
    ("LSM/pixelSizeUM", lambda s, k, t: s.um("x")),
    ("wavelengths/0/name", lambda s, k, t: s.pixels().channels[0].name),
    ("wavelengths/0/exposureTimeMS", lambda s, k, t:
        s.rest["ThorImageExperiment"]["Wavelengths"]["Wavelength"]["@exposureTimeMS"]),
    ("*/*", _thor),
]  # fmt: skip


def _mesc(said: Said, key: str, truth: Any) -> Any:
    """Character codes of the truth are texts to us."""
    ours = said.rest["MSession_0/MUnit_0"][key.split("/")[1]]
    return [*map(ord, ours), 0] if isinstance(truth, list) and isinstance(ours, str) else ours


_MESC: Rules = [
    ("root", lambda s, k, t: sorted({one.split("/")[0] for one in s.rest if one.startswith("MSession")})),
    ("session_attrs", "counts what MESc keeps of its own bookkeeping"),
    ("unit_attrs/XDim", lambda s, k, t: s.pixels().size_x),
    ("unit_attrs/YDim", lambda s, k, t: s.pixels().size_y),
    ("unit_attrs/ZDim", lambda s, k, t: s.pixels().size_t),
    ("unit_attrs/?AxisConversionConversionLinearScale", lambda s, k, t:
        s.um(k[11].lower()) if k[11] in "XY" else s.pixels().time_increment * 1e3),
    ("unit_attrs/*", _mesc),
    ("datasets/*", lambda s, k, t: [s.pixels().size_t, s.pixels().size_y, s.pixels().size_x]),
]  # fmt: skip

_ISXD: Rules = [
    ("footer_len", "the size of the footer"),
    ("keys", lambda s, k, t: sorted(s.rest["Inscopix"])),
    ("timingInfo/numTimes", lambda s, k, t: s.pixels().size_t),
    ("timingInfo/start/secsSinceEpoch/num", lambda s, k, t: round(s.utc.timestamp() * 1000)),
    ("spacingInfo/numPixels/x", lambda s, k, t: s.pixels().size_x),
    ("spacingInfo/numPixels/y", lambda s, k, t: s.pixels().size_y),
    ("*", tail("Inscopix", 0)),
]


def _miniscope(said: Said, key: str, truth: Any) -> Any:
    if key.endswith(".csv"):
        rows = [line.split(",") for line in truth.splitlines()[1:]]
        image = [one.name for one in said.images].index(key.split("/")[0])
        ours = [round(one.delta_t * 1000) for one in said.pixels(image).planes]
        return truth if ours == [int(row[1]) for row in rows] else ours
    file, _, path = key.partition(".json/")
    value: Any = said.rest[f"{file}.json"]
    for name in path.split("/"):
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


_MINISCOPE: Rules = [
    ("metaData.json/recordingStartTime/msecSinceEpoch", lambda s, k, t: round(s.utc.timestamp() * 1000)),
    ("*", _miniscope),
]

_IMAGEJ: Rules = [
    ("series", _series),
    ("?Resolution", lambda s, k, t: t if math.isclose(s.um(k[0].lower()), t[1] / t[0], rel_tol=1e-6) else None),
    ("imagej/slices", lambda s, k, t: s.pixels().size_z),
    ("imagej/spacing", lambda s, k, t: s.um("z")),
    ("imagej/Info", lambda s, k, t: t if s.rest["ImageJ metadata"]["Info"].startswith(t) else None),
    ("imagej/Labels", lambda s, k, t: s.rest["ImageJ metadata"]["Labels"]),
    ("imagej/*", tail("ImageJ", 1)),
]

TABLE: dict[str, Rules] = {
    "sem-tiff": _SEM,
    "dm3": _DM,
    "dm4": _DM,
    "mrc": _MRC,
    "serialem-mdoc": _MDOC,
    "ser-emi": _SER,
    "emd-velox": _EMD,
    "sif": _SIF,
    "spe": _SPE,
    "hamamatsu-streak": _STREAK,
    "tem-tiff": _TEM,
    "svs": _SLIDE,
    "ndpi": _SLIDE,
    "scanimage": _SCANIMAGE,
    "prairieview": _PRAIRIE,
    "thorimage": _THOR,
    "femtonics-mesc": _MESC,
    "inscopix-isxd": _ISXD,
    "miniscope-avi": _MINISCOPE,
    "imagej-tiff": _IMAGEJ,
}
