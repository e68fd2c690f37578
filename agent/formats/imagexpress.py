"""ImageXpress plates of MetaXpress: MetaSeries TIFF files, often with an .HTD text.

They lie in `TimePoint_N` folders, or without them where there is one time point, and within those in `ZStep_N`
folders; what lies beside those are projections and single planes. The text is written when the plate begins and
says which wells, sites, waves and time points will come. Plates without it have no sign of their end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, many, metamorph_tags, ome_build, ome_xml, plates
from agent.formats.guarded import attempt, guarded
from agent.formats.metamorph_nd import Text, text
from agent.formats.parts import Parts, plane
from agent.formats.places import name_in, placed
from agent.formats.port import Dataset, Metadata, Place, Verdict

if TYPE_CHECKING:
    from ome_types import OME

_GUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_IMAGE = re.compile(
    rf"(?P<plate>.+)_(?P<well>[A-Z]{{1,2}}\d{{2}})(?:_s(?P<site>\d+))?(?:_w(?P<wave>\d))?(?P<thumb>_thumb)?(?P<guid>{_GUID})?\.tiff?",
    re.IGNORECASE,
)
_TIME, _DEPTH = re.compile(r"TimePoint_(\d+)", re.IGNORECASE), re.compile(r"ZStep_(\d+)", re.IGNORECASE)
_MAX_READ = 400


@dataclass(frozen=True, slots=True)
class Image:
    """A file and its place: well as `B02`, the others from 1; z is 0 for a projection or a single plane."""

    path: Path
    well: str
    site: int
    wave: int
    time: int
    z: int


class ImageXpress:
    """A plate."""

    name = "imagexpress"

    def matches(self, path: Path) -> bool:
        if path.suffix.lower() == ".htd":
            start = binary.head(path, 64)
            return b"HTSInfoFile" in start or (b'"HTSInfoFile"'.startswith(start) and path.is_file())
        named = _IMAGE.fullmatch(path.name)
        root = _root(path)
        if named is None or root is None:
            return False
        try:
            # Other software, too, has folders called like that and names that end with a well.
            if _text_of(root) is not None:
                return True
            sorted_away = root != path.parent or named["guid"] or any(root.glob("ZStep_*"))
            return bool(sorted_away) and metamorph_tags.is_metaseries(path)
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        root = _root(path) or path.parent
        found = sorted(image.path for image in _images(root))
        texts = sorted(one for one in (*root.glob("*"), *root.glob("TimePoint_*/*")) if one.suffix.lower() == ".htd")
        index = _text_of(root)
        main = index or (found[0] if found else path)
        missing = tuple(_missing(text(index), list(_images(root)))) if index is not None else ()
        thumbs = [file for _, _, file, named in _files(root) if named["thumb"]]
        return Dataset(self.name, main, root, tuple(sorted({main, *found, *thumbs, *texts})), missing)

    def is_whole(self, dataset: Dataset) -> Verdict:
        index = _text_of(dataset.root)
        for one in (path for path in dataset.files if path.suffix.lower() == ".htd"):
            if not text(one).ended:
                return binary.growing(f"{one.relative_to(dataset.root)} has no EndFile line yet")
        found = many.missing_verdict(dataset.missing, len(dataset.files)) or many.worst(many.tiffs(dataset.files))
        if found is not None:
            return found
        if index is None:
            return binary.unknown("a plate without an .HTD text has no sign of its end: only quiet time can tell")
        return binary.whole(f"all images that {index.name} announces are there")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images whose data is there, without thumbnails."""
        return many.planes(image.path for image in _images(dataset.root))

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset))


def _root(path: Path) -> Path | None:
    """The folder of the plate, which holds the time points or, without them, the images and their z steps."""
    if path.suffix.lower() == ".htd":
        return path.parent.parent if _TIME.fullmatch(path.parent.name) else path.parent
    folder = path.parent.parent if _DEPTH.fullmatch(path.parent.name) else path.parent
    return folder.parent if _TIME.fullmatch(folder.name) else folder


