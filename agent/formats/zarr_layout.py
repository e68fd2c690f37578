"""The skeleton of a Zarr folder (versions 2 and 3): its arrays, and which of their chunks are on disk.

Reads the JSON files and the list of names, never a chunk. Written by us because zarr-python costs 45 MB and
0.6 s to import and cannot say which chunks are missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

MARKERS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_MAX_JSON = 256 << 20
_MAX_LEVELS = 24


@dataclass(frozen=True, slots=True)
class Array:
    """An array: `chunk` is the shape of what one chunk file holds (a shard's, where chunks are sharded)."""

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    raw: bool
    """Chunks are stored as they are, so that their size is known."""
    prefix: str
    """`c` in front of the chunk numbers (version 3) or nothing."""

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks on each axis."""
        return tuple(-(-size // step) for size, step in zip(self.shape, self.chunk, strict=True))


@dataclass(slots=True)
class Node:
    """A group or an array with its attributes; `array` is None for a group."""

    attributes: dict[str, Any] = field(default_factory=dict)
    array: Array | None = None


@dataclass(slots=True)
class Tree:
    """Nodes by POSIX path below the top folder (empty text for the top) and every regular file."""

    nodes: dict[str, Node]
    files: list[str]
    unreadable: list[str]
    """JSON files that do not parse, POSIX paths."""


def top_folder(path: Path) -> Path | None:
    """The Zarr folder that holds `path` (or is it).

    The outermost that ends in `.zarr`; without such a name the outermost of the unbroken line of groups above
    the array, so that a stray marker file higher up makes no dataset of a whole disk.
    """
    above = [path, *path.parents][:_MAX_LEVELS]
    named = [folder for folder in above if folder.name.lower().endswith(".zarr")]
    if named:
        return named[-1] if named[-1].is_dir() else None
    best: Path | None = None
    for folder in above:
        if any((folder / name).is_file() for name in MARKERS):
            best = folder
        elif best is not None:
            break
    return best


def tree(top: Path) -> Tree:
    """Everything below `top`. Raises OSError when it cannot be listed."""
    found = Tree({}, sorted(_names(str(top))), [])
    for name in found.files:
        folder, _, leaf = name.rpartition("/")
        if leaf in MARKERS:
            node = found.nodes.setdefault(folder, Node())
            text = _json(top / name)
            if text is None:
                found.unreadable.append(name)
            else:
                _take(node, leaf, text)
    return found


def _names(top: str) -> Iterator[str]:
    todo = [top]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry.path[len(top) :].lstrip(os.sep).replace(os.sep, "/")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > _MAX_JSON:
            return None
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError, FileNotFoundError):
        return None
    return value if isinstance(value, dict) else None


def _take(node: Node, leaf: str, text: dict[str, Any]) -> None:
    if leaf == ".zattrs":
        node.attributes.update(text)
    elif leaf == "zarr.json":
        attributes = text.get("attributes")
        node.attributes.update(attributes if isinstance(attributes, dict) else {})
        if text.get("node_type") == "array":
            node.array = _array3(text)
    elif leaf == ".zarray":
        node.array = _array2(text)


def _shape(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(isinstance(n, int) and 0 <= n < 1 << 53 for n in value):
        return tuple(value)
    return None


def _array3(text: dict[str, Any]) -> Array | None:
    grid = text.get("chunk_grid")
    config = grid.get("configuration") if isinstance(grid, dict) else None
    shape = _shape(text.get("shape"))
    chunk = _shape(config.get("chunk_shape")) if isinstance(config, dict) else None
    if shape is None or chunk is None or len(shape) != len(chunk) or 0 in chunk:
        return None
    codecs = text.get("codecs")
    names = [codec.get("name") for codec in codecs if isinstance(codec, dict)] if isinstance(codecs, list) else []
    encoding = text.get("chunk_key_encoding")
    prefix = "" if isinstance(encoding, dict) and encoding.get("name") == "v2" else "c"
    return Array(shape, chunk, str(text.get("data_type")), names == ["bytes"], prefix)


def _array2(text: dict[str, Any]) -> Array | None:
    shape, chunk = _shape(text.get("shape")), _shape(text.get("chunks"))
    if shape is None or chunk is None or len(shape) != len(chunk) or 0 in chunk:
        return None
    raw = text.get("compressor") is None and not text.get("filters")
    return Array(shape, chunk, str(text.get("dtype")), raw, "")


def chunks(found: Tree) -> dict[str, dict[tuple[int, ...], str]]:
    """The chunks on disk: for the path of each array, file names by chunk index."""
    present: dict[str, dict[tuple[int, ...], str]] = {
        path: {} for path, node in found.nodes.items() if node.array is not None
    }
    for name in found.files:
        folder = next((above for above in _above(name) if above in present), None)
        node = None if folder is None else found.nodes[folder]
        if folder is None or node is None or node.array is None:
            continue
        index = _index(name[len(folder) :].lstrip("/"), node.array.prefix)
        grid = node.array.grid
        if index is not None and len(index) == len(grid) and all(map(int.__lt__, index, grid)):
            present[folder][index] = name
    return present


def _above(name: str) -> Iterator[str]:
    """The folders above a name, the nearest first; empty text is the top."""
    while name:
        name = name.rpartition("/")[0]
        yield name


def _index(name: str, prefix: str) -> tuple[int, ...] | None:
    parts = name.replace("/", ".").split(".")
    if prefix:
        if parts[0] != prefix:
            return None
        parts = parts[1:]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else None


def expected(array: Array) -> int:
    """Number of chunk files when every chunk is stored."""
    return prod(array.grid)


def planes(array: Array, present: Collection[tuple[int, ...]]) -> int | None:
    """Planes (last two axes) all of whose chunks are on disk; None when a chunk holds several planes."""
    if len(array.shape) < 2:
        return None
    if any(step > 1 and size > 1 for size, step in zip(array.shape[:-2], array.chunk[:-2], strict=True)):
        return None
    across = prod(array.grid[-2:])
    if not 0 < across < 1 << 16:
        return None if across else 0
    tiles = list(product(*(range(n) for n in array.grid[-2:])))
    leading = {index[:-2] for index in present}
    return sum(all((*lead, *tile) in present for tile in tiles) for lead in leading)
