"""What the XML of a LIF file says, as OME: one image for each tile of each Leica image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build, ome_xml
from agent.formats.guarded import attempt
from agent.formats.lif_instrument import Setting, setting
from agent.formats.parts import Parts, number, plane
from agent.formats.port import Metadata
from agent.formats.safe_xml import child, children, parse, tree

if TYPE_CHECKING:
    from lxml.etree import _Element
    from ome_types.model import Image

_AXES = {1: "x", 2: "y", 3: "z", 4: "t", 5: "lambda", 10: "m"}
_KEPT_BYTES = 2 << 20
_MAX_TILES = 5000


@dataclass(frozen=True, slots=True)
class _Dimension:
    axis: str
    count: int
    length: float
    unit: str
    stride: int


def _images(root: _Element) -> Iterator[tuple[str, _Element, _Element]]:
    """(name along the folders, Element, Image) of every image with pixels."""
    for image in root.iter("Image"):
        data = image.getparent()
        element = data.getparent() if data is not None else None
        if element is None or element.tag != "Element" or child(image, "ImageDescription") is None:
            continue
        names = [element.get("Name", "")]
        names += [one.get("Name", "") for one in element.iterancestors("Element")]
        yield "/".join(reversed(names[:-1] if len(names) > 1 else names)), element, image


def _dimensions(image: _Element) -> list[_Dimension]:
    found = []
    for one in children(image, "ImageDescription", "Dimensions", "DimensionDescription"):
        identity = int(one.get("DimID", "0"))
        count = int(one.get("NumberOfElements", "1"))
        if count < 1:
            raise ValueError(f"an axis of {count} elements")
        length = number(one.get("Length")) or 0.0
        axis = _AXES.get(identity, f"axis{identity}")
        found.append(_Dimension(axis, count, length, one.get("Unit", ""), int(one.get("BytesInc", "0"))))
    return found


def planes(root: _Element, there: set[str]) -> int:
    """Planes (x and the next spatial axis) of the images whose memory block is there."""
    total = 0
    for _, element, image in _images(root):
        memory = child(element, "Memory")
        if memory is not None and memory.get("MemoryBlockID") in there:
            dimensions = sorted(_dimensions(image), key=lambda one: one.stride)
            total += prod(one.count for one in dimensions[2:]) * len(_channels(image))
    return total


def _channels(image: _Element) -> list[_Element]:
    return children(image, "ImageDescription", "Channels", "ChannelDescription")


def read(path: Path, raw: bytes) -> Metadata:
    """Raises UnreadableError and what odd content raises; an image that cannot be built is an error line."""
    root = parse(raw, "the description of the images")
    parts = Parts()
    images: list[Image] = []
    errors: list[str] = []
    software: dict[str, str] = {}
    notes: list[str] = []
    for name, _, image in _images(root):
        said = setting(parts, image)
        software |= said.software
        made, trouble = attempt(path, partial(_tiles, len(images), name, image, said, notes))
        images += made or []
        errors += trouble
    if len(raw) <= _KEPT_BYTES:
        rest: dict[str, Any] = {"lif_xml": tree(root)}
    else:
        notes.append(f"{len(raw)} bytes of settings stay in the file, they are too many to be repeated here")
        rest = {"lif_settings": [dict(one.attrib) for one in root.iter("ATLConfocalSettingDefinition")][:20]}
    ome, trouble = attempt(path, lambda: parts.ome(images))
    return Metadata(ome, software, rest, (*errors, *trouble), tuple(dict.fromkeys(notes)))


def _tiles(first: int, name: str, image: _Element, said: Setting, notes: list[str]) -> list[Image]:
    dimensions = _dimensions(image)
    count = next((one.count for one in dimensions if one.axis == "m"), 1)
    if count > _MAX_TILES:
        raise ValueError(f"{count} tiles are too many to be listed")
    times = _times(image)
    frames = _frames(dimensions, image, times, notes)
    places = _places(image, said)
    others = [one.axis for one in dimensions if one.axis not in "xyztm" and one.count > 1]
    if others:
        raise ValueError(f"the axis {others[0]} has no place in OME")
    return [
        _image(first + m, name if count == 1 else f"{name}, tile {m + 1}", image, dimensions, said, times,
               [plane(z, c, t, delta_s=delta, exposure_s=said.exposure(c), um=places(m))
                for (tile, z, c, t), delta in frames if tile == m])
        for m in range(count)
    ]  # fmt: skip


def _image(
    index: int,
    name: str,
    image: _Element,
    dimensions: list[_Dimension],
    said: Setting,
    times: list[datetime],
    frames: list[dict[str, Any]],
) -> Image:
    channels = _channels(image)
    rgb = len(channels) == 3 and [one.get("ChannelTag") for one in channels] == ["1", "2", "3"]
    bits = int(channels[0].get("Resolution", "0"))
    kind = ("float" if bits <= 32 else "double") if channels[0].get("DataType") == "1" else _unsigned(bits)
    sizes = {one.axis: one.count for one in dimensions if one.axis in "xyzt"} | {"c": 1 if rgb else len(channels)}
    steps = {
        one.axis: (abs(one.length) / (one.count - 1) * 1e6, "µm")
        for one in dimensions
        if one.axis in "xyz" and one.count > 1 and one.unit == "m"
    }
    more = {"objective_settings": said.objective} if said.objective is not None else {}
    return ome_build.image(
        index,
        name,
        sizes,
        kind,
        steps=steps,
        increment_s=_increment(dimensions),
        channels=[said.channel(c, len(channels)) for c in range(sizes["c"])],
        samples=3 if rgb else 1,
        planes=frames,
        date=times[0] if times else None,
        significant_bits=bits if kind.startswith("uint") else None,
        more=more,
    )


def _unsigned(bits: int) -> str:
    return "uint8" if bits <= 8 else "uint16" if bits <= 16 else "uint32"


def _increment(dimensions: list[_Dimension]) -> float | None:
    one = next((one for one in dimensions if one.axis == "t"), None)
    if one is None or one.count < 2 or one.unit not in ("s", ""):
        return None
    return abs(one.length) / (one.count - 1)


def _times(image: _Element) -> list[datetime]:
    """When each frame was taken: 100 ns since 1601, in UTC, as hexadecimal text or as pairs of integers."""
    listed = child(image, "TimeStampList")
    if listed is None:
        return []
    ticks = [int(word, 16) for word in (listed.text or "").split()]
    pairs = children(listed, "TimeStamp")
    ticks += [(int(one.get("HighInteger", "0")) << 32) + int(one.get("LowInteger", "0")) for one in pairs]
    start = datetime(1601, 1, 1, tzinfo=UTC)
    limit = 4 * 10**17  # the year 2868; above it a time stamp is none
    return [start + timedelta(microseconds=tick / 10) for tick in ticks] if all(0 < t < limit for t in ticks) else []


def _frames(
    dimensions: list[_Dimension], image: _Element, times: list[datetime], notes: list[str]
) -> list[tuple[tuple[int, int, int, int], float | None]]:
    """((tile, z, c, t), seconds since the first) of every frame, in the order in which they lie in the file."""
    axes = sorted((one for one in dimensions), key=lambda one: one.stride)
    if [one.axis for one in axes[:2]] == ["x", "z"]:
        # A frame of an xz scan covers all z: what is known of it stands at its first.
        notes.append("the frames lie across z: their times and places are told of the first z only")
    elif [one.axis for one in axes[:2]] != ["x", "y"]:
        return []
    channels = _channels(image)
    stride = int(channels[1].get("BytesInc", "0")) if len(channels) > 1 else 0
    order = [(one.stride, one.axis, one.count) for one in axes[2:]] + [(stride, "c", len(channels))]
    order.sort(key=lambda one: -one[0])
    total = prod(one[2] for one in order)
    if total > ome_xml.MAX_PLANES:
        notes.append(f"{total} frames are too many to be repeated here, their times stay in the file")
        return []
    if not total:
        return []
    # Frames along y, in xz scans, share the place of the first.
    found: dict[tuple[int, int, int, int], float | None] = {}
    for index, place in enumerate(product(*(range(one[2]) for one in order))):
        where = dict(zip((one[1] for one in order), place, strict=True))
        delta = (times[index] - times[0]).total_seconds() if len(times) == total else None
        found.setdefault((where.get("m", 0), where.get("z", 0), where.get("c", 0), where.get("t", 0)), delta)
    return list(found.items())


def _places(image: _Element, said: Setting) -> Callable[[int], list[float | None]]:
    """Stage x and y in micrometres by tile."""
    tiles = [one for part in children(image, "Attachment") if part.get("Name") == "TileScanInfo" for one in part]

    def place(tile: int) -> list[float | None]:
        if tile < len(tiles):
            return [_um(tiles[tile].get(f"Pos{axis}")) for axis in "XY"]
        return list(said.stage)

    return place


def _um(metres: str | None) -> float | None:
    value = number(metres)
    return None if value is None else value * 1e6
