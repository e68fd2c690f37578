"""MRC2014 images and stacks, with the info text of Direct Electron cameras beside them.

Whole when the file has exactly the bytes that its header announces.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from agent.formats import binary
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_layout import TroubleError

HEADER = 1024
SUFFIXES = (".mrc", ".mrcs", ".st", ".ali", ".rec", ".map", ".preali")
_TYPES = {0: ("int8", 1.0), 1: ("int16", 2.0), 2: ("float32", 4.0), 4: ("complex64", 8.0), 6: ("uint16", 2.0)}
_TYPES |= {3: ("", 4.0), 12: ("", 2.0), 101: ("", 0.5)}
_MAX_SIDE = 1 << 20
_DE = (b"Server Software Version", b"Autosave Directory", b"Camera Model")


@dataclass(frozen=True, slots=True)
class Header:
    """Sizes in pixels, `angstrom` the size of a voxel, `extended` the bytes of the extended header."""

    order: str
    sizes: tuple[int, int, int]
    mode: int
    angstrom: tuple[float, float, float]
    volume: bool
    extended: int
    kind: str
    labels: tuple[str, ...]

    @property
    def dtype(self) -> str:
        """As numpy names it; empty where OME has none."""
        return _TYPES[self.mode][0]

    @property
    def plane_bytes(self) -> int:
        """Bytes of a section; two pixels of four bits share a byte."""
        x, y, _ = self.sizes
        return (x + 1) // 2 * y if self.mode == 101 else int(x * y * _TYPES[self.mode][1])

    @property
    def end(self) -> int:
        """Where the last section ends."""
        return HEADER + self.extended + self.plane_bytes * self.sizes[2]


def header(path: Path) -> Header:
    """The header of a file. Raises TroubleError."""
    with binary.opened(path) as file:
        raw = file.read(0, HEADER, "the header")
    for order in "<>":
        x, y, z, mode = struct.unpack_from(order + "4i", raw)
        if 0 < x < _MAX_SIDE and 0 < y < _MAX_SIDE and 0 <= z < 1 << 28 and mode in _TYPES:
            break
    else:
        raise TroubleError(Wholeness.DAMAGED, "the header has impossible sizes")
    grid = struct.unpack_from(order + "3i", raw, 28)
    cell = struct.unpack_from(order + "3f", raw, 40)
    space, extended = struct.unpack_from(order + "2i", raw, 88)
    if extended < 0:
        raise TroubleError(Wholeness.DAMAGED, "the header has impossible sizes")
    count = min(max(struct.unpack_from(order + "i", raw, 220)[0], 0), 10)
    labels = [raw[224 + 80 * i : 304 + 80 * i].decode("latin-1").strip("\0 ") for i in range(count)]
    voxel = tuple(c / g if g > 0 else 0.0 for c, g in zip(cell, grid, strict=True))
    kind = raw[104:108].decode("latin-1").strip("\0 ")
    return Header(order, (x, y, z), mode, (voxel[0], voxel[1], voxel[2]), space > 0, extended, kind, tuple(labels))


def _is_info(path: Path) -> bool:
    return path.name.lower().endswith("info.txt") and any(word in binary.head(path, 4096) for word in _DE)


def is_mrc(path: Path) -> bool:
    """True for an MRC file by name and header."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    raw = binary.head(path, HEADER)
    if len(raw) < HEADER:
        # A header that is being written; other suffixes mean other things too.
        return path.is_file() and (raw[208:211] == b"MAP" or path.suffix.lower() in (".mrc", ".mrcs", ".st"))
    if raw[208:211] == b"MAP":
        return True
    try:
        return header(path).sizes[2] > 0
    except TroubleError:
        return False


class Mrc:
    """A stack; `info.txt` in its folder, or `name_info.txt` of a Direct Electron camera, belongs to it."""

    name = "mrc"

    def matches(self, path: Path) -> bool:
        return _is_info(path) if path.suffix.lower() == ".txt" else is_mrc(path)

    def dataset(self, path: Path) -> Dataset:
        run = _run(path)
        beside = [one for one in path.parent.iterdir() if _run(one) == run and one.is_file() and not one.is_symlink()]
        info = [one for one in beside if _is_info(one)]
        if not info:
            return Dataset(self.name, path, path.parent, (path,))
        stacks = sorted(one for one in beside if is_mrc(one))
        if not stacks:
            return Dataset(self.name, path, path.parent, tuple(sorted(info)), ("the .mrc file",))
        return Dataset(self.name, stacks[0], path.parent, tuple(sorted({*stacks, *info})))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            return binary.growing("the info text is there, the images are not")
        for path in dataset.files:
            verdict = _verdict(path) if path.suffix.lower() != ".txt" else binary.whole("")
            if verdict.state is not Wholeness.WHOLE:
                return verdict
        return binary.whole("the file has the bytes that its header announces")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Sections that are really there."""
        total = 0
        for path in dataset.files:
            if path.suffix.lower() == ".txt":
                continue
            try:
                found = header(path)
            except TroubleError as trouble:
                if trouble.verdict.state is Wholeness.DAMAGED:
                    return None
                continue
            there = max(path.stat().st_size - HEADER - found.extended, 0) // max(found.plane_bytes, 1)
            total += min(there, found.sizes[2])
        return total

    def metadata(self, dataset: Dataset) -> Metadata:
        from agent.formats import mrc_metadata

        return guarded(dataset.main, lambda: mrc_metadata.read(dataset))


def _run(path: Path) -> str:
    """What the names of one run have in common; DE writes `20230925_00001_movie.mrc` and `..._info.txt`."""
    if path.name.lower() == "info.txt" or path.with_name("info.txt").is_file():
        return ""
    return re.sub(r"_(info|movie|final|integrated|counted|sum|HAADF|BF|DF)$", "", path.stem, flags=re.IGNORECASE)


def _verdict(path: Path) -> Verdict:
    try:
        found = header(path)
    except TroubleError as trouble:
        return trouble.verdict
    size = path.stat().st_size
    if size < found.end:
        return binary.growing(f"{path.name}: {found.end} bytes are announced, {size} are there")
    if found.sizes[2] == 0:
        return binary.growing(f"{path.name}: the header announces no section yet")
    if any("SerialEM" in label for label in found.labels):
        return binary.unknown(f"{path.name}: SerialEM adds sections to a stack without saying which is the last")
    if size > found.end:
        return binary.unknown(f"{path.name}: {size - found.end} bytes follow behind the announced sections")
    return binary.whole("the file has the bytes that its header announces")
