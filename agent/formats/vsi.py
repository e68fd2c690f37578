"""Olympus VSI: `NAME.vsi` with tags and previews, and the pixels in `_NAME_/stackN/frame_t*.ets`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from agent.formats import binary, tiff_layout, vsi_tags
from agent.formats.binary import Binary
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.single import judged
from agent.formats.tiff_layout import TroubleError

_MAX_CHUNKS = 5_000_000


@dataclass(frozen=True, slots=True)
class Ets:
    """Header of a pixel file. `counts` is the number of different places along each dimension, x and y in tiles."""

    pixels: int
    samples: int
    tile: tuple[int, int]
    counts: tuple[int, ...]
    chunks: int


class Vsi:
    """One document of cellSens or the slide scanners."""

    name = "vsi"

    def matches(self, path: Path) -> bool:
        if path.suffix.lower() == ".vsi":
            start = binary.head(path, 14)
            # The container of the tags begins behind the TIFF header with its own size, 24, and "IS".
            return not start or (start[:4] in tiff_layout.MAGIC and start[8:12] in (b"\x18\0IS", b""))
        inside = re.fullmatch(r"_.+_", path.parent.parent.name) and path.parent.name.lower().startswith("stack")
        return path.suffix.lower() == ".ets" and path.is_file() and (inside is not None or _document(path).is_file())

    def dataset(self, path: Path) -> Dataset:
        main = path if path.suffix.lower() == ".vsi" else _document(path)
        folder = main.parent / f"_{main.stem}_"
        files = sorted(folder.glob("stack*/*.ets"), key=_number)
        missing: tuple[str, ...] = ()
        try:
            with binary.opened(main) as file:
                needed = len(externals(vsi_tags.read(file)))
        except (TroubleError, OSError):
            needed = 0
        if len(files) < needed:
            missing = tuple(f"_{main.stem}_/ pixel file {n + 1} of {needed}" for n in range(len(files), needed))
        sides = [one for one in folder.glob("stack*/*") if one.is_file()]
        if not main.is_file():
            return Dataset(self.name, min(sides, default=path), main.parent, tuple(sorted(sides)), (main.name,))
        return Dataset(self.name, main, main.parent, tuple(sorted({main, *sides})), missing)

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.main.suffix.lower() != ".vsi":
            return binary.growing(f"the document {dataset.missing[0]} is not there")
        found = tiff_layout.layout(dataset.main)
        if found.verdict.state is not Wholeness.WHOLE:
            return Verdict(found.verdict.state, f"{dataset.main.name}: {found.verdict.reason}")
        if dataset.missing:
            return binary.growing(f"{len(dataset.missing)} announced pixel files (.ets) are not there")
        for path in _pixels(dataset):
            verdict = judged(path, _ets_verdict)
            if verdict.state is not Wholeness.WHOLE:
                return Verdict(verdict.state, f"{path.parent.name}/{path.name}: {verdict.reason}")
        return binary.whole(f"the document and its {len(_pixels(dataset))} pixel files are there")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Different places along the dimensions other than x and y (and the reduced copies), of all pixel files."""
        total = 0
        for path in _pixels(dataset):
            try:
                with binary.opened(path) as file:
                    total += _planes(ets(file))
            except TroubleError:
                return None
        return total

    def metadata(self, dataset: Dataset) -> Metadata:
        def read() -> Metadata:
            from agent.formats import vsi_metadata

            return vsi_metadata.read(dataset, _pixels(dataset))

        return guarded(dataset.main, read)


def _document(path: Path) -> Path:
    """The .vsi of `_NAME_/stackN/frame.ets`."""
    folder = path.parent.parent
    return folder.parent / f"{folder.name[1:-1]}.vsi"


def _number(path: Path) -> tuple[int, str]:
    digits = re.sub(r"\D", "", path.parent.name)
    return int(digits or 0), path.name


def _pixels(dataset: Dataset) -> list[Path]:
    return sorted((path for path in dataset.files if path.suffix.lower() == ".ets"), key=_number)


def externals(root: vsi_tags.Node) -> list[vsi_tags.Node]:
    """The images whose pixels lie in a file of their own."""
    has_file = 20005
    return [image for image in root.find(vsi_tags.IMAGE) if any(
        one.first(has_file) == 1 for frame in image.children if frame.tag == vsi_tags.FRAME
        for one in frame.children if one.tag == vsi_tags.EXTERNAL
    )]  # fmt: skip


def _ets_verdict(file: Binary) -> Verdict:
    found = ets(file)
    return binary.whole(f"all {found.chunks} tiles are there")


def ets(file: Binary) -> Ets:
    """The header and the table of the tiles, which must all lie in the file. Raises TroubleError."""
    magic, _, _, dims, more, _, table, count = file.unpack("<4sIIIQI4xQI", 0, "the header")
    if magic != b"SIS\0":
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as an ETS file does")
    if not 2 <= dims <= 16 or count > _MAX_CHUNKS:
        raise TroubleError(Wholeness.DAMAGED, "the header of the ETS file is damaged")
    if not table or not more:
        raise TroubleError(Wholeness.GROWING, "the table of the tiles is not written yet")
    kind, _, pixels, samples, _, _, _, wide, high, _ = file.unpack("<4sIIIIIIIII", more, "the second header")
    if kind != b"ETS\0":
        raise TroubleError(Wholeness.DAMAGED, "the second header of the ETS file is not one")
    size = 4 + 4 * dims + 16
    file.inside(table, count * size, "the table of the tiles")
    seen: list[set[int]] = [set() for _ in range(dims)]
    done = 0
    while done < count:
        part = min(count - done, 100_000)
        raw = file.read(table + done * size, part * size, "the table of the tiles")
        for at in range(0, len(raw), size):
            places = [int.from_bytes(raw[at + 4 + 4 * n : at + 8 + 4 * n], "little") for n in range(dims)]
            place = int.from_bytes(raw[at + 4 + 4 * dims : at + 12 + 4 * dims], "little")
            length = int.from_bytes(raw[at + 12 + 4 * dims : at + 16 + 4 * dims], "little")
            file.inside(place, length, "a tile")
            # The last dimension counts the reduced copies: the full image is number 0.
            if places[-1] == 0:
                for axis, value in enumerate(places):
                    seen[axis].add(value)
        done += part
    return Ets(pixels, samples, (wide, high), tuple(max(one, default=-1) + 1 for one in seen), count)


def _planes(found: Ets) -> int:
    total = 1
    for count in found.counts[2:-1]:
        total *= max(count, 1)
    return total if found.chunks else 0
