"""FEI TIA: series `name_1.ser`, `name_2.ser` and so on, and the `name.emi` that TIA writes when it saves.

A .ser announces more elements than a stopped run has; the .emi is the sign of the end.
"""

from __future__ import annotations

import re
from pathlib import Path

from agent.formats import binary
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.ser import MARK, Series, series
from agent.formats.tiff_layout import TroubleError

_NUMBERED = re.compile(r"(?P<stem>.+)_(?P<number>\d+)\.ser", re.IGNORECASE)
_CONDITIONS, _REFERENCE = b"<ExperimentalConditions>", b"<ReferenceImagePath>"
_LAST = b"\x03\x4d\x00\x08\x00\x00\x00\x00"
"""The end of every .emi that was seen."""


def objects(path: Path, series: int) -> list[bytes]:
    """The XML of every signal of an .emi file with so many series, in order: those with experimental conditions,
    up to 64 MB in.

    The image in which the place of a spectrum was drawn is kept within the .emi and has no series (ten of ten sets).
    """
    with path.open("rb") as file:
        raw = file.read(binary.MAX_PIECE)
    found = [one for one in re.findall(rb"<ObjectInfo>.*?</ObjectInfo>", raw, re.DOTALL) if _CONDITIONS in one]
    drawn_in = next((one for one in found if _REFERENCE not in one), None)
    if series < len(found) and drawn_in is not None and any(_REFERENCE in one for one in found):
        found.remove(drawn_in)
    return found


class SerEmi:
    """The .emi and all of its .ser."""

    name = "ser-emi"

    def matches(self, path: Path) -> bool:
        suffix = path.suffix.lower()
        if suffix == ".ser":
            first = binary.head(path, 4)
            return MARK.startswith(first) and path.is_file()
        return suffix == ".emi" and path.is_file()

    def dataset(self, path: Path) -> Dataset:
        named = _NUMBERED.fullmatch(path.name)
        stem = path.stem if path.suffix.lower() == ".emi" else named["stem"] if named else path.stem
        emi = path.with_name(f"{stem}.emi")
        parts: dict[int, Path] = {}
        for other in path.parent.iterdir():
            same = _NUMBERED.fullmatch(other.name)
            if same is not None and same["stem"] == stem and other.is_file() and not other.is_symlink():
                parts[int(same["number"])] = other
        if not emi.is_file():
            files = tuple(sorted({*parts.values(), path}))
            return Dataset(self.name, files[0], path.parent, files, (emi.name,))
        announced = max(1, len(objects(emi, len(parts))), max(parts, default=0))
        missing = [f"{stem}_{n}.ser" for n in range(1, min(announced, 10_000) + 1) if n not in parts]
        return Dataset(self.name, emi, path.parent, tuple(sorted({*parts.values(), emi})), tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            return binary.growing(f"not there: {', '.join(dataset.missing[:3])}")
        if not _tail(dataset.main).endswith(_LAST):
            return binary.growing(f"the end of {dataset.main.name} is not there")
        short = 0
        for path in _series_of(dataset):
            try:
                found = series(path)
            except TroubleError as trouble:
                return Verdict(trouble.verdict.state, f"{path.name}: {trouble.verdict.reason}")
            if found.valid == 0:
                return binary.growing(f"{path.name} holds no element yet")
            short += found.valid < found.total
        there = len(_series_of(dataset))
        described = len(objects(dataset.main, there))
        if described < there:
            # TIA writes the .emi anew for a further series; some versions never describe it.
            said = f"{dataset.main.name} describes {described} of {there} series"
            return binary.unknown(f"{said}: only quiet time can tell whether it will be written anew")
        said = f"; {short} of them were planned longer" if short else ""
        return binary.whole(f"the .emi and all {len(dataset.files) - 1} series that belong to it are there{said}")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Elements of all series whose data is there."""
        total = 0
        for path in _series_of(dataset):
            try:
                total += series(path).valid
            except TroubleError as trouble:
                if trouble.verdict.state is Wholeness.DAMAGED:
                    return None
        return total

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset))


def _tail(path: Path) -> bytes:
    with binary.opened(path) as file:
        return file.read(max(file.size - len(_LAST), 0), min(file.size, len(_LAST)), "the end")


def _series_of(dataset: Dataset) -> list[Path]:
    def number(path: Path) -> int:
        named = _NUMBERED.fullmatch(path.name)
        return int(named["number"]) if named else 0

    return sorted((path for path in dataset.files if path.suffix.lower() == ".ser"), key=number)


def _read(dataset: Dataset) -> Metadata:
    from agent.formats import emi_metadata

    found: list[tuple[Path, Series]] = []
    errors: list[str] = []
    for path in _series_of(dataset):
        try:
            found.append((path, series(path)))
        except TroubleError as trouble:
            errors.append(f"{path.name}: {trouble.verdict.reason}")
    said = objects(dataset.main, len(found)) if dataset.main.suffix.lower() == ".emi" else []
    return emi_metadata.read(found, said, tuple(errors))
