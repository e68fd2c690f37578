"""The Format port: three questions, then the metadata. One file a format."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

if TYPE_CHECKING:
    from ome_types import OME


class Wholeness(StrEnum):
    """Is a dataset whole?"""

    WHOLE = "whole"
    GROWING = "growing"
    """A writer is still at it, or a part is announced and not there yet."""
    DAMAGED = "damaged"
    UNKNOWN = "unknown"
    """The format has no sign of its end: quiet time and the writer's open handle must decide."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is one line in words a microscopist understands."""

    state: Wholeness
    reason: str
    open_ended: bool = False
    """Whole as it stands, and its writer may append to it: where nobody knows more, quiet time must pass, too."""

    def without_end(self) -> Verdict:
        """The same about a file that says nothing of how much was planned."""
        return replace(self, open_ended=self.state is Wholeness.WHOLE)


@dataclass(frozen=True, slots=True)
class Below(Sequence[Path]):
    """Files below a folder by their POSIX names in it: paths of a hundred thousand would be 50 MB."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Path]:
        return map(self.folder.joinpath, self.names)

    @overload
    def __getitem__(self, place: int) -> Path: ...

    @overload
    def __getitem__(self, place: slice) -> Below: ...

    def __getitem__(self, place: int | slice) -> Path | Below:
        if isinstance(place, slice):
            return Below(self.folder, self.names[place])
        return self.folder / self.names[place]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The files of one acquisition. `root` is the folder that the relative names in `files` start from."""

    format: str
    main: Path
    root: Path
    files: Sequence[Path]
    """Absolute, sorted, existing regular files, `main` among them (for a folder format: files inside it)."""
    missing: tuple[str, ...] = ()
    """Names that the dataset announces and that are not there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where planes of an image lie in a TIFF file: `count` of them, in OME's order of the image, from the first one."""

    image: str
    """Its id in `Metadata.ome`."""
    file: str
    """Dataset-relative name, `/` between folders."""
    z: int = 0
    c: int = 0
    t: int = 0
    ifd: int = 0
    """Number of the image file directory in the file, from 0."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class PlaneColumns:
    """Attributes of OME Plane elements, one entry a plane in each column; NaN where a plane does not have it."""

    values: dict[str, array[float]]
    units: dict[str, str] = field(default_factory=dict)
    """Of each column that has one, as OME writes it; empty where the planes leave it to OME's default."""

    def append(self, said: Mapping[str, str]) -> bool:
        """Add a plane; False when it has another unit than those before, or what is no number."""
        for name, column in self.values.items():
            try:
                column.append(float(said.get(name, "nan")))
            except ValueError:
                return False
            unit = said.get(f"{name}Unit", "")
            if name in said and self.units.setdefault(name, unit) != unit:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the files say. `ome` is None when the format says nothing that OME has a place for."""

    ome: OME | None = None
    software: dict[str, str] = field(default_factory=dict)
    not_carried_over: dict[str, Any] = field(default_factory=dict)
    """Vendor fields with no place in OME, JSON-able, losslessly."""
    errors: tuple[str, ...] = ()
    """One line each; the file is delivered all the same."""
    notes: tuple[str, ...] = ()
    """What was left out on purpose, one line each."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """Small files that may be delivered with our part in them, by dataset-relative name (root JSON of OME-Zarr)."""
    places: tuple[Place, ...] = ()
    """Where the planes lie, for sets of TIFF files whose `ome` has no TiffData of its own."""
    planes: dict[str, PlaneColumns] = field(default_factory=dict)
    """The planes by id of their image, where they are too many for `ome`."""


class Format(Protocol):
    """Answers about one format. Opens files for reading only, reads headers and indexes, never the pixels.

    `matches` looks at name and magic bytes, reads at most 64 KiB, never raises for a bad or vanishing file.
    `dataset` is called with any member of a dataset and gives the same answer for each of them.
    `is_whole` and `metadata` return damaged or errors for bad content, never raise for it; OSError may pass.
    """

    name: str

    def matches(self, path: Path) -> bool: ...

    def dataset(self, path: Path) -> Dataset: ...

    def is_whole(self, dataset: Dataset) -> Verdict: ...

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Planes whose pixels are really in the files now; None where they cannot be counted."""
        ...

    def metadata(self, dataset: Dataset) -> Metadata: ...
