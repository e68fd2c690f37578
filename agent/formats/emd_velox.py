"""Thermo Fisher Velox .emd: HDF5, with a JSON text beside every image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.formats import hdf5_layout, ome_build
from agent.formats.guarded import guarded
from agent.formats.jsonable import Json, jsonable
from agent.formats.parts import Parts, given, number, plane, positive
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness

_MAX_TEXT = 4 << 20
_MAX_IMAGES = 500
_RANK = 3


class EmdVelox:
    """One file."""

    name = "emd-velox"

    def matches(self, path: Path) -> bool:
        return hdf5_layout.begins(path, ".emd")

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        return hdf5_layout.verdict(dataset.main)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Frames of all images; None without h5py."""
        return hdf5_layout.counted(dataset.main, lambda file: sum(int(data.shape[2]) for _, data, _ in _images(file)))

    def metadata(self, dataset: Dataset) -> Metadata:
        verdict = hdf5_layout.verdict(dataset.main)
        # h5py on a cut file can wait or crash in C: only files whose end is where it should be are opened.
        if verdict.state is not Wholeness.WHOLE:
            return Metadata(errors=(f"{dataset.main.name}: {verdict.reason}",))
        return guarded(dataset.main, lambda: _read(dataset.main))


def _images(file: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, pixels (y, x, frame) and metadata of every image."""
    import h5py

    group = file.get("Data/Image")
    if not isinstance(group, h5py.Group):
        return
    for name in list(group)[:_MAX_IMAGES]:
        one = group.get(name)
        data = one.get("Data") if isinstance(one, h5py.Group) else None
        if isinstance(data, h5py.Dataset) and len(data.shape) == _RANK:
            yield name, data, one.get("Metadata")


def _text(metadata: Any) -> dict[str, Any]:
    """The JSON of the first frame: a column of bytes."""
    if metadata is None or metadata.dtype.itemsize != 1 or len(metadata.shape) != 2:
        return {}
    if metadata.shape[0] > _MAX_TEXT:
        return {}
    raw = bytes(metadata[:, 0].tobytes()).split(b"\0", 1)[0]
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _in(said: Any, *path: str) -> Any:
    for name in path:
        said = said.get(name) if isinstance(said, dict) else None
    return said


def _read(path: Path) -> Metadata:
    import h5py

    parts = Parts()
    images: list[Any] = []
    rest: dict[str, Json] = {}
    software: dict[str, str] = {}
    with h5py.File(path, "r", locking=False) as file:
        for name, data, metadata in _images(file):
            said = _text(metadata)
            rest[f"Data/Image/{name}"] = jsonable(said)
            image = _image(len(images), data, said, path, parts)
            if image is not None:
                images.append(image)
            if version := _in(said, "Instrument", "ControlSoftwareVersion"):
                software["Velox instrument control"] = str(version)
    if not images:
        return Metadata(None, software, rest, notes=("the file holds no image that OME has a place for",))
    return Metadata(parts.ome(images), software, rest)


def _image(index: int, data: Any, said: dict[str, Any], path: Path, parts: Parts) -> Any:
    pixels = ome_build.pixel_type(str(data.dtype))
    if pixels is None or not all(data.shape):
        return None
    height, width, frames = (int(size) for size in data.shape)
    instrument, result, optics = (_in(said, key) or {} for key in ("Instrument", "BinaryResult", "Optics"))
    if parts.microscope is None:
        parts.name_microscope(_in(instrument, "InstrumentModel"), _in(instrument, "Manufacturer"))
    name = str(_in(result, "Detector") or "")
    detector: Any = next((d for d in (_in(said, "Detectors") or {}).values() if _in(d, "DetectorName") == name), {})
    wide, high = _in(detector, "Binning", "width"), _in(detector, "Binning", "height")
    settings = parts.detector(model=name or None, binning=f"{wide}x{high}" if wide and high else None)
    steps = {}
    for axis, side in (("x", "width"), ("y", "height")):
        size = positive(_in(result, "PixelSize", side))
        if size and (_in(result, f"PixelUnit{axis.upper()}") or "m") == "m":
            steps[axis] = (size * 1e9, "nm")
    where = [number(_in(said, "Stage", "Position", axis)) for axis in "xyz"]
    stamp = number(_in(said, "Acquisition", "AcquisitionStartDatetime", "DateTime"))
    exposure = positive(_in(detector, "ExposureTime"))
    image = ome_build.image(
        index,
        name or path.name,
        {"x": width, "y": height, "t": frames},
        pixels,
        steps=steps,
        channels=[given(name=name, detector_settings=settings)],
        planes=[plane(0, 0, 0, exposure_s=exposure, um=[None if at is None else at * 1e6 for at in where])],
        date=datetime.fromtimestamp(stamp, tz=UTC) if stamp and 0 < stamp < 4e9 else None,
    )
    image.objective_settings = parts.objective(nominal_magnification=positive(_in(optics, "NominalMagnification")))
    return image
