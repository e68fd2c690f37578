"""Pixels of vendors' files with a Python reader: CZI (czifile), ND2 (nd2), LIF (liffile); none is needed to run.

Each gives its images with their axes, positions and scenes apart. What a reader raises for a bad file becomes Rejected.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent.calibration.frames import Image
from agent.errors import Rejected

Named = tuple[Image, str]
"""Pixels and one letter an axis: T, C, Z, Y, X; S for the samples of a colour image."""
Afford = Callable[[int], None]
"""Raises Rejected for so many bytes of pixels."""

_BAD = (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, EOFError, struct.error)


def read(path: Path, afford: Afford) -> list[Named]:
    """The images of a file. Rejected when it cannot be read, or its reader is not installed; OSError passes."""
    read_one = READERS[path.suffix.lower()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a reader warns of it also raises, or reads all the same
            return list(read_one(path, afford))
    except ImportError as error:
        raise Rejected(
            f"{path.name} needs {error.name}: pip install 'scope-agent[qc]', or export it as OME-TIFF"
        ) from error
    except (*_BAD, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Rejected(f"{path.name}: the pixels cannot be read ({error}); export them as OME-TIFF") from error


def _nd2(path: Path, afford: Afford) -> Iterator[Named]:
    import nd2

    with nd2.ND2File(path) as file:
        afford(int(np.prod(list(file.sizes.values()))) * file.dtype.itemsize)
        yield from _apart(file.asarray(), "".join(file.sizes), "P")


def _czi(path: Path, afford: Afford) -> Iterator[Named]:
    import czifile

    with czifile.CziFile(str(path)) as file:
        scenes: Any = getattr(file, "scenes", None)
        if scenes is None:
            yield from _old_czi(file, path, afford)
            return
        images = list(scenes.values())
        afford(sum(image.nbytes for image in images))
        for image in images:
            yield from _apart(image.asarray(), "".join(image.dims), "")


def _old_czi(file: Any, path: Path, afford: Afford) -> Iterator[Named]:
    """czifile for Python 3.11 puts all scenes on one canvas."""
    sizes = dict(zip(file.axes, file.shape, strict=True))
    if sizes.get("S", 1) > 1:
        raise Rejected(f"{path.name} holds {sizes['S']} scenes: export the one that was measured as OME-TIFF")
    afford(int(np.prod(file.shape)) * np.dtype(file.dtype).itemsize)
    pixels = file.asarray()
    if "S" in sizes:
        pixels = pixels.squeeze(file.axes.index("S"))
    yield from _apart(pixels, file.axes.replace("S", "").replace("0", "S"), "")


def _lif(path: Path, afford: Afford) -> Iterator[Named]:
    import liffile

    with liffile.LifFile(path) as file:
        images = list(file.images)
        afford(sum(image.nbytes for image in images))
        for image in images:
            yield from _apart(image.asarray(), "".join(image.sizes), "M")


def _apart(pixels: Image, axes: str, places: str) -> Iterator[Named]:
    """One image for each place; axes of one entry that no analysis knows are left out."""
    for number in reversed(range(len(axes))):
        if pixels.shape[number] == 1 and axes[number] not in "TCZYX":
            pixels, axes = pixels.squeeze(number), axes[:number] + axes[number + 1 :]
    at = next((number for number, axis in enumerate(axes) if axis in places), None)
    if at is None:
        yield pixels, axes
        return
    for one in np.moveaxis(pixels, at, 0):
        yield from _apart(one, axes[:at] + axes[at + 1 :], places)


READERS: dict[str, Callable[[Path, Afford], Iterator[Named]]] = {".nd2": _nd2, ".czi": _czi, ".lif": _lif}
