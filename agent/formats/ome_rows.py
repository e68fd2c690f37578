"""Planes and their addresses of an OME-XML that has more of them than an object model bears: in columns."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from agent.formats.ome_xml import NAMESPACE, local
from agent.formats.places import MAX_PLANES, name_in
from agent.formats.port import Dataset, Place, PlaneColumns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lxml.etree import _Element

_NAMES = ("TheZ", "TheC", "TheT", "DeltaT", "ExposureTime", "PositionX", "PositionY", "PositionZ")
_KNOWN = frozenset([*_NAMES, *(f"{name}Unit" for name in _NAMES)])


class OmeRows:
    """Takes the elements while the document is read; what cannot be said as rows makes them all void."""

    def __init__(self) -> None:
        self.planes: dict[str, PlaneColumns] = {}
        self._blocks: list[tuple[str, str, dict[str, str]]] = []
        self._plain = True

    def __call__(self, element: _Element) -> None:
        """A Plane or TiffData that is complete."""
        image = element.getparent()
        image = None if image is None else image.getparent()
        number = "" if image is None else image.get("ID", "")
        said = {str(key): str(value) for key, value in element.attrib.items()}
        if not str(element.tag).startswith(f"{{{NAMESPACE}}}") or not number:
            self._plain = False  # older schemas say other things by the same names
        elif local(element) == "Plane":
            # Annotations and hashes of planes have no column.
            self._plain = self._plain and len(element) == 0 and said.keys() <= _KNOWN
            self._plain = self._plain and self._columns(number).append(said)
        elif local(element) == "TiffData":
            name = next((child.get("FileName", "") for child in element if local(child) == "UUID"), "")
            self._plain = self._plain and ("PlaneCount" in said or "IFD" in said) and _numbers(said)
            self._blocks.append((number, name, said))

    def _columns(self, image: str) -> PlaneColumns:
        if image not in self.planes:
            self.planes[image] = PlaneColumns({name: array("d") for name in _NAMES})
        return self.planes[image]

    def known(self) -> bool:
        """Do the rows say all that the elements said, of every plane?"""
        return self._plain and bool(self._blocks) and len(self._blocks) <= MAX_PLANES

    def places(self, dataset: Dataset, beside: Callable[[Path, str], Path | None]) -> Iterator[Place]:
        """Where the planes lie; `beside` finds the file that a document names in a folder."""
        single = len(dataset.files) == 1
        for image, name, said in self._blocks:
            target = dataset.main if single or not name else beside(dataset.root, name)
            if target is not None and target in dataset.files:
                first = {axis: int(said.get(f"First{axis.upper()}", "0")) for axis in "zct"}
                ifd, count = int(said.get("IFD", "0")), int(said.get("PlaneCount", "1"))
                yield Place(image, name_in(dataset, target), **first, ifd=ifd, count=count)


def _numbers(said: dict[str, str]) -> bool:
    return all(value.isdecimal() and len(value) < 12 for value in said.values())
