"""A file that nobody knows: alone, delivered all the same; quiet time says when it is finished.

Where Bio-Formats is set up it may say what the file holds.
"""

from __future__ import annotations

from pathlib import Path

from agent.formats import binary
from agent.formats.bioformats import BioFormats
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.safe_xml import cut_off

_MARKED = frozenset((
    ".tif", ".tiff", ".btf", ".stk", ".lsm", ".svs", ".ndpi", ".qptiff", ".vsi", ".ets", ".czi", ".lif", ".nd2",
    ".oib", ".cxd", ".dv", ".ims", ".h5", ".hdf5", ".mesc", ".emd", ".dm3", ".dm4", ".ser", ".sif", ".avi", ".png",
    ".jpg", ".mp4", ".zip",
))  # fmt: skip
"""Names of files that begin with bytes of their kind, never with zeros."""
_MARK = 16
"""Bytes that tell the kind."""


class Unknown:
    """The last of the formats: matches every file."""

    name = "unknown"

    def __init__(self) -> None:
        self.reader: BioFormats | None = None

    def matches(self, path: Path) -> bool:
        del path
        return True

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,) if path.is_file() else ())

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.main.is_file() and dataset.main.stat().st_size == 0:
            return Verdict(Wholeness.UNKNOWN, "the file is empty")
        marked = dataset.main.suffix.lower() in _MARKED
        start = binary.head(dataset.main, 512) if marked else b""
        if marked and len(start) < _MARK:
            return Verdict(Wholeness.GROWING, f"the first {len(start)} bytes do not say yet what the file is")
        if marked and not start.strip(b"\0"):
            return Verdict(Wholeness.GROWING, "the file got its size ahead of its content, which is not there yet")
        if dataset.main.suffix.lower() == ".xml" and cut_off(dataset.main):
            return Verdict(Wholeness.GROWING, "the XML is not at its end yet")
        return Verdict(Wholeness.UNKNOWN, "no format that is known here: only quiet time can tell")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        del dataset
        return None

    def metadata(self, dataset: Dataset) -> Metadata:
        if self.reader is None or not dataset.main.is_file() or dataset.main.stat().st_size == 0:
            return Metadata()
        return self.reader.metadata(dataset.main)
