"""What the PVScan XML of PrairieView says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build, safe_xml
from agent.formats.local_dates import day_and_time
from agent.formats.members import plain
from agent.formats.ome_xml import MAX_PLANES, UnreadableError
from agent.formats.parts import Parts, number, plane, positive
from agent.formats.places import placed
from agent.formats.port import Dataset, Metadata, Place
from agent.formats.tiff_layout import IMAGE_DESCRIPTION, SOFTWARE
from agent.formats.tiff_page import Head

if TYPE_CHECKING:
    from lxml.etree import _Element


def is_image(path: Path) -> bool:
    """True for a TIFF that PrairieView wrote."""
    head = Head(path)
    return head.text(SOFTWARE, 64).startswith("Prairie") or "_Cycle" in head.text(IMAGE_DESCRIPTION, 1024)


def index(path: Path) -> _Element:
    """The root of the XML. Raises UnreadableError."""
    with path.open("rb") as file:
        root = safe_xml.parse(file.read(safe_xml.MAX_BYTES + 1), path.name)
    if root.tag != "PVScan":
        raise UnreadableError(f"{path.name} is no PVScan document")
    return root


def images_of(path: Path) -> dict[str, int]:
    """Pages by file name that the XML lists. Raises UnreadableError."""
    pages: Counter[str] = Counter()
    for element in index(path).iter("File"):
        name = element.get("filename", "")
        if plain(name):
            page = number(element.get("page")) or 1
            pages[name] = max(pages[name], int(min(page, 1e6)))
    return dict(pages)


def listed(path: Path) -> list[str]:
    """File names that the XML lists, none while it cannot be read: images, and the recordings beside them."""
    try:
        root = index(path)
    except UnreadableError:
        return []
    names = [
        value
        for element in root.iter("File", "VoltageRecording", "VoltageOutput", "MarkPoints")
        for key, value in element.attrib.items()
        if key in ("filename", "configurationFile", "dataFile") and isinstance(value, str)
    ]
    return list(dict.fromkeys(filter(plain, names)))


def _state(root: _Element) -> dict[str, Any]:
    """The settings at the beginning, as numbers or texts by name, indexed ones as dictionaries."""
    found: dict[str, Any] = {}
    # Before version 5.2 `name_XAxis` was a key of its own.
    for old in safe_xml.children(root, "PVStateShard", "Key"):
        name, _, axis = old.get("key", "").partition("_")
        if not axis:
            found[name] = old.get("value")
        elif isinstance(inner := found.setdefault(name, {}), dict):
            inner[axis] = old.get("value")
    for value in safe_xml.children(root, "PVStateShard", "PVStateValue"):
        key = value.get("key", "")
        if value.get("value") is not None:
            found[key] = value.get("value")
            continue
        indexed: dict[str, Any] = {}
        for one in value:
            inner = {sub.get("subindex", ""): sub.get("value") for sub in one}
            indexed[one.get("index", "")] = inner if len(one) else one.get("value")
        found[key] = indexed
    return found


def _at(frame: _Element, before: dict[str, Any]) -> list[float | None]:
    """Stage x, y and focus of a frame in micrometres."""
    said = _state(frame).get("positionCurrent", {})
    places = {**before, **said} if isinstance(said, dict) else before
    found: list[float | None] = []
    for axis in ("XAxis", "YAxis", "ZAxis"):
        values = places.get(axis)
        found.append(number(values.get("0") if isinstance(values, dict) else values))
    return found


def read(dataset: Dataset) -> Metadata:
    """The metadata of a run."""
    try:
        root = index(dataset.main)
    except UnreadableError as error:
        return Metadata(errors=(str(error),))
    state = _state(root)
    sequences = root.findall("Sequence")
    frames = [sequence.findall("Frame") for sequence in sequences]
    counts = {len(one) for one in frames if one}
    first = next((one[0] for one in frames if one), None)
    state = {**({} if first is None else _state(first)), **state}
    channels = [] if first is None else [(f.get("channel"), f.get("channelName")) for f in first.iter("File")]
    sizes, order = _sizes(sequences, frames, len(channels))
    sizes |= {"x": int(number(state.get("pixelsPerLine")) or 0), "y": int(number(state.get("linesPerFrame")) or 0)}
    notes = [] if len(counts) <= 1 else ["the sequences have different numbers of frames: one row of frames"]
    began, doubt = day_and_time(*root.get("date", "").partition(" ")[::2])
    notes += doubt
    parts = Parts()
    version = root.get("version")
    software = {"PrairieView": version} if version else {}
    rest = {"PVScan": safe_xml.tree(root)}
    head = _first_image(dataset)
    total = sizes.get("t", 1) * sizes.get("z", 1) * sizes.get("c", 1)
    pixels = None if head is None else head.page.pixels
    if pixels is None or not sizes["x"] or not sizes["y"]:
        return Metadata(None, software, rest, notes=("no image is there that says its pixel type",))
    planes = _planes(frames, order, state, len(channels)) if total <= MAX_PLANES else []
    image = ome_build.image(
        0,
        dataset.main.stem,
        sizes,
        pixels,
        steps=_steps(state, sizes),
        channels=[{"name": name} if name else {} for _, name in channels],
        planes=planes,
        date=began,
    )
    image.objective_settings = parts.objective(
        model=state.get("objectiveLens"),
        nominal_magnification=positive(state.get("objectiveLensMag")),
        lens_na=positive(state.get("objectiveLensNA")),
    )
    said = Metadata(parts.ome([image]), software, rest, notes=tuple(notes))
    return placed(said, dataset, _files(frames, order, image.id))


def _files(frames: list[list[_Element]], order: str, image: str) -> Iterator[Place]:
    """Where each channel of each frame lies; a file without a page has one."""
    row = 0
    for t, sequence in enumerate(one for one in frames if one):
        for z, frame in enumerate(sequence):
            for c, file in enumerate(frame.iter("File")):
                place = (z, c, t) if order == "z" else (0, c, row)
                page = int(number(file.get("page")) or 1)
                yield Place(image, file.get("filename", ""), *place, ifd=max(page, 1) - 1)
            row += 1


def _first_image(dataset: Dataset) -> Head | None:
    tiff = next((path for path in dataset.files if path.suffix.lower() in (".tif", ".tiff")), None)
    return None if tiff is None else Head(tiff)


def _sizes(sequences: list[_Element], frames: list[list[_Element]], channels: int) -> tuple[dict[str, int], str]:
    """Sizes, and what a frame of a sequence is: a slice (z) or a time (t)."""
    counts = {len(one) for one in frames if one}
    depth = max(counts, default=1)
    count = sum(1 for one in frames if one)
    stack = any("zseries" in (one.get("type") or "").lower().replace(" ", "") for one in sequences)
    if len(counts) > 1:
        return {"t": sum(map(len, frames)), "c": max(channels, 1)}, "row"
    if stack:
        return {"z": depth, "t": max(count, 1), "c": max(channels, 1)}, "z"
    return {"t": depth * max(count, 1), "c": max(channels, 1)}, "row"


def _steps(state: dict[str, Any], sizes: dict[str, int]) -> dict[str, tuple[float, str]]:
    said = state.get("micronsPerPixel", {})
    axes = ("x", "y", "z") if sizes.get("z", 1) > 1 else ("x", "y")
    values = {axis: positive(said.get(f"{axis.upper()}Axis")) for axis in axes} if isinstance(said, dict) else {}
    return {axis: (value, "µm") for axis, value in values.items() if value}


def _planes(frames: list[list[_Element]], order: str, state: dict[str, Any], channels: int) -> list[dict[str, Any]]:
    said = state.get("positionCurrent", {})
    before = said if isinstance(said, dict) else {}
    found: list[dict[str, Any]] = []
    row = 0
    for t, sequence in enumerate(one for one in frames if one):
        for z, frame in enumerate(sequence):
            seconds = number(frame.get("absoluteTime"))
            where = _at(frame, before)
            for c in range(max(channels, 1)):
                place = (z, c, t) if order == "z" else (0, c, row)
                found.append(plane(*place, delta_s=seconds, um=where))
            row += 1
    return found
