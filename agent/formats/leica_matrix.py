"""Leica Matrix Screener: a tree of slides, chambers and fields, each with OME-TIFF files of one channel and depth.

`metadata/*.ome.xml` in each field describes them in OME 2008-09, which ome-types does not read. Nothing says when
the experiment is over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, many, ome_build
from agent.formats.guarded import attempt, guarded
from agent.formats.members import plain
from agent.formats.parts import Parts, date, number, plane, positive
from agent.formats.places import name_in, placed
from agent.formats.plates import with_plate
from agent.formats.port import Dataset, Metadata, Place, Verdict
from agent.formats.safe_xml import child, child_text, children, parse, tree

if TYPE_CHECKING:
    from lxml.etree import _Element
    from ome_types import OME

_IMAGE = re.compile(r"image--L\d+.*--C\d+\.ome\.tif", re.IGNORECASE)
_FIELD = re.compile(r"field--X\d+--Y\d+")
_WELL = re.compile(r"--U(?P<column>\d{2,3})--V(?P<row>\d{2,3})--")
_MAX_FIELDS = 200


class LeicaMatrix:
    """One experiment of the screener."""

    name = "leica-matrix-ome-tiff"

    def matches(self, path: Path) -> bool:
        if _FIELD.fullmatch(path.parent.name) and _IMAGE.fullmatch(path.name):
            return True
        if path.parent.name == "metadata" and _FIELD.fullmatch(path.parent.parent.name):
            return path.name.endswith(".ome.xml")
        return path.name.startswith("TileConfiguration") and any(path.parent.glob("field--X*"))

    def dataset(self, path: Path) -> Dataset:
        root = _root(path)
        files = tuple(sorted(one for one in root.rglob("*") if one.is_file() and not one.is_symlink()))
        missing = [name for text in _texts(files) for name in _missing(root, text)]
        main = next(iter(_texts(files)), next((one for one in files if _IMAGE.fullmatch(one.name)), path))
        return Dataset(self.name, main, root, files, tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        late = many.missing_verdict(dataset.missing, len(dataset.files)) or many.worst(many.tiffs(dataset.files))
        return late or binary.unknown("every field is complete; only quiet time tells whether another one follows")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images whose data is there."""
        return many.planes(path for path in dataset.files if _IMAGE.fullmatch(path.name))

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset))


def _root(path: Path) -> Path:
    """The folder of the experiment: the one that holds the slides."""
    for one in path.parents:
        if one.name.startswith("slide--S"):
            return one.parent
    return next((one.parent for one in path.parents if _FIELD.fullmatch(one.name)), path.parent)


def _texts(files: Sequence[Path]) -> Iterator[Path]:
    return (path for path in files if path.parent.name == "metadata" and path.name.endswith(".ome.xml"))


def _named(text: _Element) -> list[tuple[int, int, str]]:
    """(channel, depth, file) of every file that a field's text names, nothing that leaves the folder."""
    found = []
    for one in text.iter("{*}TiffData"):
        uuid = child(one, "UUID")
        name = uuid.get("FileName", "") if uuid is not None else ""
        if plain(name):
            found.append((int(one.get("FirstC", "0")), int(one.get("FirstZ", "0")), name))
    return found


def _missing(root: Path, text: Path) -> list[str]:
    found, _ = attempt(text, lambda: _named(parse(text.read_bytes(), text.name)))
    field = text.parent.parent
    if found is None:
        return [f"{text.relative_to(root).as_posix()} (not complete)"]
    return [(field / name).relative_to(root).as_posix() for _, _, name in found if not (field / name).is_file()]


def _read(dataset: Dataset) -> Metadata:
    texts = list(_texts(dataset.files))
    notes = ["the magnification is left out: this software writes 2 for its immersion objectives"]
    if len(texts) > _MAX_FIELDS:
        notes.append(f"{len(texts)} fields are too many to be repeated here: the first {_MAX_FIELDS} are")
    roots = [parse(text.read_bytes(), text.name) for text in texts[:_MAX_FIELDS]]
    parts = Parts()
    ome, errors = attempt(dataset.main, lambda: _ome(parts, roots))
    rest = {"first_field": tree(roots[0])} if roots else {}
    found = Metadata(ome, {}, {"leica_matrix": rest}, errors, tuple(notes))
    return placed(found, dataset, _places(dataset, texts[:_MAX_FIELDS], roots))


