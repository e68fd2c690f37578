"""What the agent would say about a file or dataset; reads only."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats.jsonable import jsonable
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.registry import datasets_in, identify
from agent.sources.writers import is_open_for_writing

if TYPE_CHECKING:
    from ome_types import OME

WHOLE, NOT_WHOLE, UNKNOWN_FORMAT, DAMAGED = 0, 3, 4, 5


@dataclass(frozen=True, slots=True)
class Inspection:
    """The answers of a format about one dataset; `planes` counts those on disk, None where unknown."""

    path: Path
    format: str
    dataset: Dataset
    verdict: Verdict
    metadata: Metadata
    planes: int | None

    @property
    def exit_code(self) -> int:
        """0 whole, 3 not (yet) whole or not to be told, 4 unknown format, 5 damaged."""
        if self.format == "unknown":
            return UNKNOWN_FORMAT
        if self.verdict.state is Wholeness.DAMAGED:
            return DAMAGED
        return WHOLE if self.verdict.state is Wholeness.WHOLE else NOT_WHOLE

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types."""
        ome = self.metadata.ome
        root = self.dataset.root
        return {
            "path": str(self.path),
            "format": self.format,
            "state": str(self.verdict.state),
            "reason": self.verdict.reason,
            "planes_on_disk": self.planes,
            "root": str(root),
            "main": self.dataset.main.relative_to(root).as_posix(),
            "files": [file.relative_to(root).as_posix() for file in self.dataset.files],
            "missing": list(self.dataset.missing),
            "software": self.metadata.software,
            "ome": None if ome is None else ome.model_dump(mode="json", exclude_unset=True),
            "not_carried_over": self.metadata.not_carried_over,
            "errors": list(self.metadata.errors),
            "notes": list(self.metadata.notes),
        }

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(jsonable(self.as_dict()), ensure_ascii=False, indent=2, allow_nan=False)

    def to_ome_xml(self) -> str:
        """Schema-valid OME-XML 2016-06, always: without images where nothing valid is said."""
        import warnings

        from ome_types import OME

        ome = self.metadata.ome
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = None if ome is None else _valid(ome)
        return text or OME().to_xml()


def _valid(ome: OME) -> str | None:
    """The document without what its schema does not allow; None where nothing valid is left."""
    from lxml import etree

    from agent.formats import ome_mending, ome_model

    try:
        root = etree.fromstring(ome.to_xml().encode())
    except (ValueError, TypeError, etree.LxmlError):
        return None
    ome_mending.mend(root)
    return etree.tostring(root, encoding="unicode") if ome_model.schema().validate(root) else None


def _rested(dataset: Dataset, verdict: Verdict, rest_s: float) -> Verdict:
    """A single look, long after: the daemon, which looks again and again, trusts no clock of a disk."""
    states = [file.stat() for file in dataset.files]
    # A copy keeps the old date of its content; when it was made (Windows) or moved here (others) is the ctime.
    age = time.time() - max((max(one.st_mtime, one.st_ctime) for one in states), default=time.time())
    empty = any(one.st_size == 0 for one in states)
    if age < rest_s or empty or any(is_open_for_writing(file) for file in dataset.files):
        return verdict
    reason = f"nothing has changed for {age / 60:,.0f} minutes and nobody is known to write ({verdict.reason})"
    return Verdict(Wholeness.WHOLE, reason)


def inspect(path: Path, rest_s: float | None = None) -> Inspection:
    """Ask the format of `path`; of a folder, the first dataset in it. Raises OSError when it cannot be read.

    Any other file of the dataset gives the same answer. With `rest_s`, a dataset without a sign of its end is whole
    when by the disk's clock nothing has changed for so many seconds and nobody is known to have it open.
    """
    path = path.absolute()
    path.stat()
    notes: tuple[str, ...] = ()
    found = identify(path)
    dataset = found.dataset(path)
    if path.is_dir() and found.name == "unknown":
        inside = datasets_in(path)
        if not inside:
            raise FileNotFoundError(f"{path} holds no file to inspect")
        dataset = next((one for one in inside if one.format != "unknown"), inside[0])
        found = identify(dataset.main)
        if len(inside) > 1:
            notes = (f"the folder holds {len(inside)} datasets, this is {dataset.main.name}",)
    verdict = found.is_whole(dataset)
    if rest_s is not None and verdict.state is Wholeness.UNKNOWN:
        verdict = _rested(dataset, verdict, rest_s)
    said = found.metadata(dataset)
    said = replace(said, notes=(*notes, *said.notes))
    return Inspection(path, found.name, dataset, verdict, said, found.planes_on_disk(dataset))
