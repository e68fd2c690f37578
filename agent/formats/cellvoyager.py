"""Yokogawa CellVoyager CV7000 and CV8000: a folder with MeasurementDetail.mrf, MeasurementData.mlf and TIFF files.

The .mrf gets its EndTime when the measurement is over; the .mlf names every image with its time and place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, many
from agent.formats.guarded import guarded
from agent.formats.members import plain
from agent.formats.ome_xml import UnreadableError
from agent.formats.port import Dataset, Metadata, Verdict
from agent.formats.safe_xml import opening, stream
from agent.formats.tiff import alone

if TYPE_CHECKING:
    from lxml.etree import _Element

DETAIL, DATA = "MeasurementDetail.mrf", "MeasurementData.mlf"
_IMAGE = re.compile(r".+_[A-Z]{1,2}\d{2}_T\d{4}F\d{3}L\d{2}A\d{2}Z\d{2}C\d{2}\.tif", re.IGNORECASE)
"""Names that tell what an image belongs to before the texts are there."""


class CellVoyager:
    """A measurement."""

    name = "cellvoyager"

    def matches(self, path: Path) -> bool:
        if path.name in (DETAIL, DATA):
            return path.is_file()
        return _root(path) is not None or (_IMAGE.fullmatch(path.name) is not None and path.is_file())

    def dataset(self, path: Path) -> Dataset:
        root = _root(path)
        if root is None:
            images = sorted(one for one in path.parent.iterdir() if _IMAGE.fullmatch(one.name) and one.is_file())
            return Dataset(self.name, min(images, default=path), path.parent, tuple(images) or (path,), (DETAIL,))
        files = {one for one in root.rglob("*") if one.is_file() and not one.is_symlink()}
        top = root
        traces = list(root.parent.glob("TRACE*.log")) if root.parent.name.startswith(f"{root.name}_") else []
        if traces:
            top = root.parent
            files.update(traces)
        named = (root / name for name in record_names(root / DATA))
        missing = [path.relative_to(top).as_posix() for path in named if path not in files]
        main = next((root / name for name in (DETAIL, DATA) if root / name in files), path)
        return Dataset(self.name, main, top, tuple(sorted(files)), tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        root = dataset.main.parent
        detail = opening(root / DETAIL, "MeasurementDetail")
        if detail is None:
            return binary.growing(f"{DETAIL} is not complete yet")
        if not detail.get("EndTime"):
            return binary.growing(f"{DETAIL} has no EndTime yet: the measurement is going on")
        try:
            for _ in stream(root / DETAIL, "none"):
                pass  # the end time stands in the first line, the text must have its last one too
            named = list(_records(root / DATA))
        except (UnreadableError, OSError) as error:
            return binary.growing(str(error))
        late = many.missing_verdict(dataset.missing, len(dataset.files))
        found = late or many.worst(many.tiffs(dataset.files))
        return found or binary.whole(f"the measurement has ended and all {len(named)} records have their image")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Recorded images whose data is there."""
        if dataset.main.name not in (DETAIL, DATA):
            return many.planes(dataset.files)
        root = dataset.main.parent
        return many.planes(root / name for name in record_names(root / DATA) if (root / name).is_file())

    def metadata(self, dataset: Dataset) -> Metadata:
        if dataset.main.name not in (DETAIL, DATA):
            return alone(dataset)

        def read() -> Metadata:
            from agent.formats import cellvoyager_metadata

            return cellvoyager_metadata.read(dataset)

        return guarded(dataset.main, read)


class CellVoyager1000:
    """The older CV1000: MeasurementResult.xml beside a folder of images; nothing says that it is over."""

    name = "cellvoyager-cv1000"
    _result = "MeasurementResult.xml"

    def matches(self, path: Path) -> bool:
        if path.name in (self._result, "MeasurementResult.ome.xml", "MeasurementSetting.xml"):
            return (path.parent / self._result).is_file()
        return path.parent.name == "Image" and (path.parent.parent / self._result).is_file()

    def dataset(self, path: Path) -> Dataset:
        root = path.parent.parent if path.parent.name == "Image" else path.parent
        files = tuple(sorted(one for one in (*root.glob("*"), *root.glob("Image/*")) if one.is_file()))
        return Dataset(self.name, root / self._result, root, files)

    def is_whole(self, dataset: Dataset) -> Verdict:
        try:
            for _ in stream(dataset.main, "none"):
                pass
        except UnreadableError as error:
            return binary.growing(str(error))
        return many.worst(many.tiffs(dataset.files)) or binary.unknown(
            "only quiet time can tell the end of a CV1000 run"
        )

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images whose data is there."""
        return many.planes(dataset.files)

    def metadata(self, dataset: Dataset) -> Metadata:
        def read() -> Metadata:
            from agent.formats.safe_xml import parse, tree

            return Metadata(not_carried_over={"cv1000": tree(parse(dataset.main.read_bytes(), dataset.main.name))})

        return guarded(dataset.main, read)


def _root(path: Path) -> Path | None:
    for one in (
        path.parent,
        *([path.parent / path.parent.name.rsplit("_", 2)[0]] if path.name.startswith("TRACE") else []),
    ):
        if (one / DETAIL).is_file() or (one / DATA).is_file():
            return one
    return None


def _records(path: Path) -> Iterator[tuple[str, str]]:
    """(type, file name) of every record. Raises UnreadableError."""
    for record in stream(path, "MeasurementRecord"):
        yield attributes(record).get("Type", ""), plain_name(record)


def record_names(path: Path) -> list[str]:
    """Images that the records name, as far as they can be read."""
    found: dict[str, None] = {}
    try:
        for kind, name in _records(path):
            if kind == "IMG" and name:
                found[name] = None
    except (UnreadableError, OSError):
        pass
    return list(found)


def attributes(element: _Element) -> dict[str, str]:
    """Attributes without their namespace."""
    return {str(key).rpartition("}")[2]: str(value) for key, value in element.attrib.items()}


def plain_name(record: Any) -> str:
    """The file of a record; nothing for a name that leaves the folder."""
    name = (record.text or "").strip()
    return name if plain(name) else ""
