"""The lines of a journal, typed. The hook writes them: see agent/hook/journal.py and recorder.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, TypeVar

import msgspec

T = TypeVar("T")

HEAD = 200
"""A line that says that details were removed is the first, and shorter than this."""


class Line(msgspec.Struct):
    """One entry: number in the file, UTC nanoseconds, kind, content."""

    n: int
    t: int
    k: str
    d: msgspec.Raw


class OfRun(msgspec.Struct):
    """Any entry of a run."""

    run: int


class PropertyInfo(msgspec.Struct):
    """A property as the summary has it."""

    name: str
    value: Any = None


class DeviceInfo(msgspec.Struct):
    """A device; `cached` says that its properties were not read live."""

    label: str
    properties: list[PropertyInfo] = []
    cached: bool = False


class Setting(msgspec.Struct):
    """What a preset sets."""

    dev: str
    prop: str
    val: Any


class Preset(msgspec.Struct):
    name: str
    settings: list[Setting] = []


class Group(msgspec.Struct):
    name: str
    presets: list[Preset] = []


class ImageInfo(msgspec.Struct):
    num_camera_adapter_channels: int = 1


class Summary(msgspec.Struct):
    """What is used here of pymmcore-plus SummaryMetaV1; a custom engine may have written anything else."""

    devices: list[DeviceInfo] = []
    config_groups: list[Group] = []
    position: dict[str, Any] = {}
    image_infos: list[ImageInfo] = []


class Started(msgspec.Struct):
    """A run began; `summary` is pymmcore-plus SummaryMetaV1 with devices read live."""

    run: int
    core: int
    sequence: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    outputs: list[str] = []
    software: dict[str, str] = {}
    configuration: dict[str, str] = {}
    summary: dict[str, Any] = {}
    notes: list[str] = []

    def typed_summary(self) -> Summary:
        """The summary, checked; empty when it is of another shape."""
        try:
            return msgspec.convert(self.summary, Summary)
        except msgspec.ValidationError:
            return Summary()


class FrameEntry(msgspec.Struct):
    """A frame; `camera`, `shape`, `dtype`, `properties` and `camera_metadata` only say what is new."""

    run: int
    index: dict[str, int] = msgspec.field(default_factory=dict, name="i")
    runner_ms: float | None = msgspec.field(default=None, name="ms")
    exposure_ms: float | None = msgspec.field(default=None, name="e")
    x: float | None = None
    y: float | None = None
    z: float | None = None
    position: str | None = msgspec.field(default=None, name="pos")
    channel: tuple[str, str] | None = msgspec.field(default=None, name="ch")
    camera: str | None = msgspec.field(default=None, name="cam")
    properties: list[tuple[str, str, Any]] = msgspec.field(default_factory=list, name="pv")
    commanded: list[tuple[str, str, Any]] = msgspec.field(default_factory=list, name="set")
    triggered: bool = msgspec.field(default=False, name="hw")
    camera_metadata: dict[str, Any] = msgspec.field(default_factory=dict, name="cm")
    shape: list[int] | None = None
    dtype: str | None = None


class Finished(msgspec.Struct):
    """A run ended; `state` is every property read live."""

    run: int
    reason: str = "unknown"
    frames: int = 0
    lost: int = 0
    state: list[tuple[str, str, str]] = []
    error: str | None = None
    notes: list[str] = []


class PropertyEntry(msgspec.Struct):
    """A property changed."""

    core: int
    device: str = msgspec.field(name="dev")
    property: str = msgspec.field(name="prop")
    value: str = msgspec.field(name="val")


class PresetEntry(msgspec.Struct):
    """A preset was set; `state` is its group as MMCore knows it, said the first time in a run."""

    core: int
    group: str
    preset: str
    state: list[tuple[str, str, str]] = []


class Gap(msgspec.Struct):
    """Lines that were left out, or removed later: `bytes` of the file then, 0 when they were never written."""

    lines: int = 0
    frames: dict[int, int] = {}
    """Frames of each run among them."""
    until: int = 0
    bytes: int = 0


class Removed(msgspec.Struct):
    """Journals that had to go as a whole, for the spool was larger than `limit` bytes."""

    journals: list[str] = []
    limit: int = 0


_line = msgspec.json.Decoder(Line)


def parse(raw: bytes) -> Line | None:
    """The entry of a line, or None when the line is damaged."""
    try:
        return _line.decode(raw)
    except msgspec.MsgspecError:
        return None


def content(line: Line, kind: type[T]) -> T | None:
    """The entry's content, or None when it is not what its kind says."""
    try:
        return msgspec.json.decode(line.d, type=kind)
    except msgspec.MsgspecError:
        return None


def length(raw: bytes, line: Line | None) -> int:
    """The bytes that a line takes, or took before details were removed: offsets count these."""
    if line is None or line.k not in ("gap", "compacted"):
        return len(raw)
    gap = content(line, Gap)
    return (gap.bytes if gap else 0) or (0 if line.k == "compacted" else len(raw))


def entries(file: BinaryIO, start: int, end: int | None) -> Iterator[Line | None]:
    """Entries in bytes `start` to `end` (or the last whole line); None for a damaged one."""
    position = skip(file, start)
    for raw in file:
        line = parse(raw)
        position += length(raw, line)
        if not raw.endswith(b"\n") or (end is not None and position > end):
            return
        yield line


def skip(file: BinaryIO, start: int) -> int:
    """Go to the line at offset `start`; where the file goes on, later than that when the line was removed."""
    file.seek(0)
    if b'"k":"compacted"' not in file.readline(HEAD):
        file.seek(start)
        return start
    file.seek(0)
    position = 0
    while position < start and (raw := file.readline()):
        position += length(raw, parse(raw))
    return position