def _text_of(root: Path) -> Path | None:
    return next((one for one in sorted(root.glob("*")) if one.suffix.lower() == ".htd" and one.is_file()), None)


def _files(root: Path) -> Iterator[tuple[int, int, Path, re.Match[str]]]:
    """(time point, z step or 0, file, its name taken apart) of every image, thumbnails among them."""
    times = {folder: _TIME.fullmatch(folder.name) for folder in sorted(root.glob("TimePoint_*"))}
    folders = {folder: int(time[1]) for folder, time in times.items() if time is not None and folder.is_dir()}
    for folder, time in (folders or {root: 1}).items():
        for place in (folder, *sorted(folder.glob("ZStep_*"))):
            depth = _DEPTH.fullmatch(place.name)
            for file in sorted(place.iterdir()):
                named = _IMAGE.fullmatch(file.name)
                if named is not None and file.is_file():
                    yield time, int(depth[1]) if depth else 0, file, named


def _images(root: Path) -> Iterator[Image]:
    for time, z, file, named in _files(root):
        if not named["thumb"]:
            yield Image(file, named["well"].upper(), int(named["site"] or 1), int(named["wave"] or 1), time, z)


def _missing(said: Text, images: list[Image]) -> Iterator[str]:
    """What the text announces and nobody sees: time points, wells, sites. Waves may skip time points."""
    times = {image.time for image in images}
    for time in range(1, said.count("TimePoints") + 1):
        if time not in times:
            yield f"TimePoint_{time}"
    wells = {image.well for image in images}
    for row in range(1, said.count("YWells") + 1):
        for column, word in enumerate(said.values.get(f"WellsSelection{row}", ()), start=1):
            well = f"{_letters(row)}{column:02d}"
            if word.upper() == "TRUE" and well not in wells:
                yield f"well {well}"
    yield from _incomplete(said, images, times)


def _incomplete(said: Text, images: list[Image], times: set[int]) -> Iterator[str]:
    """Each wave of a time point is taken in all wells and at all sites, or in none."""
    sites = 0
    for row in range(1, said.count("YSites") + 1):
        sites += sum(word.upper() == "TRUE" for word in said.values.get(f"SiteSelection{row}", ()))
    wells = len({image.well for image in images})
    for time in sorted(times):
        taken = [image for image in images if image.time == time]
        for wave in sorted({image.wave for image in taken}):
            count = len({(image.well, image.site) for image in taken if image.wave == wave})
            if sites and said.yes("Sites") and count < wells * sites:
                yield f"TimePoint_{time}: {wells * sites - count} sites of wave {wave}"


def _letters(row: int) -> str:
    return chr(64 + row) if row <= 26 else "A" + chr(64 + row - 26)


def _read(dataset: Dataset) -> Metadata:
    images = list(_images(dataset.root))
    index = _text_of(dataset.root)
    said = None if index is None else text(index)
    rest: dict[str, Any] = {}
    if said is not None:
        rest["htd"] = {key: value[0] if len(value) == 1 else value for key, value in said.values.items()}
    if not images:
        return Metadata(not_carried_over=rest, notes=("no image is there: their size and pixel type are not known",))
    first = metamorph_tags.metaseries(images[0].path)
    rest["first_image"] = first.rest
    notes: list[str] = []
    ome, errors = attempt(dataset.main, lambda: _ome(dataset, images, said, notes))
    return placed(Metadata(ome, first.software, rest, errors, tuple(notes)), dataset, _places(dataset, images))


