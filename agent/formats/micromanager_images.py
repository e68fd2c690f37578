"""Micro-Manager's folders of single images, each position a folder with its metadata.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, micromanager_text, ome_build, ome_xml, tiff_layout
from agent.formats import micromanager_tags as tags
from agent.formats.guarded import attempt
from agent.formats.jsonable import jsonable
from agent.formats.members import plain
from agent.formats.parts import Parts, given
from agent.formats.places import name_in, placed
from agent.formats.port import Dataset, Metadata, Place, Verdict

if TYPE_CHECKING:
    from ome_types import OME
    from ome_types.model import Image

_SIDE = ("comments.txt", "display_and_comments.txt", "DisplaySettings.json", "display_settings.txt")
_SAME_RUN = ("UUID", "StartTime", "Time", "Prefix", "Directory", "Positions")


def is_metadata(path: Path) -> bool:
    """Whether it is Micro-Manager's metadata.txt."""
    start = binary.head(path, 4096).lstrip(b"\xef\xbb\xbf \r\n\t")
    return start[:1] == b"{" and re.search(rb'"(Summary|FrameKey-|Coords-|Metadata-)', start) is not None


def major(path: Path) -> str:
    """`1` or `2`: the later one knows coordinates, the earlier one frame keys."""
    raw = binary.head(path, 1 << 18)
    if b'"Coords-' in raw or b'"Metadata-' in raw:
        return "2"
    return "1" if b'"FrameKey-' in raw or re.search(rb'"MicroManagerVersion"\s*:\s*"1', raw) else "2"


def _summary(path: Path) -> dict[str, Any]:
    found = micromanager_text.read(path).get("Summary")
    return found if isinstance(found, dict) else {}


def _positions(main: Path) -> list[Path]:
    """The metadata.txt of every position of the run, `main` alone when nothing joins it with the others."""
    own = _summary(main)
    positions = tags.value(own, "Positions")
    if not isinstance(positions, int) or positions < 2:
        return [main]
    same = {key: own.get(key) for key in _SAME_RUN}
    found = [main]
    for other in sorted(main.parent.parent.glob("*/metadata.txt")):
        if other != main and is_metadata(other):
            summary = _summary(other)
            if {key: summary.get(key) for key in _SAME_RUN} == same:
                found.append(other)
    return sorted(found)


def dataset(name: str, main: Path) -> Dataset:
    """Every position's text and images. The texts name the images."""
    texts = _positions(main)
    root = main.parent if len(texts) == 1 else main.parent.parent
    files: set[Path] = set(texts)
    missing: list[str] = []
    for text in texts:
        named = {plane.name for plane in _planes(micromanager_text.read(text))}
        # The text may be behind the images: those that are there belong to it too.
        there = {one.name for one in text.parent.glob("img_*.tif") if one.is_file()}
        files.update(text.parent / one for one in there | {one for one in named if (text.parent / one).is_file()})
        missing += [
            (text.parent / one).relative_to(root).as_posix()
            for one in sorted(named - there)
            if not (text.parent / one).is_file()
        ]
    for folder in {root, *(text.parent for text in texts)}:
        files.update(folder / one for one in _SIDE if (folder / one).is_file())
    return Dataset(name, texts[0], root, tuple(sorted(files)), tuple(missing))


def verdict(path: Path) -> Verdict | None:
    """About one file; None when it says nothing about the end."""
    if path.name == "metadata.txt":
        return micromanager_text.closed(path)
    if path.suffix.lower() != ".tif":
        return None
    found = tiff_layout.layout(path).verdict
    return Verdict(found.state, f"{path.name}: {found.reason}")


class _Plane:
    """One image: its name, where it belongs, and its tags."""

    __slots__ = ("c", "name", "t", "tags", "z")

    def __init__(self, name: str, t: int, c: int, z: int, found: dict[str, Any]) -> None:
        self.name, self.t, self.c, self.z, self.tags = name, t, c, z, found


