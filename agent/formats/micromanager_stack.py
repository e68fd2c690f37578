"""The OME-TIFF stacks of Micro-Manager, one file a position (or several of at most 4 GB)."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, tiff_layout
from agent.formats import micromanager_tags as tags
from agent.formats.guarded import attempt
from agent.formats.jsonable import jsonable
from agent.formats.micromanager_text import closed
from agent.formats.ome_tiff import OmeTiff
from agent.formats.parts import Parts
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness

if TYPE_CHECKING:
    from ome_types import OME

_MAGICS = {8: 54773648, 16: 483765892, 24: 99384722, 32: 2355492}
"""Place in the header of the index, the display settings, the comments and the summary, and what stands there."""
_SUMMARY, _PLANE_TEXT, _COMMENTS = 2355492, 51123, 84720485
_MAX_LEFT = 1024
"""Bytes behind the comments; Micro-Manager leaves eight."""
_SIDE = ("comments.txt", "display_and_comments.txt", "DisplaySettings.json")


def is_stack(path: Path) -> bool:
    """Whether the header is that of a Micro-Manager stack, closed or not."""
    start = binary.head(path, 36)
    return (
        len(start) == 36
        and start[:2] in (b"II", b"MM")
        and struct.unpack_from(_order(start) + "I", start, 32)[0] == _SUMMARY
    )


def _order(start: bytes) -> str:
    return "<" if start[:2] == b"II" else ">"


def prefix(path: Path) -> str | None:
    """What all names of a run begin with."""
    found = re.match(r"(.+?_MMStack)(?:_|\.ome)", path.name)
    return found[1] if found else None


def first(path: Path) -> Path | None:
    """The first stack of the run of `path` (a stack or its metadata.txt); None when there is none."""
    begin = prefix(path)
    if begin is None:
        return path if path.suffix.lower() == ".tif" and is_stack(path) else None
    stacks = sorted(one for one in path.parent.iterdir() if one.name.startswith(begin) and is_stack(one))
    if not stacks:
        return None
    # The one with the OME-XML of all: the others only point at it.
    for stack in stacks[:1]:
        named = OmeTiff().dataset(stack).main
        if named in stacks:
            return named
    return stacks[0]


def dataset(name: str, main: Path) -> Dataset:
    """All stacks of a run with their texts."""
    begin = prefix(main)
    folder = main.parent
    files = {main}
    if begin is not None:
        run = begin.removesuffix("_MMStack")
        other_runs = {prefix(one) for one in folder.glob("*_MMStack*.tif")} - {begin, None}
        for one in folder.iterdir():
            ours = one.name.startswith(f"{begin}_") or one.name in (f"{begin}.ome.tif", f"{run}_DisplaySettings.json")
            if one.is_file() and (ours or (one.name in _SIDE and not other_runs)):
                files.add(one)
    said = OmeTiff().dataset(main)
    files.update(one for one in said.files if one.parent == folder)
    return Dataset(name, main, folder, tuple(sorted(files)), said.missing)


def verdict(path: Path) -> Verdict | None:
    """About one file of the run; None when it says nothing about the end."""
    if path.name.endswith("metadata.txt"):
        return closed(path)
    if path.suffix.lower() != ".tif":
        return None
    start = binary.head(path, 40)
    order = _order(start)
    for place, magic in _MAGICS.items():
        if len(start) < place + 8 or struct.unpack_from(order + "I", start, place)[0] != magic:
            return binary.growing(f"{path.name}: the index of its planes is not written yet")
    (index,) = struct.unpack_from(order + "I", start, 12)
    found = tiff_layout.layout(path)
    if found.verdict.state is not Wholeness.WHOLE:
        return Verdict(found.verdict.state, f"{path.name}: {found.verdict.reason}")
    listed = _index_count(path, index, order)
    if listed is None:
        return binary.damaged(f"{path.name}: the index of its planes is not where the header says")
    if listed != found.ifds:
        return binary.damaged(f"{path.name}: the index lists {listed} planes, the file holds {found.ifds}")
    if (left := found.size - _facts_end(path, struct.unpack_from(order + "I", start, 28)[0], order)) > _MAX_LEFT:
        # The space is taken ahead, and given back when the run is over.
        return binary.unknown(f"{path.name} is {left} bytes longer than what it holds")
    return binary.whole(f"{path.name} is closed")


def _facts_end(path: Path, comments: int, order: str) -> int:
    """Where the comments end, the last thing in a stack; the end of the file where there are none."""
    with path.open("rb") as file:
        file.seek(comments)
        raw = file.read(8)
    magic, length = struct.unpack(order + "II", raw) if len(raw) == 8 else (0, 0)
    return comments + 8 + int(length) if magic == _COMMENTS else path.stat().st_size


def _index_count(path: Path, at: int, order: str) -> int | None:
    with path.open("rb") as file:
        file.seek(at)
        raw = file.read(8)
    if len(raw) < 8:
        return None
    magic, count = struct.unpack(order + "II", raw)
    return int(count) if magic == 3453623 else None


def summary(path: Path) -> dict[str, Any]:
    """The summary metadata in the header; empty when they cannot be read."""
    start = binary.head(path, 40)
    if len(start) < 40:
        return {}
    magic, length = struct.unpack_from(_order(start) + "II", start, 32)
    if magic != _SUMMARY or length > 1 << 24:
        return {}
    try:
        found = json.loads(binary.head(path, 40 + length)[40:].rstrip(b"\0"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def metadata(dataset: Dataset) -> Metadata:
    """The OME-XML of the run, with what only Micro-Manager's own texts say."""
    said = summary(dataset.main)
    text, errors = attempt(dataset.main, lambda: _plane_text(dataset.main))
    found = OmeTiff().metadata(replace(dataset, files=tuple(p for p in dataset.files if p.suffix.lower() == ".tif")))
    ome = found.ome
    if found.ome is not None:
        ome, more = attempt(dataset.main, partial(_complete, found.ome, said, text or {}))
        errors += more
    rest = {"summary": jsonable(said), "first_plane": jsonable(text)}
    return Metadata(
        ome, tags.software(said) | found.software, {"micromanager": rest}, (*found.errors, *errors), found.notes
    )


