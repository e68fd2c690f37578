"""OME-XML beside its files: companions, scanR's metadata.ome.xml, and documents that stand alone."""

from __future__ import annotations

from pathlib import Path

from agent.formats import binary, tiff_layout
from agent.formats.ome_tiff import OmeTiff, beside
from agent.formats.port import Dataset, Verdict, Wholeness
from agent.formats.safe_xml import opening


def _opening(path: Path) -> str:
    """The first characters of a document."""
    return binary.head(path, 8192).decode("utf-8", "replace")


def _pointer(path: Path) -> Path | None:
    """The document that a TIFF file without metadata of its own points at."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    found = tiff_layout.layout(path, max_ifds=1)
    text = tiff_layout.text(path, found, tiff_layout.IMAGE_DESCRIPTION, 4096)
    _, mark, rest = text.partition("<BinaryOnly ")
    _, attribute, rest = rest.partition('MetadataFile="')
    name = rest.partition('"')[0]
    target = beside(path.parent, name) if mark and attribute and name else None
    return target if target is not None and target != path and target.is_file() else None


class OmeXml(OmeTiff):
    """A document that names no files, or files beside it."""

    name = "ome-xml"

    def matches(self, path: Path) -> bool:
        lower = path.name.lower()
        if not lower.endswith((".ome.xml", ".ome")):
            # Any other name will do for what is OME-XML from its first element on.
            return lower.endswith(".xml") and opening(path, "OME") is not None
        start = _opening(path)
        return "<OME" in start or ":OME" in start or (not start.strip() and path.is_file())

    def is_whole(self, dataset: Dataset) -> Verdict:
        found = super().is_whole(dataset)
        if found.state is Wholeness.WHOLE:
            return binary.whole(f"{dataset.main.name} is complete and all files that it names are there")
        return found


class OmeCompanion(OmeXml):
    """A companion file with the metadata of a set of TIFF files."""

    name = "ome-companion"

    def matches(self, path: Path) -> bool:
        if path.name.lower().endswith(".companion.ome"):
            return path.is_file()
        try:
            target = _pointer(path)
        except OSError:
            return False
        return target is not None and target.name.lower().endswith(".companion.ome")


class ScanR(OmeXml):
    """Olympus scanR: `data/metadata.ome.xml` names the images beside it."""

    name = "scanr"

    def matches(self, path: Path) -> bool:
        return self._document(path) is not None

    def dataset(self, path: Path) -> Dataset:
        document = self._document(path) or path
        found = super().dataset(document)
        return Dataset(self.name, document, found.root, found.files, found.missing)

    def _document(self, path: Path) -> Path | None:
        """The document of an image or the document itself."""
        document = path.with_name("metadata.ome.xml")
        if path != document and path.suffix.lower() not in (".tif", ".tiff"):
            return None
        return document if document.is_file() and "scanR" in _opening(document) else None
