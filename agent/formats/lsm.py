"""ZEISS LSM: a TIFF file with thumbnails between the images and a tag of its own."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, ome_build, ome_xml, tiff_layout
from agent.formats.guarded import attempt, guarded
from agent.formats.jsonable import jsonable
from agent.formats.parts import Parts, given, plane, positive
from agent.formats.port import Dataset, Metadata, Verdict
from agent.formats.single import alone

if TYPE_CHECKING:
    from ome_types import OME

_TAG = 34412
_TYPES = {1: "uint8", 2: "uint16", 3: "uint16", 5: "float"}


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
        return tiff_layout.layout(dataset.main).verdict

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images, without the thumbnails."""
        return tiff_layout.layout(dataset.main).planes

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset.main))


def _read(path: Path) -> Metadata:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        said = dict(tiff.lsm_metadata or {})
        kind = ome_build.pixel_type(str(tiff.pages.first.aspage().dtype))
    ome, errors = attempt(path, lambda: _ome(path, said, kind))
    return Metadata(ome, {}, {"lsm": jsonable(said)}, errors)


def _ome(path: Path, said: dict[str, Any], kind: str | None) -> OME:
    sizes = {axis: int(said[f"Dimension{axis.upper()}"]) for axis in "xyz"}
    sizes |= {"c": int(said["DimensionChannels"]), "t": int(said["DimensionTime"])}
    steps = {}
    for axis in "xyz":
        value = positive(said.get(f"VoxelSize{axis.upper()}"))
        if value and (axis != "z" or sizes["z"] > 1):
            steps[axis] = (value * 1e6, "µm")
    scan = said.get("ScanInformation") or {}
    colors = said.get("ChannelColors") or {}
    names = [str(one) for one in colors.get("ColorNames", ())]
    stamps = [float(one) for one in said["TimeStamps"]] if said.get("TimeStamps") is not None else []
    few = len(stamps) == sizes["t"] and sizes["t"] * sizes["z"] * sizes["c"] <= ome_xml.MAX_PLANES
    where = product(range(sizes["t"]), range(sizes["z"]), range(sizes["c"])) if few else ()
    planes = [plane(z, c, t, delta_s=stamps[t] - stamps[0]) for t, z, c in where]
    parts = Parts()
    image = ome_build.image(
        0,
        path.stem,
        sizes,
        kind or _TYPES[int(said["DataType"])],
        steps=steps,
        channels=[given(name=one) for one in names] if len(names) == sizes["c"] else [],
        planes=planes,
    )
    image.objective_settings = parts.objective(model=str(scan.get("Objective") or "").strip("\0 ") or None)
    return parts.ome([image], str(scan.get("User") or "").strip("\0 ") or None)
