"""TIFF export of LAS X: `NAME_z0_ch00.tif` and `MetaData/NAME.xml`, which counts the planes."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

from agent.formats import binary, lif_metadata, many
from agent.formats.guarded import attempt, guarded
from agent.formats.port import Dataset, Metadata, Verdict
from agent.formats.safe_xml import parse

_FOLDER = "MetaData"
_ENDING = re.compile(r"((?:_(?:s|t|z|ch|RAW_ch|Lambda|stack)\d*)+)(?:_SV)?\.tiff?$", re.IGNORECASE)


class LeicaTifExport:
    """One exported image."""

    name = "leica-tif-export"

    def matches(self, path: Path) -> bool:
        if path.parent.name == _FOLDER and path.suffix.lower() == ".xml":
            return b"<ImageDescription" in binary.head(path, 1 << 16)
        return path.suffix.lower() in (".tif", ".tiff") and self._text(path) is not None

    def dataset(self, path: Path) -> Dataset:
        text = path if path.parent.name == _FOLDER else (self._text(path) or path)
        name = text.stem.removesuffix("_Properties")
        root = text.parent.parent if text.parent.name == _FOLDER else text.parent
        images = [one for one in root.iterdir() if one.is_file() and _ENDING.sub("", one.name) == name]
        texts = [one for one in (root / _FOLDER).glob("*.xml") if one.stem in (name, f"{name}_Properties")]
        main = next((one for one in texts if one.stem == name), text)
        return Dataset(self.name, main, root, tuple(sorted({main, *images, *texts})))

    def _text(self, path: Path) -> Path | None:
        if not _ENDING.search(path.name):
            return None
        text = path.parent / _FOLDER / f"{_ENDING.sub('', path.name)}.xml"
        return text if text.is_file() else None

    def is_whole(self, dataset: Dataset) -> Verdict:
        count, errors = attempt(dataset.main, lambda: _expected(dataset.main))
        if count is None:
            return binary.growing(errors[0])
        there = len(many.tiffs(dataset.files))
        if there < count:
            return binary.growing(f"{there} of {count} planes are exported")
        return many.worst(many.tiffs(dataset.files)) or binary.whole(f"all {count} planes are exported")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Exported planes."""
        return many.planes(dataset.files)

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: lif_metadata.read(dataset.main, dataset.main.read_bytes()))


def _expected(text: Path) -> int:
    """Files: one a plane and channel, or a merged one for all channels. Raises UnreadableError and ValueError."""
    root = parse(text.read_bytes(), text.name)
    dimensions = [
        int(one.get("NumberOfElements", "1"))
        for one in root.iter("DimensionDescription")
        if one.get("DimID") not in ("1", "2")
    ]
    return prod(dimensions) * max(1, len(list(root.iter("ChannelDescription"))))
