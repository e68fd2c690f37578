"""What the texts of a CellVoyager measurement say, as OME: one image a well and field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build, ome_xml
from agent.formats.cellvoyager import DATA, attributes, plain_name
from agent.formats.guarded import attempt
from agent.formats.parts import Parts, choice, date, given, number, plane, positive
from agent.formats.places import name_in, placed
from agent.formats.plates import with_plate
from agent.formats.port import Dataset, Metadata, Place
from agent.formats.safe_xml import parse, stream, tree

if TYPE_CHECKING:
    from lxml.etree import _Element
    from ome_types import OME

_MAX_FIELDS = 2000


@dataclass(slots=True)
class _Field:
    """The records of one well and field."""

    first: dict[str, str]
    file: str
    channels: set[int] = field(default_factory=set)
    z: set[int] = field(default_factory=set)
    t: set[int] = field(default_factory=set)
    records: list[dict[str, str]] = field(default_factory=list)
    files: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Name, channel, slice and time of each image."""
    heights: dict[int, float] = field(default_factory=dict)


def read(dataset: Dataset) -> Metadata:
    """Raises UnreadableError and what odd content raises."""
    root = dataset.main.parent
    detail = parse(dataset.main.read_bytes(), dataset.main.name)
    about = attributes(detail)
    setting = _setting(root, about.get("MeasurementSettingFileName", ""))
    notes: list[str] = []
    fields = _fields(root)
    ome, errors = attempt(dataset.main, lambda: _ome(root, detail, setting, fields, notes))
    rest: dict[str, Any] = {"mrf": tree(detail)}
    if setting is not None:
        rest["mes"] = tree(setting)
    system, release = about.get("TargetSystem", ""), about.get("ReleaseNumber", "")
    software = {f"CellVoyager {system}".strip(): release} if release else {}
    return placed(Metadata(ome, software, rest, errors, tuple(notes)), dataset, _places(dataset, root, fields))


def _setting(root: Path, name: str) -> _Element | None:
    path = root / Path(name).name if name else None
    if path is None or not path.is_file():
        path = next(iter(sorted(root.glob("*.mes"))), None)
    return None if path is None else parse(path.read_bytes(), path.name)


def _fields(root: Path) -> dict[tuple[int, int, int], _Field]:
    found: dict[tuple[int, int, int], _Field] = {}
    total = 0
    for record in stream(root / DATA, "MeasurementRecord"):
        said = attributes(record)
        if said.get("Type") != "IMG":
            continue
        where = (int(said["Row"]), int(said["Column"]), int(said["FieldIndex"]))
        if where not in found and len(found) >= _MAX_FIELDS:
            continue
        one = found.setdefault(where, _Field(said, plain_name(record)))
        one.channels.add(int(said["Ch"]))
        one.z.add(int(said["ZIndex"]))
        one.t.add(int(said["TimePoint"]))
        one.files.append((plain_name(record), int(said["Ch"]), int(said["ZIndex"]), int(said["TimePoint"])))
        height = number(said.get("Z"))
        if height is not None:
            one.heights.setdefault(int(said["ZIndex"]), height)
        total += 1
        if total <= ome_xml.MAX_PLANES:
            one.records.append(said)
    return found


def _places(dataset: Dataset, root: Path, fields: Mapping[tuple[int, int, int], _Field]) -> Iterator[Place]:
    for index, one in enumerate(fields.values()):
        used, depths, times = sorted(one.channels), sorted(one.z), sorted(one.t)
        for name, c, z, t in one.files:
            if name:
                yield Place(
                    f"Image:{index}", name_in(dataset, root / name), depths.index(z), used.index(c), times.index(t)
                )


