"""The header and index of an FEI .ser series."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from agent.formats import binary
from agent.formats.port import Wholeness
from agent.formats.tiff_layout import TroubleError

MARK = b"II\x97\x01"
_ONE_D, _TWO_D = 0x4120, 0x4122
_TYPES = {1: "uint8", 2: "uint16", 3: "uint32", 4: "int8", 5: "int16", 6: "int32", 7: "float32", 8: "float64"}
_TYPES |= {9: "complex64", 10: "complex128"}
_SIZES = {1: 1, 2: 2, 3: 4, 4: 1, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 16}
_MAX_DIMENSIONS = 16
_MAX_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension of the series: its length, step and unit."""

    size: int
    step: float
    unit: str
    name: str


@dataclass(frozen=True, slots=True)
class Series:
    """`steps` are metres of a pixel for images, eV of a channel for spectra; height is 0 for spectra."""

    total: int
    valid: int
    width: int
    height: int
    dtype: str
    steps: tuple[float, float]
    axes: tuple[Axis, ...]
    seconds: tuple[int, ...]
    """Time of every element, seconds since 1970."""


def series(path: Path) -> Series:
    """Raises TroubleError: growing when an element that counts as valid is not in the file."""
    with binary.opened(path) as file:
        order, kind, version, data, _, total, valid = struct.unpack("<2s2sHIIii", file.read(0, 22, "the header"))
        if order + kind != MARK or version not in (0x210, 0x220) or data not in (_ONE_D, _TWO_D):
            raise TroubleError(Wholeness.DAMAGED, "the file does not begin as a TIA series does")
        if not 0 <= valid <= total:
            raise TroubleError(Wholeness.DAMAGED, "the header counts more elements than it planned")
        word = "Q" if version == 0x220 else "I"
        at = 22
        (offsets,) = file.unpack("<" + word, at, "the header")
        at += 8 if word == "Q" else 4
        (dimensions,) = file.unpack("<i", at, "the header")
        if not 0 <= dimensions <= _MAX_DIMENSIONS:
            raise TroubleError(Wholeness.DAMAGED, "the header has impossible dimensions")
        axes, _ = _axes(file, at + 4, dimensions)
        if valid == 0:
            return Series(total, 0, 0, 0, "", (0.0, 0.0), axes, ())
        return _elements(file, data, word, offsets, total, valid, axes)


def _axes(file: binary.Binary, at: int, count: int) -> tuple[tuple[Axis, ...], int]:
    axes = []
    for _ in range(count):
        size, _, step, _ = file.unpack("<iddi", at, "a dimension")
        name, at = _text(file, at + 24)
        unit, at = _text(file, at)
        axes.append(Axis(size, step, unit, name))
    return tuple(axes), at


def _text(file: binary.Binary, at: int) -> tuple[str, int]:
    (length,) = file.unpack("<i", at, "a text")
    if not 0 <= length <= _MAX_TEXT:
        raise TroubleError(Wholeness.DAMAGED, "the header has an impossible text")
    return file.read(at + 4, length, "a text").decode("latin-1"), at + 4 + length


def _elements(
    file: binary.Binary, data: int, word: str, offsets: int, total: int, valid: int, axes: tuple[Axis, ...]
) -> Series:
    width = struct.calcsize("<" + word)
    places = file.unpack(f"<{valid}{word}", offsets, "the index")
    tags = file.unpack(f"<{valid}{word}", offsets + total * width, "the index")
    first: tuple[int, int, str, tuple[float, float]] | None = None
    for place in places:
        found, end = _element(file, data, place)
        file.inside(place, end - place, "the pixels of an element")
        first = first or found
    assert first is not None
    seconds = []
    for tag in tags:
        _, at = file.unpack("<Ii", tag, "the time of an element")
        seconds.append(at)
    return Series(total, valid, first[0], first[1], first[2], first[3], axes, tuple(seconds))


def _element(file: binary.Binary, data: int, at: int) -> tuple[tuple[int, int, str, tuple[float, float]], int]:
    """Size, type and steps of an element, and where it ends."""
    if data == _TWO_D:
        _, step_x, _, _, step_y, _, kind, width, height = file.unpack("<ddiddihii", at, "an element")
        start = at + 50
    else:
        _, step_x, _, kind, width = file.unpack("<ddihi", at, "an element")
        step_y, height, start = 0.0, 0, at + 26
    if kind not in _TYPES or width <= 0 or height < 0:
        raise TroubleError(Wholeness.DAMAGED, "an element has an impossible header")
    end = start + width * (height if data == _TWO_D else 1) * _SIZES[kind]
    return (width, height, _TYPES[kind], (step_x, step_y)), end
