"""PerkinElmer Operetta and Opera Phenix: `Images/Index.idx.xml` lists every image with its state, place and optics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, many, ome_build, ome_xml
from agent.formats.guarded import attempt, guarded
from agent.formats.members import plain
from agent.formats.ome_xml import UnreadableError, local
from agent.formats.parts import Parts, choice, date, given, number, plane, positive
from agent.formats.places import name_in, placed
from agent.formats.plates import with_plate
from agent.formats.port import Dataset, Metadata, Place, Verdict, Wholeness
from agent.formats.safe_xml import child, child_text, opening, stream, tree
from agent.formats.tiff import alone

if TYPE_CHECKING:
    from lxml.etree import _Element
    from ome_types import OME

_INDEX = ("Index.idx.xml", "Index.xml")
_UNITS = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "nm": 1e-3, "s": 1.0, "ms": 1e-3}
_MAX_FIELDS = 500
_BESIDE = ("Assaylayout", "FFC_Profile")
_IMAGE = re.compile(r"r\d{2}c\d{2}f\d{2,}p\d{2,}-ch\d+sk\d+fk\d+fl\d+\.tiff?", re.IGNORECASE)
"""Harmony's names are like no other's: they tell what an image belongs to before its index is there."""


class Operetta:
    """A measurement."""

    name = "operetta-phenix"

    def matches(self, path: Path) -> bool:
        if path.name in _INDEX:
            return opening(path, "EvaluationInputData") is not None or not binary.head(path, 1)
        if path.suffix.lower() not in (".tif", ".tiff") or not path.is_file():
            return False
        return _IMAGE.fullmatch(path.name) is not None or _index(path) is not None

    def dataset(self, path: Path) -> Dataset:
        index = path if path.name in _INDEX else _index(path)
        if index is None:
            return self._without_index(path)
        files, missing = {index}, []
        for name, _ in _listed(index)[0]:
            target = index.parent / name
            if target.is_file():
                files.add(target)
            else:
                missing.append(name)
        root = index.parent
        if root.name == "Images":
            # The export is a folder for each measurement; plate layout and flat-field profiles lie beside the images.
            root = root.parent
            missing = [f"Images/{name}" for name in missing]
            files |= {one for folder in _BESIDE for one in (root / folder).glob("*") if one.is_file()}
        return Dataset(self.name, index, root, tuple(sorted(files)), tuple(missing))

    def _without_index(self, path: Path) -> Dataset:
        folder = path.parent
        images = tuple(sorted(one for one in folder.iterdir() if _IMAGE.fullmatch(one.name) and one.is_file()))
        root = folder.parent if folder.name == "Images" else folder
        index = (folder / _INDEX[0]).relative_to(root).as_posix()
        return Dataset(self.name, images[0] if images else path, root, images or (path,), (index,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.main.name not in _INDEX:
            return binary.growing(f"the index {dataset.missing[0]} is not there")
        listed, error = _listed(dataset.main)
        if error:
            return binary.growing(error)
        if not listed:
            return binary.unknown(f"{dataset.main.name} lists no images")
        bad = [name for name, state in listed if state not in ("Ok", "OK", "")]
        late = many.missing_verdict(dataset.missing, len(dataset.files)) or many.worst(many.tiffs(dataset.files))
        if late is None and bad:
            return Verdict(Wholeness.DAMAGED, f"the index calls {len(bad)} images not Ok: {bad[0]}")
        return late or binary.whole(f"all {len(listed)} images of the index are there")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images whose data is there."""
        return many.planes(dataset.files)

    def metadata(self, dataset: Dataset) -> Metadata:
        if dataset.main.name not in _INDEX:
            return alone(dataset)
        return guarded(dataset.main, lambda: _read(dataset))


def _index(path: Path) -> Path | None:
    return next(
        (
            one
            for name in _INDEX
            if (one := path.with_name(name)).is_file() and opening(one, "EvaluationInputData") is not None
        ),
        None,
    )