def _ome(
    root: Path,
    detail: _Element,
    setting: _Element | None,
    fields: Mapping[tuple[int, int, int], _Field],
    notes: list[str],
) -> OME:
    parts = Parts()
    about = attributes(detail)
    parts.name_microscope(about.get("TargetSystem"), "Yokogawa")
    cameras = {int(a["Ch"]): a for one in detail.iter("{*}MeasurementChannel") if (a := attributes(one)).get("Ch")}
    channels = {} if setting is None else _settings(setting)
    lights = (
        {}
        if setting is None
        else {a["Name"]: a for one in setting.iter("{*}LightSource") if (a := attributes(one)).get("Name")}
    )
    began = date(about.get("BeginTime"))
    if sum(len(one.records) for one in fields.values()) >= ome_xml.MAX_PLANES:
        notes.append("the records of all planes are too many to be repeated here, they stay in the files")
    images = []
    for index, ((row, column, place), one) in enumerate(fields.items()):
        used = sorted(one.channels)
        camera = cameras.get(used[0], {})
        well = f"{chr(64 + row) if row <= 26 else row}{column:02d}"
        image = ome_build.image(
            index,
            f"{about.get('Title') or root.name}, {well}, field {place}",
            {
                "x": int(camera["HorizontalPixels"]),
                "y": int(camera["VerticalPixels"]),
                "z": len(one.z),
                "c": len(used),
                "t": len(one.t),
            },
            "uint16" if int(camera.get("InputBitDepth", 16)) > 8 else "uint8",
            steps=_steps(camera, one),
            channels=[_channel(parts, channels.get(c, {}), lights) for c in used],
            planes=[_plane(said, one, used, channels, began) for said in one.records],
            date=began,
        )
        image.objective_settings = _objective(parts, channels.get(used[0], {}))
        images.append(image)
    sizes = [int(said) if (said := about.get(key, "")).isdecimal() else None for key in ("RowCount", "ColumnCount")]
    wells = [(row - 1, column - 1) for row, column, _ in fields]
    return with_plate(parts.ome(images, about.get("OperatorName")), about.get("Title") or root.name, wells, *sizes)


def _settings(setting: _Element) -> dict[int, dict[str, str]]:
    found = {}
    for one in setting.iter("{*}Channel"):
        said = attributes(one)
        source = one.find("{*}LightSourceName")
        if said.get("Ch", "").isdecimal():
            found[int(said["Ch"])] = said | ({"LightSourceName": source.text or ""} if source is not None else {})
    return found


def _steps(camera: dict[str, str], one: _Field) -> dict[str, tuple[float, str]]:
    steps = {}
    for axis, name in (("x", "HorizontalPixelDimension"), ("y", "VerticalPixelDimension")):
        value = positive(camera.get(name))
        if value:
            steps[axis] = (value, "µm")
    heights = [one.heights[z] for z in sorted(one.heights)]
    gaps = {round(abs(b - a), 4) for a, b in pairwise(heights)}
    if len(gaps) == 1 and (gap := gaps.pop()) > 0:
        steps["z"] = (gap, "µm")
    return steps


def _objective(parts: Parts, said: dict[str, str]) -> Any:
    return parts.objective(model=said.get("Objective"), nominal_magnification=positive(said.get("Magnification")))


def _channel(parts: Parts, said: dict[str, str], lights: dict[str, dict[str, str]]) -> dict[str, Any]:
    from ome_types import model

    light = lights.get(said.get("LightSourceName", ""), {})
    laser = positive(light.get("WaveLength")) if light.get("Type") == "Laser" else None
    source = parts.light("Laser", wavelength_nm=laser, model=light.get("Name")) if laser else None
    band = re.fullmatch(r"BP(\d+)/(\d+)", said.get("Acquisition", ""))
    cut = (float(band[1]) - float(band[2]) / 2, float(band[1]) + float(band[2]) / 2) if band else (None, None)
    emission = parts.filter(model=said.get("Acquisition"), cut_nm=cut)
    binning = said.get("Binning", "")
    pinhole = positive(said.get("PinholeDiameter"))
    confocal = "confocal" in said.get("Kind", "").lower()
    return given(
        name=said.get("Fluorophore") or said.get("Target"),
        fluor=said.get("Fluorophore"),
        excitation_wavelength=laser,
        acquisition_mode=choice(model.Channel_AcquisitionMode, "SpinningDiskConfocal") if confocal else None,
        pinhole_size=pinhole,
        light_source_settings=parts.light_settings(source, laser),
        light_path=parts.light_path(emission=[emission]),
        detector_settings=parts.detector(model=said.get("CameraType"), binning=f"{binning}x{binning}"),
    )


def _plane(
    said: dict[str, str],
    one: _Field,
    used: list[int],
    channels: dict[int, dict[str, str]],
    began: datetime | None,
) -> dict[str, Any]:
    """Places are micrometres from the middle of the well."""
    time = date(said.get("Time"))
    channel = int(said["Ch"])
    exposure = positive(channels.get(channel, {}).get("ExposureTime"))
    same_kind = time is not None and began is not None and (time.tzinfo is None) == (began.tzinfo is None)
    return plane(
        sorted(one.z).index(int(said["ZIndex"])),
        used.index(channel),
        sorted(one.t).index(int(said["TimePoint"])),
        delta_s=(time - began).total_seconds() if time is not None and began is not None and same_kind else None,
        exposure_s=None if exposure is None else exposure / 1000,
        um=[number(said.get(axis)) for axis in "XYZ"],
    )
