"""TiffData and Plane elements as text: 100,000 of them through an object model take half a minute."""

from __future__ import annotations

import math
import posixpath
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from xml.sax.saxutils import escape, quoteattr

from agent.snapshot import Block, Image, Planes

Naming = Callable[[str], str]
"""Dataset-relative name of a data file to its name as seen from the document."""


def planes_text(planes: Planes, states: Sequence[str] = ()) -> bytes:
    """The Plane elements of an image; values that are not known are left out.

    `states`: ids of the annotations that `planes.state` counts.
    """
    count = len(planes)
    if not count:
        return b""
    unit = quoteattr(planes.position_unit)
    columns = [
        _column("DeltaT", planes.delta_s, "", ".15g"),
        _column("ExposureTime", planes.exposure_s, "", ".15g"),
        *(
            _column(f"Position{axis}", column, f" Position{axis}Unit={unit}", ".15g")
            for axis, column in (("X", planes.x_um), ("Y", planes.y_um), ("Z", planes.z_um))
        ),
    ]
    places = [
        f'<Plane TheZ="{z}" TheT="{t}" TheC="{c}"'
        for z, t, c in zip(planes.the_z, planes.the_t, planes.the_c, strict=True)
    ]
    ends = [f"><AnnotationRef ID={quoteattr(one)}/></Plane>\n" for one in states] + ["/>\n"]
    # Index -1, the channel's own state, is the last of the ends.
    columns.append([ends[number] for number in planes.state] if planes.state else ["/>\n"] * count)
    return "".join(map("".join, zip(places, *columns, strict=True))).encode()


def _column(name: str, values: array[float], after: str, form: str) -> list[str]:
    """` Name="1.5"` for every row, empty where the value is not known; adding 0 turns -0 into 0."""
    spec = f' {name}="{{:{form}}}"{after}'
    return [spec.format(value + 0.0) if math.isfinite(value) else "" for value in values]


def blocks_text(image: Image, uuids: dict[str, str], naming: Naming | None, alone: str | None = None) -> bytes:
    """The TiffData elements of an image; MetadataOnly without `naming` or when a plane's file is not known.

    `alone`: the data file that the document stands in, where it names no other. When planes of such a file are
    missing, as after a run that was canceled, Bio-Formats doubts all addresses and gives up, unless it finds them
    said in two ways: the first plane by the file's UUID, the others by none, which means this file too.
    """
    if naming is None or not image.blocks or any(block.file is None for block in image.blocks):
        return b"<MetadataOnly/>\n"
    if alone is None or not _lacks_planes(image):
        return "".join(_block(block, uuids, naming) for block in image.blocks).encode()
    first, *others = _apart(image)
    return "".join([_block(first, uuids, naming), *(_block(block, {}, None) for block in others)]).encode()


def _capacity(image: Image) -> int:
    return image.size[2] * (image.size[3] // max(image.samples, 1)) * image.size[4]


def _lacks_planes(image: Image) -> bool:
    counts = [block.count for block in image.blocks]
    return all(count is not None for count in counts) and sum(filter(None, counts)) < _capacity(image)


def _apart(image: Image) -> list[Block]:
    """The blocks with the first plane in a block of its own."""
    first, *others = image.blocks
    if others or not first.count or first.count < 2:
        return list(image.blocks)
    sizes = {"Z": image.size[2], "C": image.size[3] // max(image.samples, 1), "T": image.size[4]}
    place = {"Z": first.first_z or 0, "C": first.first_c or 0, "T": first.first_t or 0}
    for axis in image.order[2:]:
        place[axis] = (place[axis] + 1) % sizes[axis]
        if place[axis]:
            break
    rest = replace(first, ifd=(first.ifd or 0) + 1, first_z=place["Z"], first_c=place["C"], first_t=place["T"],
                   count=first.count - 1)  # fmt: skip
    return [replace(first, count=1), rest]


def _block(block: Block, uuids: dict[str, str], naming: Naming | None) -> str:
    numbers = (
        ("IFD", block.ifd),
        ("FirstZ", block.first_z),
        ("FirstT", block.first_t),
        ("FirstC", block.first_c),
        ("PlaneCount", block.count),
    )
    attributes = "".join(f' {name}="{value}"' for name, value in numbers if value is not None)
    if naming is None:
        return f"<TiffData{attributes}/>\n"
    name = block.file or ""
    uuid = uuids.get(name) or block.uuid or ""
    return f"<TiffData{attributes}><UUID FileName={quoteattr(naming(name))}>{escape(uuid)}</UUID></TiffData>\n"


def from_dataset(name: str) -> str:
    """As seen from the companion document: data files lie one level below it."""
    return f"data/{name}"


def beside(own: str) -> Naming:
    """As seen from the data file `own`."""
    folder = posixpath.dirname(own)
    return lambda name: posixpath.relpath(name, folder or ".")


def files_of(images: Iterable[Image]) -> list[str]:
    """The data files that the images name, each once, in order."""
    return list(dict.fromkeys(block.file for image in images for block in image.blocks if block.file))
