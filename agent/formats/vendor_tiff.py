"""What the vendors' TIFF formats have in common: one file, whole when its chain ends and every plane is there."""

from __future__ import annotations

from pathlib import Path

from agent.formats import tiff_layout
from agent.formats.guarded import guarded
from agent.formats.places import in_one_file
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_page import Head


class VendorTiff:
    """Base of the formats that hide their metadata in private tags. A kind says how it is recognised and read."""

    name = "vendor-tiff"

    def claims(self, head: Head) -> bool:
        """True when the tags are those of this vendor."""
        raise NotImplementedError

    def read(self, head: Head, dataset: Dataset) -> Metadata:
        """The metadata; may raise anything."""
        raise NotImplementedError

    def matches(self, path: Path) -> bool:
        try:
            head = Head(path)
            return bool(head.tags) and self.claims(head)
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        return tiff_layout.layout(dataset.main).verdict

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Full-size images whose data is really there."""
        found = tiff_layout.layout(dataset.main)
        return None if found.verdict.state is Wholeness.DAMAGED else found.planes

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: self._whole_only(dataset))

    def _whole_only(self, dataset: Dataset) -> Metadata:
        head = Head(dataset.main)
        if not head.tags:
            return Metadata(errors=(f"{dataset.main.name}: {head.layout.verdict.reason}",))
        return in_one_file(self.read(head, dataset), dataset)