def _ome(dataset: Dataset, images: list[Image], text_of: Text | None, notes: list[str]) -> OME:
    parts = Parts()
    read = {one.path: metamorph_tags.metaseries(one.path) for one in images[:_MAX_READ]}
    if len(images) > _MAX_READ:
        notes.append(f"{len(images)} images are too many to be repeated here: only the first {_MAX_READ} are opened")
    waves = sorted({one.wave for one in images})
    channels = []
    for wave in waves:
        one = next((read[image.path] for image in images if image.wave == wave and image.path in read), None)
        name = text_of.one(f"WaveName{wave}") if text_of is not None else ""
        channels.append(metamorph_tags.channel(parts, one, one.name or name) if one is not None else {"name": name})
    fields = _fields(images)
    made = []
    for number, ((well, site, flat), members) in enumerate(fields.items()):
        if number >= ome_xml.MAX_PLANES:
            notes.append(f"{len(fields)} fields are too many to be repeated here")
            break
        name = f"{dataset.root.name}, {well}, site {site}{', projections and single planes' if flat else ''}"
        made.append(_field(number, name, members, read, channels, waves, parts))
    rows, columns = (text_of.count(key) if text_of is not None else None for key in ("YWells", "XWells"))
    wells = [plates.well(well) for well, _, _ in fields]
    return plates.with_plate(parts.ome(made), dataset.root.name, wells, rows, columns)


def _fields(images: list[Image]) -> dict[tuple[str, int, bool], list[Image]]:
    """By well, site and whether they lie beside the z steps of a plate that has some."""
    stacked = any(image.z for image in images)
    found: dict[tuple[str, int, bool], list[Image]] = {}
    for image in images:
        found.setdefault((image.well, image.site, stacked and image.z == 0), []).append(image)
    return found


def _places(dataset: Dataset, images: list[Image]) -> Iterator[Place]:
    for number, members in enumerate(_fields(images).values()):
        times, depths, waves = (sorted({getattr(one, axis) for one in members}) for axis in ("time", "z", "wave"))
        for one in members:
            place = (depths.index(one.z), waves.index(one.wave), times.index(one.time))
            yield Place(f"Image:{number}", name_in(dataset, one.path), *place)


def _field(
    number: int,
    name: str,
    members: list[Image],
    read: dict[Path, metamorph_tags.Said],
    channels: list[dict[str, Any]],
    waves: list[int],
    parts: Parts,
) -> Any:
    first = read.get(members[0].path) or next(iter(read.values()))
    times, depths = sorted({one.time for one in members}), sorted({one.z for one in members})
    here = [wave for wave in waves if any(one.wave == wave for one in members)]
    known = [said.times[0] for one in members if (said := read.get(one.path)) is not None and said.times]
    began = min(known) if known else None
    planes = []
    for one in members:
        said = read.get(one.path)
        if said is None:
            continue
        delta = (said.times[0] - began).total_seconds() if said.times and began is not None else None
        # The stage of a plate reader counts in micrometres: wells lie 9,000 apart.
        place = [*(said.stage[0] if said.stage else (None, None)), said.z[0] if said.z else None]
        where = (depths.index(one.z), here.index(one.wave), times.index(one.time))
        planes.append(plane(*where, delta_s=delta, exposure_s=said.exposure_s, um=place))
    image = ome_build.image(
        number,
        name,
        {"x": first.width, "y": first.height, "z": len(depths), "c": len(here), "t": len(times)},
        first.kind,
        steps=first.step | _depth(members, read, depths),
        channels=[channels[waves.index(wave)] for wave in here],
        planes=planes,
        date=began,
    )
    image.objective_settings = metamorph_tags.objective(parts, first)
    return image


def _depth(members: list[Image], read: dict[Path, metamorph_tags.Said], depths: list[int]) -> dict[str, Any]:
    """The step along z, where all steps are alike."""
    heights: dict[int, float] = {}
    for one in members:
        said = read.get(one.path)
        if said is not None and said.z and said.z[0] is not None:
            heights[one.z] = said.z[0]
    gaps = {round(abs(heights[b] - heights[a]), 3) for a, b in pairwise(depths) if a in heights and b in heights}
    return {"z": (gaps.pop(), "µm")} if len(gaps) == 1 and max(gaps) > 0 else {}
