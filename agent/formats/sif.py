"""Andor Solis .sif: lines of text, then the frames as 32-bit numbers, then reference, background and so on.

Whole when all of them are there: newer files end in `SIFX`, older ones behind the last of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.formats import binary, ome_build
from agent.formats.guarded import guarded
from agent.formats.jsonable import Json
from agent.formats.parts import Parts, given, number, plane, positive
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_layout import TroubleError

MAGIC = b"Andor Technology Multi-Channel File\n"
_HEAD = 1 << 20
"""The text before the frames is a few thousand bytes, and a line a frame."""
_MAX_HEAD = 32 << 20
_FRAMES = re.compile(
    rb"Pixel number655\d\d (?P<area>\d+ \d+ \d+ \d+) (?P<frames>\d+) (?P<parts>\d+) (?P<total>\d+) (?P<length>\d+)\n"
)
_THIRD = re.compile(
    rb"\n(?P<SifVersion>655\d\d) \S+ \S+ \S+ (?P<ExperimentTime>\d+) (?P<DetectorTemperature>\S+) .{10}\S+ "
    rb"(?P<ExposureTime>\S+) (?P<CycleTime>\S+) (?P<AccumulatedCycleTime>\S+) (?P<AccumulatedCycles>\d+) . "
    rb"(?P<StackCycleTime>\S+) (?P<PixelReadoutTime>\S+) \S+ \S+ (?P<GainDAC>\S+) ",
    re.DOTALL,
)
"""Ten characters of the line are single bytes with blanks between them."""
_PART = re.compile(rb"655\d\d (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)[^\n]*\n")
_WITH_XML = 65567
_CUT = "the text before the frames is not complete"


@dataclass(frozen=True, slots=True)
class Sif:
    """`said` holds what is known of the header, `lines` the text of it, `start` where the frames begin."""

    said: dict[str, Json]
    lines: list[str]
    width: int
    height: int
    frames: int
    start: int

    @property
    def end(self) -> int:
        """Where the last frame ends."""
        return self.start + self.frames * self.width * self.height * 4


def sif(path: Path) -> Sif:
    """The signal. Raises TroubleError."""
    with binary.opened(path) as file:
        return _signal(file)


def _signal(file: binary.Binary) -> Sif:
    if file.read(0, len(MAGIC), "the header") != MAGIC:
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as an Andor file does")
    return _block(file, 0)


def _block(file: binary.Binary, at: int) -> Sif:
    """The header that begins at `at`."""
    raw = file.read(at, min(_HEAD, file.size - at), "the header")
    found = _FRAMES.search(raw)
    if found is None:
        state = Wholeness.GROWING if file.size - at < _HEAD else Wholeness.DAMAGED
        raise TroubleError(state, _CUT)
    frames, parts = int(found["frames"]), int(found["parts"])
    if not 0 < frames < 1 << 31 or not 0 < parts < 100:
        raise TroubleError(Wholeness.DAMAGED, "the header has impossible sizes")
    if frames * 12 > _HEAD:
        raw = file.read(at, min(file.size - at, _MAX_HEAD), "the header")
    said = _first_lines(raw[: found.start()])
    said |= {"NumberOfFrames": frames, "NumberOfSubImages": parts, "TotalLength": int(found["total"])}
    said["ImageLength"] = int(found["length"])
    width, height, behind = _parts(raw, found.end(), parts, said)
    start = at + _after_times(raw, behind, frames, said)
    if width * height != int(found["length"]) or width <= 0 or height <= 0:
        raise TroubleError(Wholeness.DAMAGED, "the header contradicts itself about the size of a frame")
    lines = raw[: min(found.end(), 1 << 16)].decode("latin-1").split("\n")
    return Sif(said, lines, width, height, frames, start)


def _ending(file: binary.Binary, at: int, newer: bool) -> Verdict:
    """What follows the signal: reference, background, live and source, each 0 or 1 and a block; newer files then
    have an XML, its length and SIFX.
    """
    for name in ("reference", "background", "live", "source"):
        flag = file.read(at, 2, f"the {name}")
        at += 2
        if flag == b"1\n":
            at = _block(file, at).end
            file.inside(at, 0, f"the {name}")
        elif flag != b"0\n":
            return binary.unknown("the frames are there; what follows them is not understood")
    if at == file.size and not newer:
        return binary.whole("the signal and everything behind it are there")
    length, mark = file.unpack("<Q4s", max(file.size - 12, 0), "the end")
    if mark == b"SIFX" and at + length + 12 == file.size:
        return binary.whole("the signal and everything behind it are there")
    return binary.growing("the text behind the frames is not complete")


def _parts(raw: bytes, at: int, count: int, said: dict[str, Json]) -> tuple[int, int, int]:
    """Width, height and the end of the lines that describe the parts of a frame."""
    width = height = 0
    for _ in range(count):
        part = _PART.match(raw, at)
        if part is None:
            raise TroubleError(Wholeness.GROWING, _CUT)
        x0, y1, x1, y0, ybin, xbin = map(int, part.groups())
        if not xbin or not ybin:
            raise TroubleError(Wholeness.DAMAGED, "the header has impossible sizes")
        width, height = (1 + x1 - x0) // xbin, height + (1 + y1 - y0) // ybin
        said |= {"xbin": xbin, "ybin": ybin}
        at = part.end()
    return width, height, at


def _after_times(raw: bytes, at: int, frames: int, said: dict[str, Json]) -> int:
    """Where the frames begin: behind a time for each, and behind 0, or 1 and a number for each, if they are there."""
    times: list[Json] = []
    for _ in range(frames):
        line, at = _line(raw, at)
        if not line.strip().lstrip(b"-").isdigit():
            raise TroubleError(Wholeness.DAMAGED, "a frame has no time")
        if len(times) < 10_000:
            times.append(int(line))
    said["timestamps"] = times
    flag = raw[at : at + 2]
    if flag == b"0\n":
        return at + 2
    if flag == b"1\n" and said.get("SifVersion") == 65567:
        at += 2
        for _ in range(frames):
            _, at = _line(raw, at)
    return at


def _line(raw: bytes, at: int) -> tuple[bytes, int]:
    end = raw.find(b"\n", at, at + 64)
    if end < 0:
        raise TroubleError(Wholeness.GROWING, _CUT)
    return raw[at:end], end + 1


def _first_lines(raw: bytes) -> dict[str, Json]:
    """The numbers of the third line by their places, and the lines behind it."""
    lines = raw.split(b"\n")
    said: dict[str, Json] = {}
    third = _THIRD.search(raw)
    if third is not None:
        said = {name: number(value.decode("latin-1")) for name, value in third.groupdict().items()}
    row = next((i for i, line in enumerate(lines) if re.fullmatch(rb"\s*\d+ \d+ \d+\s*", line) and i > 3), None)
    if row is not None and row > 0:
        said["DetectorType"] = lines[row - 1].decode("latin-1").strip()
        sides = lines[row].split()
        said["DetectorDimensions"] = [int(sides[0]), int(sides[1])]
        written = b"\n".join(lines[row + 1 :])[: min(int(sides[2]), 4096)]
        said["OriginalFilename"] = written.decode("latin-1").strip()
    return {name: value for name, value in said.items() if value is not None}


class AndorSif:
    """One file."""

    name = "sif"

    def matches(self, path: Path) -> bool:
        first = binary.head(path, len(MAGIC))
        return first == MAGIC or (path.suffix.lower() == ".sif" and MAGIC.startswith(first) and path.is_file())

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        try:
            with binary.opened(dataset.main) as file:
                found = _signal(file)
                if file.size < found.end:
                    have = max(file.size - found.start, 0) // (found.width * found.height * 4)
                    return binary.growing(f"{have} of {found.frames} frames are there")
                return _ending(file, found.end, (number(found.said.get("SifVersion")) or 0) >= _WITH_XML)
        except TroubleError as trouble:
            return trouble.verdict

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Frames whose pixels are there."""
        try:
            found = sif(dataset.main)
        except TroubleError as trouble:
            return 0 if trouble.verdict.state is Wholeness.GROWING else None
        have = max(dataset.main.stat().st_size - found.start, 0) // (found.width * found.height * 4)
        return min(have, found.frames)

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset.main))


