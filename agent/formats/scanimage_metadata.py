"""What ScanImage says: `SI.name = value` lines, `scanimage.SI5.name` and `state.name` in older versions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from agent.formats import ome_build, tiff_layout
from agent.formats.jsonable import Json
from agent.formats.ome_xml import MAX_PLANES
from agent.formats.parts import Parts, date, number, plane
from agent.formats.places import name_in, placed
from agent.formats.port import Dataset, Metadata, Place
from agent.formats.tiff_layout import IMAGE_DESCRIPTION, SOFTWARE, Layout, Tag
from agent.formats.tiff_page import ARTIST, Head, text_value

Fields = dict[str, str]
_LINE = re.compile(r"^\s*([A-Za-z_][\w.]*)\s*=\s*(.*?)\s*$", re.MULTILINE)
_SECONDS = ("frameTimestamps_sec", "frameTimestamp(s)", "Frame Timestamp(s)")
_MAX_FRAMES = 10_000_000


def lines(text: str) -> Fields:
    """The assignments of a header, the values as text."""
    found = dict(_LINE.findall(text))
    # ScanImage 3.8 ends its lines with a carriage return, 5.x writes names with blanks and brackets.
    for line in text.replace("\r", "\n").splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip():
            found[key.strip()] = value.strip()
    return found


def numbers(text: str | None) -> list[float]:
    """The numbers of a MATLAB vector."""
    return [float(one) for one in re.findall(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?", text or "")]


def texts(text: str | None) -> list[str]:
    """The strings of a MATLAB cell array."""
    return re.findall(r"'([^']*)'", text or "")


class Header:
    """The settings of a run under their newest names, whatever version wrote them."""

    def __init__(self, head: Head) -> None:
        self.frame = lines(head.text(IMAGE_DESCRIPTION))
        said = lines(head.text(SOFTWARE))
        self.all = {**self.frame, **said}
        self.plain = {re.sub(r"^(?:scanimage\.)?SI[45]?\.", "SI.", key): value for key, value in self.all.items()}

    def text(self, *names: str) -> str | None:
        """The first of these settings that is there."""
        return next((self.plain[name].strip("'") for name in names if self.plain.get(name)), None)

    def whole(self, *names: str) -> int | None:
        """A setting as a positive whole number."""
        value = number(self.text(*names))
        return int(value) if value is not None and 0 < value < _MAX_FRAMES and value == int(value) else None

    def version(self) -> str | None:
        """Such as 2023.0.0, 5.7 or 3.8."""
        major = self.text("SI.VERSION_MAJOR", "SI.VERSION_MAJOR", "state.software.version")
        minor, update = self.text("SI.VERSION_MINOR"), self.text("SI.VERSION_UPDATE")
        return ".".join(part for part in (major, minor, update) if part) or None

    def channels(self) -> list[int]:
        """The numbers of the saved channels."""
        saved = numbers(self.text("SI.hChannels.channelSave", "SI.channelsSave"))
        if not saved and "state.acq.savingChannel1" in self.plain:
            saved = [n for n in range(1, 5) if number(self.text(f"state.acq.savingChannel{n}")) == 1]
        return [int(one) for one in saved]

    def names(self) -> list[str]:
        """The names of the saved channels."""
        every = texts(self.text("SI.hChannels.channelName") and self.plain["SI.hChannels.channelName"])
        return [every[n - 1] if 0 < n <= len(every) else f"Channel {n}" for n in self.channels()]

    def slices(self) -> tuple[int, int]:
        """Slices of a stack as they are saved (with the frames of the way back), and frames of each."""
        if self.text("SI.hStackManager.enable") == "false" and self.text("SI.hFastZ.enable") != "true":
            return 1, 1
        frames = self.whole("SI.hStackManager.framesPerSlice") or 1
        fast = self.text("SI.hFastZ.enable", "SI.fastZEnable") in ("true", "1")
        if fast:
            volume = self.whole("SI.hStackManager.numFramesPerVolumeWithFlyback", "SI.hFastZ.numFramesPerVolume")
            if volume:
                return volume, 1
        named = ("SI.hStackManager.actualNumSlices", "SI.hStackManager.numSlices", "SI.stackNumSlices")
        return self.whole(*named) or self.whole("state.acq.numberOfZSlices") or 1, frames

    def step_um(self) -> float | None:
        """Distance of the slices."""
        names = ("SI.hStackManager.actualStackZStepSize", "SI.hStackManager.stackZStepSize", "state.acq.zStepSize")
        value = number(self.text(*names))
        return abs(value) if value else None

    def pixel_um(self, width: int, height: int) -> dict[str, tuple[float, str]]:
        """Pixel sizes from the field of view, where it is one region."""
        corners = numbers(self.text("SI.hRoiManager.imagingFovUm"))
        if len(corners) != 8 or self.text("SI.hRoiManager.mroiEnable") in ("true", "1"):
            return {}
        wide, high = max(corners[::2]) - min(corners[::2]), max(corners[1::2]) - min(corners[1::2])
        return {"x": (wide / width, "µm"), "y": (high / height, "µm")}

    def when(self) -> datetime | None:
        """Start of the run on the PC's clock; the zone is not said."""
        parts = numbers(self.frame.get("epoch"))
        if len(parts) == 6 and parts[0] > 1900:
            day = "-".join(f"{int(part):02d}" for part in parts[:3])
            clock = f"{int(parts[3]):02d}:{int(parts[4]):02d}:{parts[5]:09.6f}"
            return date(f"{day} {clock}", "%Y-%m-%d %H:%M:%S.%f")
        return date(self.text("state.internal.triggerTimeString"), "%m/%d/%Y %H:%M:%S.%f", "%m/%d/%Y %H:%M:%S")


