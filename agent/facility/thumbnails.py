"""Pictures of channels from OME-TIFF and OME-Zarr, read plane by plane, of large planes part by part."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from agent.contract.layout import DATA
from agent.errors import Damaged, Rejected

if TYPE_CHECKING:
    import numpy as np

    from agent.facility.storage import Storage

SIDE = 320
"""Pixels of the longer side."""
_MAX_PICTURES = 8
_MAX_PLANE = 1 << 26
"""Pixels of a plane that are decoded at once; a larger one is read in strips or tiles."""
_MAX_SAMPLES = 4
_MAX_LENT = 1 << 31
_MANY = 3000
_MAX_CHUNK = 1 << 28
"""Pixels of a chunk, which can only be decoded as a whole."""
_TIFF = (".tif", ".tiff", ".btf")
_ZARR = ("zarr.json", ".zattrs")


@dataclass(frozen=True, slots=True)
class Picture:
    """A thumbnail as PNG, and what is said of it."""

    png: bytes
    said: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane that was read, already small."""

    name: str | None
    pixels: np.ndarray[Any, Any]


def draw(storage: Storage, dataset: str, names: list[str]) -> tuple[list[Picture], str | None]:
    """The pictures of a dataset, and why there are none or not all. `names` are those of the channels, in order."""
    paths = sorted(storage.manifest(dataset))
    found: list[Picture] = []
    problems = []
    for kind, head, members in _images(paths):
        if len(found) >= _MAX_PICTURES:
            break
        try:
            found += _pictures(storage, dataset, (kind, head, members), names)[: _MAX_PICTURES - len(found)]
        except Exception as error:  # noqa: BLE001 - readers raise anything on damaged images; it is shown as the reason
            problems.append(f"{head}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"[:300])
        if found:
            break  # One image shows every channel; further positions look alike.
    if not found and not problems:
        return [], "no image of a kind that can be shown here (OME-TIFF, TIFF, OME-Zarr)"
    return found, "; ".join(problems[:3]) or None


