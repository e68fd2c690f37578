"""Everything that the journal holds of one run, in columns, so that 100,000 frames stay small."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.sources.events import FinishReason

DeviceProperty = tuple[str, str]
"""(device label, property name), as Micro-Manager spells them."""


@dataclass(slots=True)
class Frames:
    """One entry a frame in every column; NaN or None where a value is not known."""

    axes: tuple[str, ...] = ()
    """Axis names that occur, slowest first, such as ("t", "p", "c", "z")."""
    index: list[tuple[int, ...]] = field(default_factory=list)
    """Index on each axis, in the order of `axes`; -1 where the frame has no such axis."""
    at_ns: array[int] = field(default_factory=lambda: array("q"))
    """When the frame reached the hook, UTC nanoseconds."""
    runner_ms: array[float] = field(default_factory=lambda: array("d"))
    """Time of the frame on the acquisition engine's own clock."""
    exposure_ms: array[float] = field(default_factory=lambda: array("d"))
    x_um: array[float] = field(default_factory=lambda: array("d"))
    y_um: array[float] = field(default_factory=lambda: array("d"))
    z_um: array[float] = field(default_factory=lambda: array("d"))
    channel: list[str | None] = field(default_factory=list)
    camera: list[str | None] = field(default_factory=list)
    position: list[str | None] = field(default_factory=list)
    """Name of the stage position, where it has one."""
    state: list[int] = field(default_factory=list)
    """Index into `states`."""
    states: list[dict[DeviceProperty, str]] = field(default_factory=list)
    """Distinct device states: what differs from the state at the start of the run."""
    camera_metadata: Sequence[dict[str, Any]] = field(default_factory=list)
    """What the camera driver attached to each frame."""
    shape: tuple[int, ...] = ()
    """(height, width) or (height, width, samples) of a frame."""
    dtype: str = ""

    def __len__(self) -> int:
        return len(self.at_ns)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed while the run was on."""

    at_ns: int
    device: str
    property: str
    value: str


@dataclass(slots=True)
class RunCapture:
    """One run as the hook saw it."""

    uid: str
    started_ns: int
    finished_ns: int | None
    reason: FinishReason
    sequence: dict[str, Any]
    """The useq MDASequence as JSON; empty for a generator."""
    summary: dict[str, Any]
    """pymmcore-plus SummaryMetaV1 with values read live from the devices at the start."""
    end_state: dict[DeviceProperty, str]
    """Device state read live at the end; empty when the process died."""
    software: dict[str, str]
    outputs: tuple[str, ...]
    frames: Frames
    changes: list[Change]
    lost: int
    notes: list[str]
    """What the journal says is missing or odd, one line each."""
    bare: int = 0
    """Frames that were taken and are not in `frames`, for the journal holds nothing more of them."""