def _listed(index: Path) -> tuple[list[tuple[str, str]], str]:
    """(file, state) of every image, and why the index could not be read to its end."""
    found = []
    try:
        for image in stream(index, "Image"):
            name = child_text(image, "URL") or ""
            if plain(name):
                found.append((name, child_text(image, "State") or ""))
    except UnreadableError as error:
        return found, str(error)
    return found, ""


def _value(image: _Element, name: str) -> float | None:
    """A length in micrometres, a time in seconds, a wavelength in nanometres."""
    one = child(image, name)
    value = number(child_text(image, name))
    if one is None or value is None:
        return None
    unit = one.get("Unit", "")
    if name.endswith("Wavelength"):
        return value if unit in ("nm", "") else value * _UNITS.get(unit, float("nan")) * 1e3
    if not unit:
        # A length without a unit might be metres or micrometres.
        return None if re.match("(Abs)?Position|ImageResolution", name) else value
    return value * _UNITS[unit] if unit in _UNITS else None


def _read(dataset: Dataset) -> Metadata:
    notes: list[str] = []
    fields: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    first: dict[str, Any] = {}
    channels: dict[str, dict[str, Any]] = {}
    for image in stream(dataset.main, "Image", "Entry"):
        said = _facts(image)
        if local(image) == "Entry":
            # Harmony 6 and later say once for a channel what earlier versions say of each image; in several maps.
            channel = str(image.get("ChannelID"))
            channels[channel] = _merged(channels.get(channel, {}), said)
            first.setdefault("channels", []).append(tree(image))
            continue
        if not said.get("URL"):
            continue
        said = _merged(channels.get(said.get("ChannelID") or "", {}), said)
        first.setdefault("image", tree(image))
        where = (said.get("Row") or "", said.get("Col") or "", said.get("FieldID") or "")
        if where in fields or len(fields) < _MAX_FIELDS:
            fields.setdefault(where, []).append(said)
        else:
            notes.append(f"only the first {_MAX_FIELDS} fields are repeated here")
    about = {name: text for name, text in _about(dataset.main).items() if text}
    ome, errors = attempt(dataset.main, lambda: _ome(dataset, fields, about, notes))
    found = Metadata(ome, {}, {"operetta": about | first}, errors, tuple(dict.fromkeys(notes)))
    return placed(found, dataset, _places(dataset, fields))


def _facts(element: _Element) -> dict[str, Any]:
    """Texts by name, and under `_` those that are numbers, in our units."""
    said: dict[str, Any] = {local(one): one.text for one in element if isinstance(one.tag, str)}
    said["_"] = {name: _value(element, name) for name in said}
    return said


