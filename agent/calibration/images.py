"""Reads the images of a calibration: pixels as (T, C, Z, Y, X), and what an analysis needs to know of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.calibration import vendor_pixels, zarr_pixels
from agent.calibration.frames import Image
from agent.errors import Rejected

if TYPE_CHECKING:
    from ome_types import OME
    from ome_types.model import Image as OmeImage

_AXES = "TCZYX"
_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "μm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4, "pm": 1e-6}
_NANOMETRES = {"nm": 1.0, "µm": 1e3, "um": 1e3, "μm": 1e3, "Å": 0.1, "mm": 1e6}
_SECONDS = {"s": 1.0, "ms": 1e-3, "min": 60.0, "µs": 1e-6, "h": 3600.0}
_INDEX = {"air": 1.0, "water": 1.33, "waterdipping": 1.33, "glycerol": 1.46, "oil": 1.515}


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What is known of a channel; wavelengths in nanometres."""

    name: str
    emission_nm: float | None = None
    excitation_nm: float | None = None
    mode: str | None = None
    exposure_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a dataset: pixels with axes T, C, Z, Y, X; None where the file does not say."""

    path: Path
    pixels: Image
    channels: tuple[ChannelFacts, ...]
    pixel_um: float | None = None
    z_step_um: float | None = None
    times_s: tuple[float, ...] = ()
    """Of each time point, since the first."""
    stage_um: tuple[tuple[float, float], ...] = ()
    """x, y of the stage at each time point, micrometres."""
    na: float | None = None
    refractive_index: float | None = None
    objective: str | None = None
    camera: str | None = None


def load(path: Path, ome: OME | None = None, max_gib: float = 16) -> list[Picture]:
    """The images of a TIFF, OME-Zarr, CZI, ND2 or LIF dataset, one for each position.

    `ome`: what is known better than the file says. Rejected when the pixels cannot be read, are colour, or are
    more than `max_gib`.
    """
    if not path.exists():
        raise Rejected(f"{path} does not exist")
    arrays = _arrays(path, max_gib)
    if not arrays:
        raise Rejected(f"{path.name} holds no image")
    said = ome or _metadata(path)
    pictures = []
    for number, array in enumerate(arrays):
        channels = tuple(ChannelFacts(f"channel {c + 1}") for c in range(array.shape[1]))
        picture = Picture(path, array, channels)
        own = number if len(arrays) > 1 or said is None or len(said.images) < 2 else _position(path)
        if said is not None and own < len(said.images):
            picture = _described(picture, said, said.images[own])
        pictures.append(picture)
    return pictures


def _arrays(path: Path, max_gib: float) -> list[Image]:
    def afford(size: int) -> None:
        _affordable(size, path, max_gib)

    folder = zarr_pixels.folder_of(path)
    if folder is not None:
        found = zarr_pixels.read(folder, afford)
    elif path.suffix.lower() in vendor_pixels.READERS:
        found = vendor_pixels.read(path, afford)
    elif path.is_dir():
        raise Rejected(f"{path} is a folder: name the image files in it")
    else:
        return _tiff(path, max_gib)
    return [_ordered(pixels, axes, path) for pixels, axes in found]


def _position(path: Path) -> int:
    """Which of the images a file of several holds: 3 for `x_p003.ome.tiff`, 0 where the name does not say."""
    found = re.search(r"_p(\d+)\.", path.name)
    return int(found[1]) if found else 0


def load_dataset(main: Path, files: Mapping[str, Path], ome: OME, max_gib: float = 16) -> list[Picture]:
    """The images of a dataset that our own OME-XML describes, positions in files of their own included.

    `files`: by the name that the OME-XML knows them by.
    """
    named = [_file_of(image) for image in ome.images]
    if len(set(named)) < 2 or not all(name in files for name in named):
        return load(main, ome, max_gib)
    pictures: list[Picture] = []
    for image, name in zip(ome.images, named, strict=True):
        pictures += [_described(one, ome, image) for one in load(files[name], ome, max_gib / len(named))[:1]]
    return pictures


def _file_of(image: OmeImage) -> str:
    """The file that holds an image; empty where it is not said or there are several."""
    names = {block.uuid.file_name for block in image.pixels.tiff_data_blocks if block.uuid is not None}
    return (names.pop() or "") if len(names) == 1 else ""


def _metadata(path: Path) -> OME | None:
    from agent.formats import identify

    form = identify(path)
    return form.metadata(form.dataset(path)).ome


def _tiff(path: Path, max_gib: float) -> list[Image]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            _affordable(sum(series.nbytes for series in tiff.series), path, max_gib)
            series = list(tiff.series)
            if len({(one.keyframe.parent.filehandle.path, one.keyframe.offset) for one in series}) < len(series):
                # Written as a part of several files: every image is described, one is here.
                series = series[:1]
            return [_ordered(one.asarray(), one.axes, path) for one in series]
    except OSError:
        raise
    except Rejected:
        raise
    except Exception as error:  # tifffile raises anything on odd files
        raise Rejected(f"{path.name}: the pixels cannot be read as TIFF ({error}); export them as OME-TIFF") from error


def _affordable(size: int, path: Path, max_gib: float) -> None:
    if size > max_gib * (1 << 30):
        raise Rejected(f"{path.name} holds {size / (1 << 30):.1f} GiB of pixels, more than {max_gib:g}: crop it")


def _ordered(array: Image, axes: str, path: Path) -> Image:
    """With axes T, C, Z, Y, X. Axes without a name count as time: a bare TIFF stack."""
    named = "".join("T" if axis in "QIR" else axis for axis in axes.upper())
    if "S" in named:
        raise Rejected(f"{path.name}: colour images are no measurement; take single-channel ones")
    if len(set(named)) != len(named) or not set("YX") <= set(named) <= set(_AXES):
        raise Rejected(f"{path.name}: axes {axes} of size {array.shape} are not understood; write them as OME-TIFF")
    for axis in _AXES:
        if axis not in named:
            array, named = array[np.newaxis], axis + named
    return np.transpose(array, [named.index(axis) for axis in _AXES])


def _described(picture: Picture, ome: OME, image: OmeImage) -> Picture:
    pixels = image.pixels
    channels = tuple(
        _channel(pixels.channels[c] if c < len(pixels.channels) else None, pixels.planes, c)
        for c in range(picture.pixels.shape[1])
    )
    objective, index = _objective(ome, image)
    times, stage = _planes(pixels.planes, picture.pixels.shape[0])
    cameras = [d.model or d.id for i in ome.instruments for d in i.detectors]
    z = _in(pixels.physical_size_z, pixels.physical_size_z_unit, _MICROMETRES)
    increment = _in(pixels.time_increment, pixels.time_increment_unit, _SECONDS)
    if not times and increment:
        times = tuple(increment * t for t in range(picture.pixels.shape[0]))
    return replace(
        picture,
        channels=channels,
        pixel_um=_in(pixels.physical_size_x, pixels.physical_size_x_unit, _MICROMETRES),
        z_step_um=z,
        times_s=times,
        stage_um=stage,
        na=getattr(objective, "lens_na", None),
        refractive_index=index,
        objective=getattr(objective, "model", None),
        camera=cameras[0] if len(cameras) == 1 else None,
    )


def _in(value: float | None, unit: Any, table: dict[str, float]) -> float | None:
    """In the unit of the table; None where the value is absent or its unit is none of a length or time."""
    factor = table.get(str(getattr(unit, "value", unit)))
    return float(value) * factor if value and factor else None


def _channel(channel: Any, planes: Any, number: int) -> ChannelFacts:
    if channel is None:
        return ChannelFacts(f"channel {number + 1}")
    exposures = {
        _in(plane.exposure_time, plane.exposure_time_unit, _SECONDS) for plane in planes if plane.the_c == number
    }
    exposure = exposures.pop() if len(exposures) == 1 else None
    return ChannelFacts(
        name=channel.name or f"channel {number + 1}",
        emission_nm=_in(channel.emission_wavelength, channel.emission_wavelength_unit, _NANOMETRES),
        excitation_nm=_in(channel.excitation_wavelength, channel.excitation_wavelength_unit, _NANOMETRES),
        mode=getattr(channel.acquisition_mode, "value", None),
        exposure_ms=exposure * 1e3 if exposure else None,
    )


def _objective(ome: OME, image: OmeImage) -> tuple[Any, float | None]:
    """The objective of the image, and the index of its immersion."""
    every = {one.id: one for instrument in ome.instruments for one in instrument.objectives}
    settings = image.objective_settings
    objective = every.get(settings.id) if settings else next(iter(every.values())) if len(every) == 1 else None
    index = settings.refractive_index if settings else None
    if index is None and objective is not None and objective.immersion is not None:
        index = _INDEX.get(objective.immersion.value.lower())
    return objective, index


def _planes(planes: Any, count: int) -> tuple[tuple[float, ...], tuple[tuple[float, float], ...]]:
    """Time (s) and stage position (um) of the first plane of each time point, where every one has them."""
    first: dict[int, Any] = {}
    for plane in planes:
        first.setdefault(plane.the_t, plane)
    if sorted(first) != list(range(count)):
        return (), ()
    ordered = [first[t] for t in range(count)]
    times = [_in_or_zero(p.delta_t, p.delta_t_unit) for p in ordered]
    stage = [(p.position_x, p.position_y) for p in ordered]
    moved = (
        tuple((float(x), float(y)) for x, y in stage) if all(x is not None and y is not None for x, y in stage) else ()
    )
    if any(t is None for t in times):
        return (), moved
    return tuple(float(t) - float(times[0] or 0) for t in times if t is not None), moved


def _in_or_zero(value: float | None, unit: Any) -> float | None:
    return 0.0 if value == 0 else _in(value, unit, _SECONDS)