def _times(dataset: Dataset) -> tuple[list[float | None], list[int]]:
    """Seconds of every frame of the first `MAX_PLANES`, and how many there are in each file."""
    found: list[float | None] = []
    counts: list[int] = []
    total = 0

    def one(file: BinaryIO, _layout: Layout, tags: dict[int, Tag]) -> None:
        nonlocal total
        total += 1
        if total <= MAX_PLANES:
            said = lines(text_value(file, tags.get(IMAGE_DESCRIPTION), 1 << 16))
            found.append(next((number(said[name]) for name in _SECONDS if name in said), None))

    for path in dataset.files:
        before = total
        tiff_layout.layout(path, visit=one)
        counts.append(total - before)
    return found, counts


def read(dataset: Dataset) -> Metadata:
    """The metadata of a run."""
    head = Head(dataset.main)
    said, page = Header(head), head.page
    seconds, counts = _times(dataset)
    total = sum(counts)
    channels = said.channels() or [1]
    slices, repeats = said.slices()
    count = len(channels)
    notes: list[str] = []
    if total % (count * slices * repeats) or not total:
        notes.append(
            f"{total} planes do not make whole stacks of {slices} slices and {count} channels: one row of frames"
        )
        slices = repeats = 1
        if total % count:
            count = 1
    elif slices != (said.whole("SI.hStackManager.numSlices") or slices):
        notes.append("the stacks are saved with the frames of the way back, which count as slices here")
    sizes = {"x": page.width, "y": page.height, "z": slices, "c": count, "t": max(total // (count * slices), 1)}
    steps = said.pixel_um(page.width, page.height) if page.width and page.height else {}
    if slices > 1 and (step := said.step_um()):
        steps["z"] = (step, "µm")
    planes = _planes(seconds, count, slices, repeats) if total <= MAX_PLANES else []
    if not planes:
        notes.append(f"{total} plane times stay in the files")
    rest = _rest(said, head)
    version = said.version()
    software = {"ScanImage": version} if version else {}
    if page.pixels is None:
        return Metadata(None, software, rest, notes=tuple(notes))
    names = [{"name": name} for name in said.names()] if count == len(said.names()) else []
    image = ome_build.image(
        0, dataset.main.name, sizes, page.pixels, steps=steps, channels=names, planes=planes, date=said.when()
    )
    found = Metadata(Parts().ome([image]), software, rest, notes=tuple(notes))
    return placed(found, dataset, _places(dataset, counts, count, slices, repeats))


def _planes(seconds: list[float | None], channels: int, slices: int, repeats: int) -> list[dict[str, Any]]:
    """The planes in the order of the file: channels change first, then repeated frames, then slices."""
    found = []
    for number_, at in enumerate(seconds):
        place = _place(number_, channels, slices, repeats)
        found.append(plane(*place, delta_s=at if at is None or at >= 0 else None))
    return found


def _place(number_: int, channels: int, slices: int, repeats: int) -> tuple[int, int, int]:
    """(z, c, t) of a plane by its number in the run."""
    frame, channel = divmod(number_, channels)
    volume, inside = divmod(frame, slices * repeats)
    z, repeat = divmod(inside, repeats)
    return z, channel, volume * repeats + repeat


def _places(dataset: Dataset, counts: list[int], channels: int, slices: int, repeats: int) -> Iterator[Place]:
    number_ = 0
    for path, count in zip(dataset.files, counts, strict=True):
        for ifd in range(count):
            yield Place("Image:0", name_in(dataset, path), *_place(number_, channels, slices, repeats), ifd=ifd)
            number_ += 1


def _rest(said: Header, head: Head) -> dict[str, Json]:
    rest: dict[str, Json] = {"ScanImage": {**said.all}}
    regions = head.text(ARTIST)
    if regions.lstrip().startswith("{"):
        try:
            rest["ScanImage regions"] = json.loads(regions)
        except (ValueError, RecursionError):
            rest["ScanImage regions"] = regions
    return rest
