"""Femtonics MESc: HDF5 with sessions of units; every unit is an image of its own. MESc appends units to one file."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.formats import hdf5_layout, ome_build
from agent.formats.guarded import guarded
from agent.formats.jsonable import Json, jsonable
from agent.formats.parts import Parts, number, positive
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness

_MAX_UNITS = 500
_MAX_TEXT = 1 << 20
_RANK = 3
_SECONDS = {"ms": 1e-3, "s": 1.0}


class FemtonicsMesc:
    """One file."""

    name = "femtonics-mesc"

    def matches(self, path: Path) -> bool:
        return hdf5_layout.begins(path, ".mesc")

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        return hdf5_layout.verdict(dataset.main)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Planes of all channels of all units; None without h5py."""

        def count(file: Any) -> int:
            return sum(int(data.shape[0]) for _, unit in _units(file) for data in _channels(unit))

        return hdf5_layout.counted(dataset.main, count)

    def metadata(self, dataset: Dataset) -> Metadata:
        verdict = hdf5_layout.verdict(dataset.main)
        if verdict.state is not Wholeness.WHOLE:
            return Metadata(errors=(f"{dataset.main.name}: {verdict.reason}",))
        return guarded(dataset.main, lambda: _read(dataset.main))


def _units(file: Any) -> list[tuple[str, Any]]:
    """Name and group of every unit."""
    import h5py

    found: list[tuple[str, Any]] = []
    for session in (name for name in file if name.startswith("MSession_")):
        group = file.get(session)
        for name in list(group) if isinstance(group, h5py.Group) else []:
            unit = group.get(name)
            if name.startswith("MUnit_") and isinstance(unit, h5py.Group) and len(found) < _MAX_UNITS:
                found.append((f"{session}/{name}", unit))
    return found


def _channels(unit: Any) -> list[Any]:
    """The pixels of the channels, as (plane, y, x)."""
    import h5py

    named = [name for name in unit if name.startswith("Channel_") and name[8:].isdecimal()]
    data = [unit.get(name) for name in sorted(named, key=lambda name: int(name[8:]))]
    return [one for one in data if isinstance(one, h5py.Dataset) and len(one.shape) == _RANK]


def _plain(value: Any) -> Json:
    """An attribute; MESc keeps texts as rows of 8-bit or 16-bit character codes that end in 0."""
    import h5py
    import numpy as np

    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray) and value.dtype.kind in "ui" and value.ndim == 1 and value.size and value[-1] == 0:
        codes = value[:-1].tolist()
        if all(32 <= code < 0x3000 or code in (9, 10, 13) for code in codes):
            return "".join(map(chr, codes))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return jsonable(value)


def attributes(unit: Any) -> dict[str, Json]:
    """All attributes of a unit; those above a size stay in the file."""
    return {
        _name(name): _plain(unit.attrs[name])
        for name in unit.attrs
        if math.prod(unit.attrs.get_id(name).shape or ()) < _MAX_TEXT
    }


def _name(name: Any) -> str:
    """h5py gives names that are no UTF-8 as bytes."""
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def _read(path: Path) -> Metadata:
    import h5py

    parts = Parts()
    images: list[Any] = []
    rest: dict[str, Json] = {}
    software: dict[str, str] = {}
    operator = None
    with h5py.File(path, "r", locking=False) as file:
        rest["file"] = attributes(file)
        for name, unit in _units(file):
            said = attributes(unit)
            rest[name] = said
            image = _image(len(images), name, unit, said)
            if image is not None:
                images.append(image)
            operator = str(said.get("ExperimenterUsername") or "") or operator
            if said.get("CreatingMEScVersion"):
                software["MESc"] = str(said["CreatingMEScVersion"]).removeprefix("MESc ")
    if not images:
        return Metadata(None, software, rest, notes=("the file holds no image that OME has a place for",))
    return Metadata(parts.ome(images, operator), software, rest)


def _axis(said: dict[str, Json], axis: str) -> tuple[float, str] | None:
    """Step of an axis and its unit."""
    step = positive(said.get(f"{axis}AxisConversionConversionLinearScale"))
    return None if step is None else (step, str(said.get(f"{axis}AxisConversionUnitName") or "").strip())


def _image(index: int, name: str, unit: Any, said: dict[str, Json]) -> Any:
    channels = _channels(unit)
    if not channels or not all(channels[0].shape) or len({one.shape for one in channels}) != 1:
        return None
    pixels = ome_build.pixel_type(str(channels[0].dtype))
    if pixels is None:
        return None
    planes, height, width = (int(size) for size in channels[0].shape)
    steps: dict[str, tuple[float, str]] = {}
    for axis in "xy":
        found = _axis(said, axis.upper())
        length = ome_build.length_unit(found[1]) if found else None
        if found and length:
            steps[axis] = (found[0], length)
    third = _axis(said, "Z")
    depth = ome_build.length_unit(third[1]) if third else None
    if third and depth:
        steps["z"] = (third[0], depth)
    interval = third[0] * _SECONDS[third[1]] if third and third[1] in _SECONDS else None
    names = [{"name": str(said[key])} if (key := f"Channel_{i}_Name") in said else {} for i in range(len(channels))]
    stamp, nano = number(said.get("MeasurementDatePosix")), number(said.get("MeasurementDateNanoSecs")) or 0
    return ome_build.image(
        index,
        name,
        {"x": width, "y": height, "c": len(channels), "z" if depth else "t": planes},
        pixels,
        steps=steps,
        increment_s=interval,
        channels=names,
        date=datetime.fromtimestamp(stamp + nano / 1e9, tz=UTC) if stamp and 0 < stamp < 4e9 else None,
    )
