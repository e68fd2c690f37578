"""ScanImage (Vidrio, MBF): one run is a row of files `name_00001_00001.tif`; the last frame says that it is over.

`endOfAcquisition = 1` in the last frame proves the end; 0 proves nothing, for a run that was stopped by hand
ends with it too. ScanImage 3.8 writes no such word.
"""

from __future__ import annotations

import re
from pathlib import Path

from agent.formats import tiff_layout
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.scanimage_metadata import read
from agent.formats.tiff_layout import IMAGE_DESCRIPTION, SOFTWARE
from agent.formats.tiff_page import Head, text_value

_ROLLED = re.compile(r"(?P<run>.+_\d{3,6})_(?P<part>\d{3,6})(?P<end>\.tiff?)", re.IGNORECASE)
_OVER = re.compile(r"^\s*(?:scanimage\.SI[45]?\.)?endOfAcquisition\s*=\s*(?:1|true)\b", re.MULTILINE)
_MAX_PARTS = 100_000


def is_scanimage(head: Head) -> bool:
    """True for a file with the header of any version."""
    if head.text(SOFTWARE, 256).startswith(("SI.", "SI5.", "SI4.")):
        return True
    said = head.text(IMAGE_DESCRIPTION, 4096)
    if said.startswith(("state.", "scanimage.SI")) or "\nscanimage.SI" in said:
        return True
    return said.lstrip().startswith(("frameNumbers =", "Frame Number =")) and "rameTimestamp" in said


class ScanImage:
    """A run with all of its files."""

    name = "scanimage"

    def matches(self, path: Path) -> bool:
        if path.suffix.lower() not in (".tif", ".tiff"):
            return False
        try:
            return is_scanimage(Head(path))
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        named = _ROLLED.fullmatch(path.name)
        if named is None:
            return Dataset(self.name, path, path.parent, (path,))
        parts: dict[int, Path] = {int(named["part"]): path}
        for other in path.parent.iterdir():
            same = _ROLLED.fullmatch(other.name)
            if same is not None and (same["run"], same["end"]) == (named["run"], named["end"]) and other.is_file():
                parts[int(same["part"])] = other
        first = 1 if min(parts) > 0 else 0
        width = len(named["part"])
        last = min(max(parts), _MAX_PARTS)
        missing = [f"{named['run']}_{n:0{width}}{named['end']}" for n in range(first, last) if n not in parts]
        files = tuple(sorted(parts.values()))
        return Dataset(self.name, parts[min(parts)], path.parent, files, tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            return Verdict(
                Wholeness.GROWING, f"{len(dataset.missing)} files of the run are not there: {dataset.missing[0]}"
            )
        for path in dataset.files[:-1]:
            found = tiff_layout.layout(path).verdict
            if found.state is not Wholeness.WHOLE:
                return Verdict(found.state, f"{path.name}: {found.reason}")
        last = dataset.files[-1]
        found, said = _last_frame(last)
        if found.state is not Wholeness.WHOLE:
            return Verdict(found.state, f"{last.name}: {found.reason}")
        if _OVER.search(said):
            return Verdict(Wholeness.WHOLE, "the last frame says that the acquisition is over")
        return Verdict(Wholeness.UNKNOWN, "the last frame does not say that the acquisition is over")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Frames of all channels in all files."""
        return sum(tiff_layout.layout(path).planes for path in dataset.files)

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: read(dataset))


def _last_frame(path: Path) -> tuple[Verdict, str]:
    """The verdict on a file and the description of its last frame."""
    place: list[tiff_layout.Tag | None] = [None]

    def keep(_file: object, _found: object, tags: dict[int, tiff_layout.Tag]) -> None:
        place[0] = tags.get(IMAGE_DESCRIPTION)

    verdict = tiff_layout.layout(path, visit=keep).verdict
    with path.open("rb") as file:
        return verdict, text_value(file, place[0], 1 << 20)