def _images(paths: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """(kind, first file, all files) of what looks like an image: stores first, then files."""
    stores = {str(PurePosixPath(path).parent) for path in paths if PurePosixPath(path).name in _ZARR}
    tops = [
        store for store in sorted(stores) if not any(f"{store}/".startswith(f"{other}/") for other in stores - {store})
    ]
    for top in tops:
        if top.startswith(f"{DATA}/"):
            yield "zarr", top, [path for path in paths if path.startswith(f"{top}/")]
    for path in paths:
        if (
            path.startswith(f"{DATA}/")
            and path.lower().endswith(_TIFF)
            and not any(path.startswith(f"{t}/") for t in tops)
        ):
            yield "tiff", path, [path]


def _pictures(storage: Storage, dataset: str, image: tuple[str, str, list[str]], names: list[str]) -> list[Picture]:
    kind, head, members = image
    lent = members if kind == "tiff" else _needed(storage, head, members)
    if not storage.lends_in_place and sum(storage.open(dataset, path).size for path in lent[:_MANY]) > _MAX_LENT:
        raise Rejected(f"{head} is too large to be fetched for a picture")
    with storage.lend(dataset, lent) as root:
        planes = list(_tiff_planes(root / head) if kind == "tiff" else _zarr_planes(root / head))
    found = []
    for number, plane in enumerate(planes):
        name = names[number] if number < len(names) and len(names) >= len(planes) else plane.name
        found.append(_picture(plane.pixels, name or f"channel {number}", head))
    return found


# TIFF


def _tiff_planes(path: Path) -> Iterator[Plane]:
    """One plane of each channel, in the middle of Z and at the first time point."""
    import numpy as np
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            level = _level([(one.shape[one.axes.index("Y")], one.shape[one.axes.index("X")]) for one in series.levels])
            shown = series.levels[level]
            for number in _plane_numbers(shown.axes, shown.shape):
                if number < len(shown.pages):
                    if (page := shown.pages[number]) is not None:
                        yield Plane(None, _small_page(page, path))
                elif shown.dataoffset is not None:
                    # ImageJ writes one page and the planes behind it.
                    page = shown.keyframe
                    offset = shown.dataoffset + number * page.size * np.dtype(page.dtype).itemsize
                    yield Plane(None, _mapped(path, page, offset))
    except (tifffile.TiffFileError, tifffile.OmeXmlError) as error:
        raise Damaged(f"it cannot be read: {error}") from error


def _plane_numbers(axes: str, shape: tuple[int, ...]) -> Iterator[int]:
    """Numbers of the pages to show: planes are stored in the order of the axes before Y and X."""
    planes = [(axis, length) for axis, length in zip(axes, shape, strict=True) if axis not in "YXS"]
    channels = next((length for axis, length in planes if axis == "C"), 1)
    for channel in range(min(channels, _MAX_PICTURES)):
        number = 0
        for axis, length in planes:
            at = channel if axis == "C" else length // 2 if axis == "Z" else 0
            number = number * length + at
        yield number


def _mapped(path: Path, page: Any, offset: int) -> np.ndarray[Any, Any]:
    """A plane that lies in the file as it is: only the pixels that are shown are read."""
    import numpy as np

    dtype = np.dtype(f"{page.parent.byteorder}{page.dtype.char}")
    plane = np.memmap(path, dtype, "r", offset, (page.imagelength, page.imagewidth, page.samplesperpixel))
    step = _step(page.imagelength, page.imagewidth)
    return _reduced(_grey_or_colour(np.array(plane[::step, ::step])))


def _grey_or_colour(plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`(height, width)` or `(height, width, samples)`; a line scan keeps its height of one."""
    return plane[..., 0] if plane.shape[-1] == 1 else plane


def _step(height: int, width: int) -> int:
    return -(-max(height, width) // (2 * SIDE)) if height * width > _MAX_PLANE else 1


def _small_page(page: Any, path: Path) -> np.ndarray[Any, Any]:
    import numpy as np

    # The other pages of a series know of themselves only where they lie.
    key = page.keyframe
    height, width = key.imagelength, key.imagewidth
    if key.samplesperpixel > _MAX_SAMPLES:
        raise Rejected(f"{key.samplesperpixel} samples a pixel cannot be shown")
    if height * width <= _MAX_PLANE:
        pixels = page.asarray()
        return _reduced(pixels.reshape(height, width) if pixels.size == height * width else np.squeeze(pixels))
    if key.is_memmappable:
        return _mapped(path, key, page.dataoffsets[0])
    if math.prod(key.chunks) > _MAX_CHUNK:
        raise Rejected("its strips or tiles are too large to be decoded")
    step = _step(height, width)
    canvas: np.ndarray[Any, Any] | None = None
    for data, index, _ in page.segments(maxworkers=1):
        if data is None:
            continue
        top, left = index[-3], index[-2]
        block = data[0] if data.ndim == 4 else data
        rows, columns = (-top) % step, (-left) % step
        small = block[rows::step, columns::step]
        if canvas is None:
            canvas = np.zeros((-(-height // step), -(-width // step), block.shape[-1]), block.dtype)
        y, x = (top + rows) // step, (left + columns) // step
        fits = small[: canvas.shape[0] - y, : canvas.shape[1] - x]
        canvas[y : y + fits.shape[0], x : x + fits.shape[1]] = fits
    if canvas is None:
        raise Damaged("it holds no pixels")
    return _reduced(_grey_or_colour(canvas))


# OME-Zarr


def _needed(storage: Storage, top: str, members: list[str]) -> list[str]:
    """The files to lend. Raises Rejected."""
    # Which chunks are read, only the array knows; a store that has very many is not fetched for a picture.
    if not storage.lends_in_place and len(members) > _MANY:
        raise Rejected(f"{top} has too many files to be fetched for a picture")
    return members


def _zarr_planes(top: Path) -> Iterator[Plane]:
    """One plane of each channel of the first image of the store."""
    import numpy as np

    group, multiscales = _multiscales(top)
    axes = [
        axis["name"].lower() if isinstance(axis, dict) else str(axis).lower() for axis in multiscales.get("axes", [])
    ]
    arrays = [_opened(group / one["path"]) for one in multiscales["datasets"]]
    level = arrays[_level([(array.shape[-2], array.shape[-1]) for array in arrays])]
    if not axes:
        axes = list("tczyx")[-level.ndim :]
    height, width = level.shape[-2:]
    channels = level.shape[axes.index("c")] if "c" in axes else 1
    names = _channel_names(group)
    step = _step(height, width)
    if math.prod(level.chunk_layout.read_chunk.shape or (1,)) > _MAX_CHUNK:
        raise Rejected("its chunks are too large to be decoded")
    for channel in range(min(channels, _MAX_PICTURES)):
        at = {"c": channel, "z": level.shape[axes.index("z")] // 2 if "z" in axes else 0}
        plane = level[tuple(at.get(axis, 0) for axis in axes[:-2])]
        rows = max(1, _MAX_PLANE // max(1, width))
        strips = [
            np.asarray(plane[top_row : min(top_row + rows, height)].read().result())[(-top_row) % step :: step, ::step]
            for top_row in range(0, height, rows)
        ]
        yield Plane(names[channel] if channel < len(names) else None, _reduced(np.concatenate(strips)))


def _multiscales(top: Path) -> tuple[Path, dict[str, Any]]:
    """The first group with an image, from the top down."""
    for group in [top, *sorted(path for path in top.rglob("*") if path.is_dir() and path.name != "c")]:
        attributes = _attributes(group)
        if attributes.get("multiscales"):
            return group, attributes["multiscales"][0]
    raise Damaged("it holds no image")


def _attributes(group: Path) -> dict[str, Any]:
    for name in _ZARR:
        file = group / name
        if file.is_file() and file.stat().st_size < 1 << 24:
            said = json.loads(file.read_text(encoding="utf-8"))
            found = said.get("attributes", {}) if name == "zarr.json" else said
            return dict(found.get("ome") or found)
    return {}


def _channel_names(group: Path) -> list[str | None]:
    channels = (_attributes(group).get("omero") or {}).get("channels") or []
    return [str(one["label"]) if one.get("label") else None for one in channels]


def _opened(path: Path) -> Any:
    import tensorstore

    driver = "zarr3" if (path / "zarr.json").is_file() else "zarr"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path.resolve().as_posix()}/"}}
    return tensorstore.open(spec, read=True).result()


# Pixels


def _level(sizes: Iterable[tuple[int, int]]) -> int:
    """The smallest level of a pyramid that is not smaller than a thumbnail."""
    chosen = 0
    for number, (height, width) in enumerate(sizes):
        if number == 0 or max(height, width) >= SIDE:
            chosen = number
    return chosen


def _reduced(plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The plane with its longer side near SIDE, by means over blocks, so that fine structure does not flicker."""
    import numpy as np

    if plane.ndim == 3 and plane.shape[0] <= _MAX_SAMPLES < plane.shape[-1]:
        plane = np.moveaxis(plane, 0, -1)
    if plane.ndim not in (2, 3) or (plane.ndim == 3 and plane.shape[-1] > _MAX_SAMPLES):
        raise Rejected(f"a plane of shape {plane.shape} cannot be shown")
    plane = np.abs(plane) if np.iscomplexobj(plane) else plane
    # Counts of double precision may be larger than single precision holds.
    precision = np.float64 if plane.dtype == np.float64 else np.float32
    factor = max(1, round(max(plane.shape[:2]) / SIDE))
    if factor > 1:
        # A line scan is shortened along its line only.
        high, wide = (min(factor, length) for length in plane.shape[:2])
        rows, columns = plane.shape[0] // high, plane.shape[1] // wide
        cut = plane[: rows * high, : columns * wide]
        plane = cut.reshape((rows, high, columns, wide, *cut.shape[2:])).mean(axis=(1, 3), dtype=precision)
    return plane.astype(precision)


def _picture(plane: np.ndarray[Any, Any], name: str, file: str) -> Picture:
    """Contrast from the 0.5th to the 99.8th percentile; colour pictures as they are."""
    import numpy as np
    from PIL import Image

    finite = plane[np.isfinite(plane)]
    if plane.ndim == 3:
        low, high = 0.0, 255.0 if finite.size and finite.max() <= 255 else float(finite.max(initial=1))
        plane = plane[..., :3] if plane.shape[-1] >= 3 else plane[..., 0]
    elif finite.size:
        low, high = (float(value) for value in np.percentile(finite, (0.5, 99.8)))
    else:
        low, high = 0.0, 0.0
    span = high - low if high > low else 1.0
    shown = np.nan_to_num(np.clip((plane - low) / span, 0, 1)) * 255
    image = Image.fromarray(shown.astype(np.uint8))
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    said = {"name": name[:200], "file": file, "width": image.width, "height": image.height, "low": low, "high": high}
    return Picture(out.getvalue(), said)
