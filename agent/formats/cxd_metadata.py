"""What the small streams of a CXD file say, as OME: `Field 1/.../Image_Width` and so on, mostly doubles.

Nobody documents them; the names are those that HCImage and SimplePCI write.
"""

from __future__ import annotations

import re
import struct
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build
from agent.formats.ome_xml import MAX_PLANES
from agent.formats.parts import Parts, first_number, number, plane, positive

if TYPE_CHECKING:
    from ome_types import OME

_FIELD = re.compile(r"Field (\d+)(?:/|$)")
_SINCE_1601 = (1.2e10, 1.5e10)
"""Seconds between the years 1981 and 2076."""


def ome(name: str, streams: dict[str, bytes], frames: int) -> OME:
    """`streams` are the small ones by path. Raises ValueError where the size of the image is not said."""
    width, height, depth = (_number(streams, key) for key in ("Image_Width", "Image_Height", "Image_Depth"))
    if not width or not height or not depth:
        raise ValueError("the size of the images is not said")
    bits = int(depth)
    samples = 3 if bits % 3 == 0 else 1
    size = next((wide for wide in (8, 16, 32) if wide >= bits // samples), 0)
    times, heights = _by_field(streams, "Time_From_Start"), _by_field(streams, "Position_Z")
    steps = {}
    scale = _scale(streams)
    if scale:
        steps = {"x": (scale, "µm"), "y": (scale, "µm")}
    parts = Parts()
    planes: list[dict[str, Any]] = []
    fields = sorted(times) if len(times) == frames <= MAX_PLANES else []
    for index, field in enumerate(fields):
        planes.append(plane(0, 0, index, delta_s=times[field], um=[None, None, heights.get(field)]))
    image = ome_build.image(
        0,
        name,
        {"x": int(width), "y": int(height), "t": max(frames, 1)},
        f"uint{size}",
        steps=steps,
        samples=samples,
        significant_bits=bits // samples,
        planes=planes,
        date=_date(streams),
    )
    return parts.ome([image])


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _number(streams: dict[str, bytes], name: str) -> float | None:
    """The first stream with that name in its own."""
    for path, raw in streams.items():
        if name in _last(path) and (value := positive(_double(raw))) is not None and value < 1e6:
            return value
    return None


def _by_field(streams: dict[str, bytes], name: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for path, raw in streams.items():
        field = _FIELD.search(path)
        value = number(_double(raw))
        if name in _last(path) and field is not None and value is not None and abs(value) < 1e9:
            found.setdefault(int(field[1]), value)
    return found


def _double(raw: bytes) -> float | None:
    return struct.unpack_from("<d", raw)[0] if len(raw) >= 8 else None


def _date(streams: dict[str, bytes]) -> datetime | None:
    """Seconds since 1601, on the clock of the PC."""
    for path, raw in streams.items():
        if _last(path) == "First Field Date & Time":
            seconds = _double(raw)
            if seconds is not None and _SINCE_1601[0] < seconds < _SINCE_1601[1]:
                return datetime(1601, 1, 1) + timedelta(seconds=int(seconds))  # noqa: DTZ001 - it names no zone
    return None


def _scale(streams: dict[str, bytes]) -> float | None:
    """Micrometres of a pixel, where the comments say so: `factor=0.65;...`."""
    for path, raw in streams.items():
        if _last(path) == "Comments":
            for line in raw.decode("latin-1").splitlines():
                key, _, value = line.partition("=")
                if key.strip().lower() == "factor":
                    return positive(first_number(value.partition(";")[0]))
    return None
