"""What index, summary and planes of an NDTiff dataset say, as OME."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

from agent.formats import micromanager_tags as tags
from agent.formats import ndtiff, ome_build, ome_xml
from agent.formats.guarded import attempt
from agent.formats.jsonable import jsonable
from agent.formats.parts import Parts, given
from agent.formats.places import name_in, placed
from agent.formats.port import Dataset, Metadata, Place

if TYPE_CHECKING:
    from ome_types import OME
    from ome_types.model import Image

_PIXELS = {
    0: ("uint8", 1, 8),
    1: ("uint16", 1, 16),
    2: ("uint8", 3, 8),
    3: ("uint16", 1, 10),
    4: ("uint16", 1, 12),
    5: ("uint16", 1, 14),
    6: ("uint16", 1, 11),
}
"""OME type, samples and significant bits by the number of an NDTiff pixel type."""
_TEXT = 1 << 20


def read(dataset: Dataset) -> Metadata:
    """Raises what odd content raises."""
    listed = list(ndtiff.entries(dataset.main))
    if not listed:
        return Metadata(errors=(f"{dataset.main.name}: it lists no plane",))
    folder = dataset.main.parent
    said = ndtiff.summary(folder / listed[0].file)
    notes: list[str] = []
    texts = _texts(dataset, listed, notes)
    first = texts[0] if texts else {}
    ome, errors = attempt(dataset.main, lambda: _ome(dataset, listed, texts, said))
    rest = {"summary": jsonable(said), "first_plane": jsonable(first), "axes": _values(listed)}
    found = Metadata(ome, tags.software(said), {"ndtiff": rest}, errors, tuple(notes))
    return placed(found, dataset, _places(dataset, listed))


def _values(listed: list[ndtiff.Entry]) -> dict[str, list[Any]]:
    """The values of every axis, in the order in which they were acquired."""
    found: dict[str, dict[Hashable, None]] = {}
    for entry in listed:
        for axis, value in entry.axes.items():
            found.setdefault(axis, {})[value if isinstance(value, Hashable) else str(value)] = None
    return {axis: list(values) for axis, values in found.items()}


def _texts(dataset: Dataset, listed: list[ndtiff.Entry], notes: list[str]) -> list[dict[str, Any]]:
    """The metadata of every plane; of the first one only when there are too many to be repeated."""
    wanted = listed
    if len(listed) > ome_xml.MAX_PLANES:
        notes.append(f"{len(listed)} planes are too many to be repeated here, they stay in the files")
        wanted = listed[:1]
    found: list[dict[str, Any]] = []
    folder = dataset.main.parent
    for entry in wanted:
        if folder / entry.file not in dataset.files or entry.text_length > _TEXT:
            found.append({})
            continue
        with (folder / entry.file).open("rb") as file:
            file.seek(entry.text)
            text = json.loads(file.read(entry.text_length) or b"{}")
        found.append(text if isinstance(text, dict) else {})
    return found


def _ome(dataset: Dataset, listed: list[ndtiff.Entry], texts: list[dict[str, Any]], said: dict[str, Any]) -> OME:
    parts = Parts()
    objective, detector = tags.hardware(parts, texts[0] if texts else {})
    values = _values(listed)
    outer, groups = _groups(listed, values)
    images = []
    for index, (where, numbers) in enumerate(groups.items()):
        name = ", ".join([dataset.root.name, *(f"{axis} {value}" for axis, value in zip(outer, where, strict=True))])
        image = _image(index, name, listed, numbers, texts, said, values, detector)
        image.objective_settings = objective
        images.append(image)
    return parts.ome(images)


def _groups(
    listed: list[ndtiff.Entry], values: dict[str, list[Any]]
) -> tuple[list[str], dict[tuple[Any, ...], list[int]]]:
    """The axes that make images of their own, and the entries of each image."""
    outer = [axis for axis in values if axis not in ("z", "time", "channel") and len(values[axis]) > 1]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, entry in enumerate(listed):
        groups.setdefault(tuple(str(entry.axes.get(axis)) for axis in outer), []).append(number)
    return outer, groups


def _orders(values: dict[str, list[Any]]) -> dict[str, dict[Any, int]]:
    """The number of every value on z, time and channel."""
    return {
        axis: {value: n for n, value in enumerate(_sorted(values.get(axis, [0])))} for axis in ("z", "time", "channel")
    }


def _places(dataset: Dataset, listed: list[ndtiff.Entry]) -> Iterator[Place]:
    """Planes lie in a stack in the order of its directories."""
    values = _values(listed)
    order = _orders(values)
    numbers: dict[int, int] = {}
    for file in {entry.file for entry in listed}:
        mine = [number for number, entry in enumerate(listed) if entry.file == file]
        numbers |= {number: n for n, number in enumerate(sorted(mine, key=lambda number: listed[number].offset))}
    folder = dataset.main.parent
    for index, members in enumerate(_groups(listed, values)[1].values()):
        for number in members:
            entry = listed[number]
            z, c, t = (order[axis].get(entry.axes.get(axis, 0), 0) for axis in ("z", "channel", "time"))
            yield Place(f"Image:{index}", name_in(dataset, folder / entry.file), z, c, t, ifd=numbers[number])


def _image(
    index: int,
    name: str,
    listed: list[ndtiff.Entry],
    numbers: list[int],
    texts: list[dict[str, Any]],
    said: dict[str, Any],
    values: dict[str, list[Any]],
    detector: Any,
) -> Image:
    first = listed[numbers[0]]
    kind, samples, bits = _PIXELS[first.kind]
    order = _orders(values)
    places: dict[tuple[int, int, int], dict[str, Any]] = {}
    for number in numbers:
        axes = listed[number].axes
        place = tuple(order[axis].get(axes.get(axis, 0), 0) for axis in ("z", "channel", "time"))
        # A plane that was taken again replaces the one before.
        places[place[0], place[1], place[2]] = texts[number] if len(texts) == len(listed) else {}
    opening = texts[numbers[0]] if len(texts) == len(listed) else (texts[0] if texts else {})
    sizes = {
        "x": first.width,
        "y": first.height,
        "z": len(order["z"]),
        "c": len(order["channel"]),
        "t": len(order["time"]),
    }
    names = [value if isinstance(value, str) else None for value in order["channel"]]
    return ome_build.image(
        index,
        name,
        sizes,
        kind,
        steps=tags.steps(said, opening, sizes["z"]),
        channels=[given(name=one, detector_settings=detector) for one in names],
        samples=samples,
        planes=[tags.plane_fields(text, *place) for place, text in sorted(places.items()) if text],
        date=tags.began(said, opening),
        significant_bits=bits,
    )


def _sorted(values: list[Any]) -> list[Any]:
    """Positions by number; channels in the order of their acquisition."""
    return sorted(values) if all(isinstance(value, int) for value in values) else values
