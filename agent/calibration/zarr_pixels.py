"""Pixels of OME-Zarr folders (versions 2 and 3), the full size of each image; needs tensorstore."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from agent.calibration.vendor_pixels import Afford, Named
from agent.errors import Rejected
from agent.formats.ome_zarr_metadata import multiscales
from agent.formats.zarr_layout import MARKERS, Node, top_folder, tree


def folder_of(path: Path) -> Path | None:
    """The Zarr folder that `path` is or, as a marker file, lies in."""
    return top_folder(path) if path.is_dir() or path.name in MARKERS else None


def read(top: Path, afford: Afford) -> list[Named]:
    """The images of a folder in the order of their names. Rejected when there is none or it cannot be read."""
    try:
        import tensorstore
    except ImportError as error:
        raise Rejected("OME-Zarr needs tensorstore: pip install 'scope-agent[qc]'") from error
    found = []
    for name, axes in _full_size(tree(top).nodes):
        driver = "zarr3" if (top / name / "zarr.json").exists() else "zarr"
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(top / name)}}
        try:
            store = tensorstore.open(spec, read=True).result()
            afford(int(np.prod(store.shape)) * store.dtype.numpy_dtype.itemsize)
            labels = axes or "".join(store.domain.labels).upper() or "TCZYX"[-store.rank :]
            found.append((np.asarray(store.read().result()), labels))
        except ValueError as error:
            raise Rejected(f"{top.name}: the pixels cannot be read as OME-Zarr ({error})") from error
    return found


def _full_size(nodes: dict[str, Node]) -> Iterator[tuple[str, str]]:
    """(path of the array, axes by one letter each, empty where nothing says them) of each image; labels are none."""
    for path in sorted(nodes, key=_natural):
        scales = multiscales(nodes[path])
        if scales and "labels" not in path.split("/"):
            name = f"{path}/{scales[0][0]['path']}".lstrip("/")
            if name in nodes and nodes[name].array is not None:
                yield name, _axes(nodes[path])


def _axes(node: Node) -> str:
    inner = node.attributes.get("ome")
    said = (inner if isinstance(inner, dict) else node.attributes)["multiscales"][0].get("axes") or []
    names = [axis.get("name") if isinstance(axis, dict) else axis for axis in said]
    return "".join(str(name)[:1].upper() for name in names)


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path) if part]