def _planes(text: dict[str, Any]) -> Iterator[_Plane]:
    for key, found in text.items():
        if not isinstance(found, dict):
            continue
        if key.startswith("FrameKey-"):
            where = [int(one) for one in re.findall(r"\d+", key)[:3]]
            name = tags.value(found, "FileName")
            if len(where) == 3 and isinstance(name, str) and plain(name):
                yield _Plane(name, where[0], where[1], where[2], found)
        elif key.startswith("Coords-"):
            name = key.removeprefix("Coords-").rpartition("/")[2]
            more = text.get("Metadata-" + key.removeprefix("Coords-"))
            where = [found.get(axis, 0) for axis in ("time", "channel", "z")]
            if plain(name) and all(isinstance(one, int) for one in where):
                yield _Plane(name, where[0], where[1], where[2], more if isinstance(more, dict) else {})


def metadata(dataset: Dataset) -> Metadata:
    """Raises what odd content raises."""
    texts = [path for path in dataset.files if path.name == "metadata.txt"]
    said = _summary(dataset.main)
    notes: list[str] = []
    ome, errors = attempt(dataset.main, lambda: _ome(dataset, texts, said, notes))
    rest = {"summary": jsonable(said)}
    found = Metadata(ome, tags.software(said), {"micromanager": rest}, errors, tuple(notes))
    return placed(found, dataset, _places(dataset, texts))


def _places(dataset: Dataset, texts: list[Path]) -> Iterator[Place]:
    for index, text in enumerate(texts):
        for one in _planes(micromanager_text.read(text)):
            yield Place(f"Image:{index}", name_in(dataset, text.parent / one.name), one.z, one.c, one.t)


def _ome(dataset: Dataset, texts: list[Path], said: dict[str, Any], notes: list[str]) -> OME:
    parts = Parts()
    images = []
    for index, text in enumerate(texts):
        planes = list(_planes(micromanager_text.read(text)))
        if len(planes) * len(texts) > ome_xml.MAX_PLANES:
            notes.append(f"{len(planes)} planes of {text.parent.name} are too many to be repeated here")
        images.append(
            _image(index, text, dataset, said, planes, parts, few=len(planes) * len(texts) <= ome_xml.MAX_PLANES)
        )
    return parts.ome(images, tags.value(said, "UserName"))


def _image(
    index: int, text: Path, dataset: Dataset, said: dict[str, Any], planes: list[_Plane], parts: Parts, *, few: bool
) -> Image:
    first = planes[0].tags if planes else {}
    tiff = next((one for one in dataset.files if one.parent == text.parent and one.suffix == ".tif"), None)
    kind, samples, width, height = _shape(said, first, tiff)
    # Only what was taken counts: the summary announces what was planned, or -1.
    count = {axis: max((getattr(one, axis) for one in planes), default=0) + 1 for axis in "zct"}
    objective, detector = tags.hardware(parts, first)
    names = tags.channel_names(said, count["c"])
    channels = [
        given(detector_settings=detector) | (names[c] if names else {}) for c in ome_build.channel_range(count["c"])
    ]
    made = ome_build.image(
        index,
        text.parent.name,
        {"x": width, "y": height, "z": count["z"], "c": count["c"], "t": count["t"]},
        kind,
        steps=tags.steps(said, first, count["z"]),
        channels=channels,
        samples=samples,
        planes=[tags.plane_fields(one.tags, one.z, one.c, one.t) for one in planes] if few else [],
        date=tags.began(said, first),
    )
    made.objective_settings = objective
    return made


def _shape(said: dict[str, Any], first: dict[str, Any], tiff: Path | None) -> tuple[str, int, int, int]:
    """OME type, samples, width and height: from an image, for the texts may not say them."""
    if tiff is not None:
        import tifffile

        with tifffile.TiffFile(tiff) as file:
            page = file.pages.first.aspage()
            kind = ome_build.pixel_type(str(page.dtype))
            if kind is not None:
                return kind, int(page.samplesperpixel), page.imagewidth, page.imagelength
    kind, samples = tags.pixels(tags.value(first, "PixelType") or tags.value(said, "PixelType"))
    return kind, samples, int(tags.value(said, "Width")), int(tags.value(said, "Height"))