def _read(path: Path) -> Metadata:
    try:
        found = sif(path)
    except TroubleError as trouble:
        return Metadata(errors=(f"{path.name}: {trouble.verdict.reason}",))
    said = found.said
    parts = Parts()
    x, y = said.get("xbin"), said.get("ybin")
    camera = str(said.get("DetectorType") or "") or None
    detector = parts.detector(model=camera, manufacturer="Andor", binning=f"{x}x{y}")
    stamp, times = number(said.get("ExperimentTime")), said.get("timestamps")
    exposure = positive(said.get("ExposureTime"))
    seconds = times if isinstance(times, list) else []
    planes = [
        # Kinetic series count microseconds.
        plane(0, 0, t, exposure_s=exposure, delta_s=at / 1e6 if isinstance(at, int) and at >= 0 else None)
        for t, at in enumerate(seconds[:2000])
    ]
    image = ome_build.image(
        0,
        path.name,
        {"x": found.width, "y": found.height, "t": found.frames},
        "float",
        channels=[given(detector_settings=detector)],
        planes=planes,
        date=datetime.fromtimestamp(stamp, tz=UTC) if stamp and 0 < stamp < 4e9 else None,
    )
    version = said.get("SifVersion")
    software = {"Andor Solis file version": f"{version:g}"} if isinstance(version, float) else {}
    return Metadata(parts.ome([image]), software, {"Andor": {**said}, "Andor header": [*found.lines]})