def _plane_text(path: Path) -> dict[str, Any]:
    """Micro-Manager's own metadata of the first plane."""
    text = tiff_layout.text(path, tiff_layout.layout(path, max_ifds=1), _PLANE_TEXT)
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def _complete(ome: OME, said: dict[str, Any], text: dict[str, Any]) -> OME:
    """The OME-XML lacks the objective, the binning and the zone of the date."""

    parts = Parts()
    objective, detector = tags.hardware(parts, text)
    began = tags.began(said, text)
    first = next((image.acquisition_date for image in ome.images if image.acquisition_date), None)
    shift = _shift(first, began)
    made = parts.ome(ome.images, tags.value(said, "UserName"))
    operator = tags.value(said, "UserName")
    for image in ome.images:
        image.acquisition_date = _with_zone(image.acquisition_date, shift, began)
        image.objective_settings = objective
        for channel in image.pixels.channels:
            channel.light_path = None
            channel.detector_settings = detector
    ome.instruments = made.instruments
    if operator:
        ome.experimenters = made.experimenters
        ome.structured_annotations = made.structured_annotations
    return ome


def _shift(first: datetime | None, began: datetime | None) -> timedelta | None:
    """What leads from the OME-XML's date, which names no zone, to the local time of the first plane.

    Micro-Manager 1.4 writes UTC, others local time: whichever fits the first plane; None when neither does.
    """
    if first is None or began is None or began.tzinfo is None or first.tzinfo is not None:
        return None
    local = began.replace(tzinfo=None)
    for shift in (began.utcoffset() or timedelta(0), timedelta(0)):
        if abs(first + shift - local) < timedelta(minutes=10):
            return shift
    return None


def _with_zone(date: datetime | None, shift: timedelta | None, began: datetime | None) -> datetime | None:
    if date is None or shift is None or began is None:
        return date
    return (date + shift).replace(tzinfo=began.tzinfo)