def _merged(general: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return general | own | {"_": general.get("_", {}) | own["_"]}


def _places(dataset: Dataset, fields: dict[tuple[str, ...], list[dict[str, Any]]]) -> Iterator[Place]:
    folder = name_in(dataset, dataset.main).removesuffix(dataset.main.name)
    for index, planes in enumerate(fields.values()):
        orders = {key: _order(planes, key) for key in ("PlaneID", "ChannelID", "TimepointID")}
        for one in planes:
            z, c, t = (order.index(int(one.get(key) or 0)) for key, order in orders.items())
            yield Place(f"Image:{index}", f"{folder}{one.get('URL')}", z, c, t)


_ABOUT = (
    "User", "InstrumentType", "PlateID", "MeasurementStartTime", "PlateTypeName", "Name", "PlateRows", "PlateColumns",
)  # fmt: skip


def _about(index: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in stream(index, *_ABOUT):
        found.setdefault(str(one.tag).rpartition("}")[2], (one.text or "").strip())
    return found


def _ome(
    dataset: Dataset, fields: dict[tuple[str, ...], list[dict[str, Any]]], about: dict[str, str], notes: list[str]
) -> OME:
    import tifffile

    first = next(path for path in many.tiffs(dataset.files))
    with tifffile.TiffFile(first) as tiff:
        kind = ome_build.pixel_type(str(tiff.pages.first.aspage().dtype)) or ""
    parts = Parts()
    parts.name_microscope(about.get("InstrumentType"), "PerkinElmer")
    few = sum(map(len, fields.values())) <= ome_xml.MAX_PLANES
    if not few:
        notes.append("the planes are too many to be repeated here, they stay in the index")
    images = []
    for index, ((row, column, place), planes) in enumerate(fields.items()):
        name = f"{about.get('PlateID') or dataset.root.name}, row {row}, column {column}, field {place}"
        images.append(_field(index, name, planes, kind, parts, few=few))
    wells = [(int(row) - 1, int(column) - 1) if row and column else None for row, column, _ in fields]
    sizes = [int(said) if (said := about.get(key, "")).isdecimal() else None for key in ("PlateRows", "PlateColumns")]
    name = about.get("PlateID") or dataset.root.name
    return with_plate(parts.ome(images, about.get("User")), name, wells, *sizes)


def _order(planes: list[dict[str, Any]], key: str) -> list[int]:
    return sorted({int(one.get(key) or 0) for one in planes})


def _field(index: int, name: str, planes: list[dict[str, Any]], kind: str, parts: Parts, *, few: bool) -> Any:
    z, c, t = (_order(planes, key) for key in ("PlaneID", "ChannelID", "TimepointID"))
    first = planes[0]["_"]
    steps = {axis: (step, "µm") for axis in "xy" if (step := positive(first.get(f"ImageResolution{axis.upper()}")))}
    heights = sorted({round(one["_"]["PositionZ"], 4) for one in planes if one["_"].get("PositionZ") is not None})
    gaps = {round(b - a, 3) for a, b in pairwise(heights)}
    if len(z) > 1 and len(gaps) == 1:
        steps["z"] = (gaps.pop(), "µm")
    began = [time for one in planes if (time := date(one.get("AbsTime"))) is not None]
    image = ome_build.image(
        index,
        name,
        {"x": int(first["ImageSizeX"]), "y": int(first["ImageSizeY"]), "z": len(z), "c": len(c), "t": len(t)},
        kind,
        steps=steps,
        channels=[
            _channel(parts, next(one for one in planes if int(one.get("ChannelID") or 0) == channel)) for channel in c
        ],
        planes=[_plane(one, z, c, t) for one in planes] if few else [],
        date=min(began) if began and len({time.tzinfo is None for time in began}) == 1 else None,
    )
    image.objective_settings = parts.objective(
        lens_na=positive(first.get("ObjectiveNA")), nominal_magnification=positive(first.get("ObjectiveMagnification"))
    )
    return image


def _channel(parts: Parts, said: dict[str, Any]) -> dict[str, Any]:
    from ome_types import model

    binning = f"{said.get('BinningX')}x{said.get('BinningY')}"
    modes = {"NonConfocal": "WideField", "Confocal": "SpinningDiskConfocal"}
    return given(
        acquisition_mode=choice(model.Channel_AcquisitionMode, modes.get(said.get("AcquisitionType") or "")),
        illumination_type=choice(model.Channel_IlluminationType, said.get("IlluminationType")),
        detector_settings=parts.detector(model=said.get("CameraType"), binning=binning),
        name=said.get("ChannelName"),
        excitation_wavelength=positive(said["_"].get("MainExcitationWavelength")),
        emission_wavelength=positive(said["_"].get("MainEmissionWavelength")),
    )


def _plane(said: dict[str, Any], z: list[int], c: list[int], t: list[int]) -> dict[str, Any]:
    values = said["_"]
    place = [values.get(f"Position{axis}") for axis in "XY"] + [values.get("AbsPositionZ")]
    return plane(
        z.index(int(said.get("PlaneID") or 0)),
        c.index(int(said.get("ChannelID") or 0)),
        t.index(int(said.get("TimepointID") or 0)),
        delta_s=values.get("MeasurementTimeOffset"),
        exposure_s=values.get("ExposureTime"),
        um=place,
    )
