"""OME-Zarr 0.4 and 0.5: one folder, one dataset.

Whole when every array that the metadata names is there with all of its chunks. A chunk that holds only the
fill value need not be stored, so missing chunks prove nothing: then quiet time decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from pathlib import Path

from agent.formats import zarr_layout
from agent.formats.ome_zarr_metadata import multiscales, read
from agent.formats.port import Below, Dataset, Metadata, Verdict, Wholeness
from agent.formats.zarr_layout import Array, Tree

_ROOTS = ("zarr.json", ".zattrs")


class OmeZarr:
    """A Zarr folder with everything in it: `main` is the folder, names start with the folder's own name."""

    name = "ome-zarr"

    def matches(self, path: Path) -> bool:
        try:
            return zarr_layout.top_folder(path) is not None
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        top = zarr_layout.top_folder(path)
        if top is None:
            raise FileNotFoundError(f"{path} is in no Zarr folder (any more)")
        found = zarr_layout.tree(top)
        missing = tuple(f"{top.name}/{name}" for name in _missing(found))
        return Dataset(self.name, top, top.parent, Below(top, tuple(found.files)), missing)

    def is_whole(self, dataset: Dataset) -> Verdict:
        found = zarr_layout.tree(dataset.main)
        if found.unreadable:
            return Verdict(Wholeness.GROWING, f"{found.unreadable[0]} is not complete JSON yet")
        if missing := _missing(found):
            return Verdict(Wholeness.GROWING, f"the metadata names {missing[0]}, which is not there yet")
        arrays = {path: node.array for path, node in found.nodes.items() if node.array is not None}
        if not arrays:
            return Verdict(Wholeness.GROWING, "the folder holds no array yet")
        there = zarr_layout.chunks(found)
        have = sum(map(len, there.values()))
        want = sum(map(zarr_layout.expected, arrays.values()))
        for path, array in arrays.items():
            if array.raw and (short := _short(dataset.main, array, there[path].values())):
                return Verdict(Wholeness.GROWING, f"chunk {short} is shorter than its array says")
        if have == 0 and want:
            return Verdict(Wholeness.GROWING, f"none of {want} chunks is there yet")
        if have < want:
            return Verdict(
                Wholeness.UNKNOWN,
                f"{have} of {want} chunks are there; the others are empty or not yet written",
            )
        # An array may be made longer with each plane that is appended.
        return Verdict(Wholeness.WHOLE, f"all {want} chunks of {len(arrays)} arrays are there").without_end()

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Planes of the full-size images with all their chunks. A plane of nothing but the fill value may not
        be stored and is then not counted. None when chunks hold several planes.
        """
        found = zarr_layout.tree(dataset.main)
        there = zarr_layout.chunks(found)
        counts = [_planes(found, there, path) for path in _full_size(found)]
        return None if None in counts else sum(count or 0 for count in counts)

    def metadata(self, dataset: Dataset) -> Metadata:
        found = zarr_layout.tree(dataset.main)
        top = dataset.main
        texts = {f"{top.name}/{name}": (top / name).read_bytes() for name in _ROOTS if name in found.files}
        return replace(read(top, found), texts=texts)


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _missing(found: Tree) -> list[str]:
    """Arrays and images that the metadata names and that are not there."""
    named: list[str] = []
    for path, node in found.nodes.items():
        for scale in multiscales(node):
            named += [_join(path, str(item["path"])) for item in scale]
        ome = node.attributes.get("ome", node.attributes)
        series = ome.get("series") if isinstance(ome, dict) and path.rpartition("/")[2] == "OME" else None
        if isinstance(series, list):
            named += [_join(path.rpartition("/")[0], str(item)) for item in series]
    return [name for name in dict.fromkeys(named) if name not in found.nodes and ".." not in name.split("/")]


def _full_size(found: Tree) -> list[str]:
    """Paths of the first resolution of every image that is no label; arrays alone when nothing is named."""
    images = [
        _join(path, str(scale[0]["path"]))
        for path, node in found.nodes.items()
        if "labels" not in path.split("/")
        for scale in multiscales(node)[:1]
    ]
    return images or [path for path, node in found.nodes.items() if node.array is not None]


def _planes(found: Tree, there: dict[str, dict[tuple[int, ...], str]], path: str) -> int | None:
    node = found.nodes.get(path)
    return None if node is None or node.array is None else zarr_layout.planes(node.array, there[path])


def _short(top: Path, array: Array, names: Iterable[str]) -> str | None:
    """A stored chunk that has fewer bytes than an uncompressed chunk must have."""
    width = _width(array.dtype)
    if width is None:
        return None
    need = width * prod(array.chunk)
    for name in names:
        try:
            if (top / name).stat().st_size < need:
                return name
        except FileNotFoundError:
            return name
    return None


def _width(dtype: str) -> int | None:
    """Bytes of one value."""
    digits = "".join(c for c in dtype if c.isdecimal())
    if not digits or len(digits) > 3:
        return None
    return int(digits) // 8 if dtype[0].isalpha() and int(digits) >= 8 else int(digits)
