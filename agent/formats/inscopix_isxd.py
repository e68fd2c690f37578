"""Inscopix .isxd: frames, then a JSON text, then its length in the last eight bytes. Whole when that text is there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.formats import binary, ome_build
from agent.formats.guarded import guarded
from agent.formats.parts import Parts, number
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_layout import TroubleError

_TYPES = {0: ("uint16", 2), 1: ("float32", 4), 2: ("uint8", 1)}


def footer(path: Path) -> dict[str, Any]:
    """The text at the end. Raises TroubleError: growing until it is there."""
    with binary.opened(path) as file:
        if file.size < 16:
            raise TroubleError(Wholeness.GROWING, "the file has no footer yet")
        (length,) = file.unpack("<Q", file.size - 8, "the footer")
        if not 2 <= length <= min(file.size - 8, binary.MAX_PIECE):
            raise TroubleError(Wholeness.GROWING, "the file has no footer yet")
        # The length does not count a zero behind the text.
        start = max(file.size - 9 - length, 0)
        raw = file.read(start, file.size - 8 - start, "the footer").strip(b"\0")
    at = raw.find(b"{")
    try:
        found = json.loads(raw[at:]) if at >= 0 else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TroubleError(Wholeness.GROWING, "the file does not end in a footer yet")
    return found


def _ratio(said: Any) -> float | None:
    """A number that is kept as a fraction."""
    above, below = (number(said.get(key)) if isinstance(said, dict) else None for key in ("num", "den"))
    return above / below if above is not None and below else None


def _in(said: Any, *path: str) -> Any:
    for name in path:
        said = said.get(name) if isinstance(said, dict) else None
    return said


class InscopixIsxd:
    """One movie or image."""

    name = "inscopix-isxd"

    def matches(self, path: Path) -> bool:
        return path.suffix.lower() == ".isxd" and path.is_file()

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        try:
            said = footer(dataset.main)
        except TroubleError as trouble:
            return trouble.verdict
        need = (self._frames(said) or 0) * (_frame_bytes(said) or 0)
        if need > dataset.main.stat().st_size:
            return binary.damaged("the footer describes more frames than the file can hold")
        return binary.whole("the footer is there")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        try:
            return self._frames(footer(dataset.main))
        except TroubleError:
            return None

    def _frames(self, said: dict[str, Any]) -> int | None:
        count = number(_in(said, "timingInfo", "numTimes"))
        return int(count) if count is not None and 0 < count < 1e9 else None

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: self._read(dataset.main))

    def _read(self, path: Path) -> Metadata:
        try:
            said = footer(path)
        except TroubleError as trouble:
            return Metadata(errors=(f"{path.name}: {trouble.verdict.reason}",))
        width, height = (number(_in(said, "spacingInfo", "numPixels", axis)) for axis in "xy")
        dtype, _ = _kind(said) or ("", 0)
        pixels, frames = ome_build.pixel_type(dtype), self._frames(said)
        version = _in(said, "extraProperties", "producer", "version")
        software = {"Inscopix acquisition": str(version)} if version else {}
        rest = {"Inscopix": said}
        if pixels is None or not width or not height or not frames:
            return Metadata(None, software, rest, notes=("the footer does not describe a movie",))
        parts = Parts()
        scope = _in(said, "extraProperties", "microscope")
        parts.name_microscope(_in(scope, "type"), "Inscopix")
        if parts.microscope is not None and _in(scope, "serial"):
            parts.microscope.serial_number = str(_in(scope, "serial"))
        image = ome_build.image(
            0,
            path.name,
            {"x": int(width), "y": int(height), "t": frames},
            pixels,
            increment_s=_ratio(_in(said, "timingInfo", "period")),
            date=_when(said),
        )
        note = "the footer's pixel size is that of the sensor, not of the sample: left out"
        return Metadata(parts.ome([image]), software, rest, notes=(note,))


def _kind(said: dict[str, Any]) -> tuple[str, int] | None:
    """Pixel type and its bytes; None where the footer names none that is known."""
    number_of_type = said.get("dataType")
    return _TYPES.get(number_of_type) if isinstance(number_of_type, int) else None


def _frame_bytes(said: dict[str, Any]) -> int | None:
    width, height = (number(_in(said, "spacingInfo", "numPixels", axis)) for axis in "xy")
    kind = _kind(said)
    return int(width * height) * kind[1] if kind and width and height else None


def _when(said: dict[str, Any]) -> datetime | None:
    """The start counts from 1970 in UTC; `utcOffset` is kept, its unit is not documented."""
    stamp = _ratio(_in(said, "timingInfo", "start", "secsSinceEpoch"))
    return datetime.fromtimestamp(stamp, tz=UTC) if stamp is not None and 0 < stamp < 4e9 else None