def _places(dataset: Dataset, texts: list[Path], roots: list[_Element]) -> Iterator[Place]:
    index = 0
    for text, root in zip(texts, roots, strict=True):
        named = _named(root)
        for channel in sorted({c for c, _, _ in named}):
            files = [name for c, _, name in named if c == channel]
            for z, name in enumerate(files):
                yield Place(f"Image:{index}", name_in(dataset, text.parent.parent / name), z)
            index += 1


def _ome(parts: Parts, roots: list[_Element]) -> OME:
    """One image for each channel of a field, as each is a file of its own."""
    images: list[Any] = []
    wells: list[tuple[int, int] | None] = []
    operator = None
    for root in roots:
        instrument, image = child(root, "Instrument"), child(root, "Image")
        microscope = child(instrument, "Microscope")
        if microscope is not None:
            parts.name_microscope(microscope.get("Model"), microscope.get("Manufacturer"), microscope.get("Type"))
        operator = child_text(root, "Experimenter", "OMEName") or operator
        named = _named(root)
        for channel in sorted({c for c, _, _ in named}):
            files = [name for c, _, name in named if c == channel]
            images.append(_image(len(images), files, channel, parts, instrument, image))
            place = _WELL.search(files[0])
            wells.append((int(place["row"]), int(place["column"])) if place else None)
    return with_plate(parts.ome(images, operator), "", wells)


def _image(
    index: int, files: list[str], channel: int, parts: Parts, instrument: _Element | None, image: _Element | None
) -> Any:
    pixels = child(image, "Pixels")
    if pixels is None:
        raise ValueError("an image without pixels")
    steps = {}
    for axis in "xyz":
        value = positive(pixels.get(f"PhysicalSize{axis.upper()}"))
        if value and (axis != "z" or len(files) > 1):
            steps[axis] = (value, "µm")
    stage = child(pixels, "Plane", "StagePosition")
    # The stage is told in metres, as everywhere in Leica's software.
    metres = [number(stage.get(f"Position{axis}")) if stage is not None else None for axis in "XYZ"]
    made = ome_build.image(
        index,
        files[0].removesuffix(".ome.tif"),
        {"x": int(pixels.get("SizeX", 0)), "y": int(pixels.get("SizeY", 0)), "z": len(files), "c": 1, "t": 1},
        pixels.get("PixelType", "").lower(),
        steps=steps,
        channels=[_channel(parts, instrument, image, channel)],
        planes=[plane(z, 0, 0, um=[None if m is None else m * 1e6 for m in metres]) for z in range(len(files))],
        date=date(child_text(image, "CreationDate")),
    )
    for one in children(instrument, "Objective"):
        reference = child(image, "ObjectiveRef")
        made.objective_settings = parts.objective(
            model=one.get("Model"),
            manufacturer=one.get("Manufacturer"),
            serial_number=one.get("SerialNumber"),
            lens_na=positive(child_text(one, "LensNA")),
            immersion=child_text(one, "Immersion"),
            refractive_index=positive(reference.get("RefractiveIndex")) if reference is not None else None,
        )
        break
    return made


def _channel(parts: Parts, instrument: _Element | None, image: _Element | None, channel: int) -> dict[str, Any]:
    """The text describes the first channel only."""
    fields: dict[str, Any] = {}
    for one in children(instrument, "Detector"):
        settings = parts.detector(
            kind=one.get("Type"),
            manufacturer=one.get("Manufacturer"),
            serial_number=(one.get("ID") or "").partition(":")[2],
        )
        reference = child(image, "LogicalChannel", "DetectorRef")
        if channel == 0 and reference is not None and reference.get("ID") == one.get("ID"):
            fields["detector_settings"] = settings
    logical = child(image, "LogicalChannel")
    pinhole = positive(logical.get("PinholeSize")) if logical is not None and channel == 0 else None
    return fields | ({"pinhole_size": pinhole * 1e6} if pinhole else {})
