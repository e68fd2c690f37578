"""ZEISS LSM: a TIFF file with thumbnails between the images and a tag of its own."""

from __future__ import annotations

from pathlib import Path

from agent.formats import binary, ome_build, tiff_layout
from agent.formats.guarded import attempt, guarded
from agent.formats.jsonable import jsonable
from agent.formats.port import Dataset, Metadata, Verdict
from agent.formats.single import alone

_TAG = 34412


class Lsm:
    """An image of the LSM 510 to 880."""

    name = "lsm"

    def matches(self, path: Path) -> bool:
        try:
            if not binary.head(path, 1):
                return path.suffix.lower() == ".lsm" and path.is_file()
            return _TAG in tiff_layout.layout(path, max_ifds=1).first
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        return alone(self.name, path)

    def is_whole(self, dataset: Dataset) -> Verdict:
        return tiff_layout.layout(dataset.main).verdict.without_end()

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images, without the thumbnails."""
        return tiff_layout.layout(dataset.main).planes

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset.main))


def _read(path: Path) -> Metadata:
    import tifffile

    from agent.formats import lsm_metadata

    with tifffile.TiffFile(path) as tiff:
        said = dict(tiff.lsm_metadata or {})
        kind = ome_build.pixel_type(str(tiff.pages.first.aspage().dtype))
    ome, errors = attempt(path, lambda: lsm_metadata.ome(path.stem, said, kind))
    return Metadata(ome, {}, {"lsm": jsonable(said)}, errors)
