"""DeltaVision (.dv, .r3d): a header like MRC's, an extended header with the facts of each section, then the pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, ome_build, ome_xml
from agent.formats.binary import Binary
from agent.formats.guarded import attempt, guarded
from agent.formats.parts import Parts, given, plane, positive
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.single import alone, judged
from agent.formats.tiff_layout import TroubleError

if TYPE_CHECKING:
    from ome_types import OME

_HEADER, _MARK, _NEW = 1024, 0xC0A0, 100
"""`_NEW` is the kind of header that has facts where older ones have titles five to ten."""
_YEARS = (6e8, 3e9)
"""Seconds since 1970 of the years 1989 to 2065."""
_MODES = {
    0: ("uint8", 1),
    1: ("int16", 2),
    2: ("float", 4),
    4: ("complex", 8),
    6: ("uint16", 2),
    7: ("int32", 4),
}
"""OME type and bytes by pixel mode."""
_ORDERS = {0: "ztc", 1: "czt", 2: "zct"}
"""The axes of the sections, fastest first."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first 1,024 bytes; steps in micrometres."""

    order: str
    sizes: dict[str, int]
    kind: str
    plane_bytes: int
    sections: int
    extended: int
    integers: int
    floats: int
    steps: tuple[float, float, float]
    waves: tuple[int, ...]
    lens: int
    sequence: str
    titles: tuple[str, ...]
    date: datetime | None


class DeltaVision:
    """softWoRx's own format."""

    name = "deltavision-dv"

    def matches(self, path: Path) -> bool:
        start = binary.head(path, 98)
        if len(start) < 98:
            return path.suffix.lower() in (".dv", ".r3d") and path.is_file()
        return _order(start) is not None

    def dataset(self, path: Path) -> Dataset:
        return alone(self.name, path)

    def is_whole(self, dataset: Dataset) -> Verdict:
        return judged(dataset.main, _verdict)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Sections whose pixels are there."""
        with binary.opened(dataset.main) as file:
            try:
                found = header(file)
            except TroubleError:
                return None
            return max(0, min(found.sections, (file.size - _HEADER - found.extended) // found.plane_bytes))

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset.main))


def _order(start: bytes) -> str | None:
    return next((one for one in "<>" if struct.unpack_from(one + "H", start, 96)[0] == _MARK), None)


def header(file: Binary) -> Header:
    """Raises TroubleError."""
    raw = file.read(0, _HEADER, "the header")
    order = _order(raw)
    if order is None:
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as a DeltaVision file does")
    width, height, sections, mode = struct.unpack_from(order + "4i", raw, 0)
    (extended,) = struct.unpack_from(order + "i", raw, 92)
    integers, floats = struct.unpack_from(order + "2h", raw, 128)
    (lens,) = struct.unpack_from(order + "h", raw, 162)
    times, sequence = struct.unpack_from(order + "Hh", raw, 180)
    (form,) = struct.unpack_from(order + "h", raw, 160)
    seconds = 0.0
    if form == _NEW:
        seconds, more = struct.unpack_from(order + "di", raw, 844)
        # Counts that do not fit the old field stand in a wider one.
        times = more if times in (0, 0xFFFF) and 0 < more <= sections else times
    channels, *waves = struct.unpack_from(order + "6h", raw, 196)
    kind, size = _MODES.get(mode, ("", 0))
    times, channels = (1 if times in (0, 0xFFFF) else times), max(channels, 1)
    if not kind or width <= 0 or height <= 0 or sections <= 0 or extended < 0 or sections % (times * channels):
        raise TroubleError(Wholeness.DAMAGED, "the header of the DeltaVision file is damaged")
    sizes = {"x": width, "y": height, "z": sections // (times * channels), "c": channels, "t": times}
    titles = tuple(raw[at : at + 80].split(b"\0")[0].decode("latin-1").strip() for at in range(224, 1024, 80))
    return Header(
        order, sizes, kind, width * height * size, sections, extended, integers, floats,
        struct.unpack_from(order + "3f", raw, 40), tuple(waves[:channels]), lens,
        _ORDERS.get(sequence, ""), tuple(title for title in (titles[:4] if form == _NEW else titles) if title),
        datetime.fromtimestamp(seconds, UTC) if _YEARS[0] < seconds < _YEARS[1] else None,
    )  # fmt: skip


def _verdict(file: Binary) -> Verdict:
    found = header(file)
    need = _HEADER + found.extended + found.sections * found.plane_bytes
    if file.size < need:
        return binary.growing(f"{need} bytes are announced, {file.size} are there")
    if file.size > need:
        return binary.unknown(f"{file.size - need} bytes follow behind the last section")
    return binary.whole(f"all {found.sections} sections are there and the file ends with them")


def _read(path: Path) -> Metadata:
    with binary.opened(path) as file:
        found = header(file)
        facts = _facts(file, found)
    notes = (
        ["the objective is known by its number only (lens_number), its model is not in the file"] if found.lens else []
    )
    ome, errors = attempt(path, lambda: _ome(path, found, facts))
    rest = {
        "lens_number": found.lens,
        "titles": list(found.titles),
        "wavelengths": list(found.waves),
        "sections": facts,
    }
    return Metadata(ome, {}, {"deltavision": rest}, errors, tuple(notes))


def _facts(file: Binary, found: Header) -> list[dict[str, float]]:
    """The extended header of every section: time in s, stage in micrometres, exposure in s, wavelengths in nm."""
    size = 4 * (max(found.integers, 0) + max(found.floats, 0))
    if not size or found.floats < 12 or found.extended < size * found.sections or found.sections > ome_xml.MAX_PLANES:
        return []
    names = ("photosensor", "time", "x", "y", "z", "min", "max", "mean", "exposure", "nd", "excitation", "emission")
    facts = []
    for section in range(found.sections):
        at = _HEADER + section * size + 4 * max(found.integers, 0)
        values = file.unpack(f"{found.order}12f", at, "the extended header")
        facts.append(dict(zip(names, values, strict=True)))
    # A header that was never filled in holds zeros.
    return facts if any(fact["exposure"] or fact["x"] or fact["time"] for fact in facts) else []


def _ome(path: Path, found: Header, facts: list[dict[str, float]]) -> OME:
    steps = {
        axis: (float(f"{step:.7g}"), "µm") for axis, step in zip("xyz", found.steps, strict=True) if positive(step)
    }
    if found.sizes["z"] == 1:
        steps.pop("z", None)
    planes: list[dict[str, Any]] = []
    for section, fact in enumerate(facts):
        where = _place(section, found)
        if where is None:
            break
        exposure = positive(fact["exposure"])
        planes.append(
            plane(
                where["z"],
                where["c"],
                where["t"],
                delta_s=fact["time"],
                exposure_s=exposure,
                um=[fact[a] for a in "xyz"],
            )
        )
    excitations = {
        where["c"]: positive(fact["excitation"]) for n, fact in enumerate(facts) if (where := _place(n, found))
    }
    channels = [
        given(emission_wavelength=positive(wave), excitation_wavelength=excitations.get(c))
        for c, wave in enumerate(found.waves)
    ]
    image = ome_build.image(
        0, path.stem, found.sizes, found.kind, steps=steps, channels=channels, planes=planes, date=found.date
    )
    return Parts().ome([image])


def _place(section: int, found: Header) -> dict[str, int] | None:
    where: dict[str, int] = {}
    for axis in found.sequence:
        section, where[axis] = divmod(section, found.sizes[axis])
    return where or None
