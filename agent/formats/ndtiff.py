"""NDTiff of Micro-Manager 2 and pycro-manager: stacks of TIFF images with an index that lists every plane.

Each image points at the place of the next one before that is written; only a finished stack ends its chain.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.formats import binary, tiff_layout
from agent.formats.guarded import guarded
from agent.formats.members import plain
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness

INDEX, FULL, REDUCED = "NDTiff.index", "Full resolution", "Downsampled_x"
_MAGIC, _SUMMARY = 483729, 2355492
_ROLLS_AT = 3_900_000_000
_MAX_TEXT = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One plane in the index."""

    axes: dict[str, Any]
    file: str
    offset: int
    width: int
    height: int
    kind: int
    text: int
    text_length: int


class NdTiff:
    """The storage of Micro-Manager 2."""

    name = "ndtiff"

    def matches(self, path: Path) -> bool:
        if path.name == INDEX:
            return path.is_file()
        if path.suffix.lower() == ".tif":
            start = binary.head(path, 12)
            return start[:4] in tiff_layout.MAGIC and start[8:] == struct.pack("<I", _MAGIC)
        return path.name == "display_settings.txt" and any(
            (path.parent / one).is_file() for one in (INDEX, f"{FULL}/{INDEX}")
        )

    def dataset(self, path: Path) -> Dataset:
        folder = path.parent
        root = folder.parent if folder.name == FULL or folder.name.startswith(REDUCED) else folder
        files: set[Path] = {path}
        missing: list[str] = []
        for place in _levels(root):
            index = place / INDEX
            if not index.is_file():
                missing.append(index.relative_to(root).as_posix())
                continue
            files.add(index)
            for name in _names(index):
                stack = place / name
                if plain(name) and stack.is_file():
                    files.add(stack)
                else:
                    missing.append(stack.relative_to(root).as_posix())
        if (root / "display_settings.txt").is_file():
            files.add(root / "display_settings.txt")
        main = next((one for one in (root / INDEX, root / FULL / INDEX) if one in files), min(files))
        return Dataset(self.name, main, root, tuple(sorted(files)), tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            return binary.growing(f"{len(dataset.missing)} files are not there: {', '.join(dataset.missing[:3])}")
        planes = 0
        for index in (path for path in dataset.files if path.name == INDEX):
            verdict, listed = _level(index)
            if verdict.state is not Wholeness.WHOLE:
                return verdict
            planes += listed
        if not planes:
            return binary.growing("the index lists no plane yet")
        return binary.whole(f"every stack is closed and holds what the index lists, {planes} planes")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Planes of the full resolution that the index lists and that lie inside their file."""
        if dataset.main.name != INDEX:
            return None
        sizes = {path: path.stat().st_size for path in dataset.files}
        found = set()
        for one in entries(dataset.main):
            if one.text + one.text_length <= sizes.get(dataset.main.parent / one.file, 0):
                found.add(json.dumps(one.axes, sort_keys=True))
        return len(found)

    def metadata(self, dataset: Dataset) -> Metadata:
        def read() -> Metadata:
            from agent.formats import ndtiff_metadata

            return ndtiff_metadata.read(dataset)

        return guarded(dataset.main, read)


def _levels(root: Path) -> list[Path]:
    """The folders with an index: the full resolution and its reduced copies."""
    if not (root / FULL).is_dir():
        return [root]
    reduced = sorted(one for one in root.iterdir() if one.name.startswith(REDUCED) and one.is_dir())
    return [root / FULL, *reduced]


def _names(index: Path) -> list[str]:
    """Files that an index names, only those beside it; nothing that leaves the folder."""
    return list(dict.fromkeys(one.file for one in entries(index) if _beside(one.file)))


def _beside(name: str) -> bool:
    return Path(name).name == name


def entries(index: Path) -> Iterator[Entry]:
    """Every complete entry of an index; ends at the first that is cut off or none."""
    with index.open("rb") as file:
        while (found := _entry(file)) is not None:
            yield found


def exact(index: Path) -> bool:
    """Whether the entries end where the file ends."""
    with index.open("rb") as file:
        while _entry(file) is not None:
            pass
        return file.tell() == index.stat().st_size


def _entry(file: Any) -> Entry | None:
    start = file.tell()
    texts = []
    for _ in range(2):
        length = int.from_bytes(file.read(4), "little")
        raw = file.read(length) if 0 < length <= _MAX_TEXT else b""
        texts.append(raw)
    numbers = file.read(32)
    try:
        if not texts[0] or not texts[1] or len(numbers) < 32:
            raise ValueError("cut off")
        axes = json.loads(texts[0])
        if not isinstance(axes, dict):
            raise TypeError("axes")
        offset, width, height, kind, _, text, length, _ = struct.unpack("<8I", numbers)
        return Entry(axes, texts[1].decode(), offset, width, height, kind, text, length)
    except (ValueError, TypeError, RecursionError):
        file.seek(start)
        return None


def _level(index: Path) -> tuple[Verdict, int]:
    """Whether the stacks of one index are closed and complete, and how many planes it lists."""
    if not exact(index):
        return binary.growing(f"{index.name} ends within an entry"), 0
    listed: dict[str, int] = {}
    last_planes: dict[str, int] = {}
    for one in entries(index):
        listed[one.file] = listed.get(one.file, 0) + 1
        last_planes[one.file] = one.width * one.height
    for name, count in listed.items():
        if not _beside(name):
            return binary.damaged(f"the index names a file that is not beside it: {name[:60]!r}"), 0
        found = tiff_layout.layout(index.parent / name)
        if found.verdict.state is not Wholeness.WHOLE:
            return Verdict(found.verdict.state, f"{name}: {found.verdict.reason}"), 0
        if found.ifds != count:
            return binary.growing(f"{name} holds {found.ifds} planes, the index lists {count}"), 0
        if found.size - found.end > found.plane_bytes:
            # The space is taken ahead, and given back when the stack is closed.
            return binary.unknown(f"{name} is {found.size - found.end} bytes longer than what it holds"), 0
    last = list(listed)[-1] if listed else ""
    if last and (index.parent / last).stat().st_size > _ROLLS_AT:
        return binary.unknown(f"{last} is full: another stack may follow"), 0
    return binary.whole("complete"), sum(listed.values())


def summary(stack: Path) -> dict[str, Any]:
    """The summary metadata in the header of a stack; empty when it cannot be read."""
    start = binary.head(stack, 28)
    if len(start) < 28:
        return {}
    magic, length = struct.unpack_from("<II", start, 20)
    if magic != _SUMMARY or length > 1 << 24:
        return {}
    with stack.open("rb") as file:
        file.seek(28)
        found = json.loads(file.read(length))
    return found if isinstance(found, dict) else {}
