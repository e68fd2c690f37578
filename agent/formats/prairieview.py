"""Bruker PrairieView: the PVScan XML names every image; it is written before or after the burst of images."""

from __future__ import annotations

import re
from pathlib import Path

from agent.formats import prairieview_metadata as pv
from agent.formats import tiff_layout
from agent.formats.binary import head as first_bytes
from agent.formats.guarded import guarded
from agent.formats.ome_xml import UnreadableError
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness

_CYCLE = re.compile(r"(?P<run>.+)_Cycle\d{3,}(?:_.*|)\.", re.IGNORECASE)


def _is_index(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and b"<PVScan" in first_bytes(path, 1024)


def _run_of(path: Path) -> str | None:
    """The name of the run that a file belongs to, by its own name."""
    named = _CYCLE.match(path.name)
    if named is not None:
        return named["run"]
    return path.stem if path.suffix.lower() in (".env", ".xml") else None


class PrairieView:
    """A run: its XML, its images, and what lies beside them under the same name."""

    name = "prairieview"

    def matches(self, path: Path) -> bool:
        try:
            if _is_index(path):
                return True
            run = _run_of(path)
            if run is None or not path.is_file():
                return False
            if _is_index(path.with_name(f"{run}.xml")):
                return True
            # The XML may come last: an image that says who wrote it is enough.
            return path.suffix.lower() in (".tif", ".tiff") and pv.is_image(path)
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        index = path if _is_index(path) else path.with_name(f"{_run_of(path) or path.stem}.xml")
        folder, run = index.parent, index.stem
        beside = {
            other
            for other in folder.iterdir()
            if (other.name.startswith(f"{run}_Cycle") or other.stem == run)
            and other.is_file()
            and not other.is_symlink()
        }
        if not _is_index(index):
            found = beside | {path}
            main = min(found)
            return Dataset(self.name, main, folder, tuple(sorted(found)), (index.name,))
        missing: list[str] = []
        for name in pv.listed(index):
            if (folder / name).is_file():
                beside.add(folder / name)
            else:
                missing.append(name)
        return Dataset(self.name, index, folder, tuple(sorted(beside | {index})), tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            total = len(dataset.missing) + len(dataset.files)
            return Verdict(
                Wholeness.GROWING, f"{len(dataset.missing)} of {total} files are not there: {dataset.missing[0]}"
            )
        try:
            names = pv.images_of(dataset.main)
        except UnreadableError:
            return Verdict(Wholeness.GROWING, f"{dataset.main.name} is not complete XML yet")
        if not names:
            return Verdict(Wholeness.UNKNOWN, f"{dataset.main.name} lists no images")
        for name, count in names.items():
            found = tiff_layout.layout(dataset.root / name)
            if found.verdict.state is not Wholeness.WHOLE:
                return Verdict(found.verdict.state, f"{name}: {found.verdict.reason}")
            if found.planes < count:
                return Verdict(Wholeness.GROWING, f"{name} holds {found.planes} of {count} pages")
        return Verdict(Wholeness.WHOLE, f"all {len(names)} images that the XML lists are there")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Pages of the images that are there."""
        tiffs = [path for path in dataset.files if path.suffix.lower() in (".tif", ".tiff")]
        return sum(tiff_layout.layout(path).planes for path in tiffs)

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: pv.read(dataset))
