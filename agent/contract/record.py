"""The record of an acquisition (acquisition.json), version 1."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 1

Origin = Literal["live", "cached", "file", "profile", "measured", "session", "derived"]
Scalar = str | int | float | bool | list[float] | list[str] | None


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Captured(_Frozen):
    """A value that says where it came from. Unknown is None, never zero."""

    value: Scalar
    unit: str | None = None
    """UCUM-like: um, nm, ms, s, mW, %, degC, e-/ADU; None for plain numbers and text."""
    source: Origin
    taken_at: str | None = None
    """RFC 3339, when the value was read; None for a literal of the profile."""
    conflict: str | None = None
    """What another source said instead, in words."""


class Counts(_Frozen):
    """Frames with their axes, slowest first, such as shape [2, 3, 2, 5] for axes ["p", "t", "c", "z"]."""

    frames: int | None = None
    shape: list[int] | None = None
    axes: list[str] | None = None


class FileEntry(_Frozen):
    """A file of the dataset. `source_sha256` is the hash of the bytes that the acquisition software wrote."""

    path: str
    size: int
    sha256: str
    source_sha256: str | None = None
    role: Literal["data", "metadata", "record", "crate", "methods", "device-state"]
    annotated: bool = False


class Component(_Frozen):
    """A part of the microscope: `kind` is its OME element name (Objective, Detector, Filter, Dichroic, Arc, ...)."""

    id: str
    kind: str
    device: str | None = None
    label: str | None = None
    attributes: dict[str, Captured]


class Hardware(_Frozen):
    """The instrument as it was; components that were in use are named by `in_use` (component ids)."""

    microscope: dict[str, Captured] = {}
    components: list[Component] = []
    in_use: list[str] = []


class Channel(_Frozen):
    """A channel: settings keyed by OME name (Exposure, Binning, Gain, EmissionWavelength, ...) and component ids."""

    name: str
    settings: dict[str, Captured] = {}
    components: list[str] = []


class Planes(_Frozen):
    """Where the planes are listed; `count` of them."""

    count: int
    listed_in: str


class PropertyChange(_Frozen):
    """A device property that changed while the acquisition ran."""

    at: str
    device: str
    property: str
    value: str


class Tier(_Frozen):
    """Completeness of one tier: how many required fields are filled, and which are missing, in words."""

    filled: int
    required: int
    missing: list[str] = []
    states: dict[str, int] = {}
    """How the filled fields are known: captured (read or in the file), profile, session, derived, defaulted."""
    defaulted: list[str] = []
    """Filled with what is assumed where nobody says, in words."""
    not_applicable: list[str] = []
    """Fields that cannot be asked of this instrument and are not counted, in words."""


class Metric(_Frozen):
    """The latest result of a quality-control metric."""

    value: float | None
    unit: str | None
    limit: float | None = None
    measured_at: str | None = None
    age_days: float | None = None
    status: Literal["pass", "fail", "overdue", "none"] = "none"
    """`none`: never measured (`value` is None), or no limit is set."""
    low: float | None = None
    """With `high` the 95 % interval of the value."""
    high: float | None = None
    limit_sense: Literal["at most", "at least"] | None = None
    limit_source: str | None = None
    kind: str | None = None
    """The analysis: detector, field, psf, coregistration, stage, power, pixel-size."""
    quality: Literal["good", "low"] | None = None
    result: str | None = None
    """Id of the entry in the registry of calibrations."""


class CalibrationState(_Frozen):
    """Pixel size and the latest quality-control results; an empty `metrics` means that there are none."""

    pixel_size: dict[str, Captured] = {}
    metrics: dict[str, Metric] = {}


class Session(_Frozen):
    """Who, for what; each with a source and a confidence between 0 and 1."""

    user: Captured | None = None
    project: Captured | None = None
    sample: Captured | None = None
    confidence: float | None = None


class Integrity(_Frozen):
    """What is known to be missing."""

    frames_expected: int | None = None
    frames_received: int | None = None
    frames_dropped: int | None = None
    lost_watch_events: int = 0
    journal_errors: int = 0
    notes: list[str] = []


class AgentInfo(_Frozen):
    """Which scope-agent wrote this, with which configuration."""

    version: str
    config_sha256: str


class Record(_Frozen):
    """One acquisition: what was acquired, on which hardware, in which state of calibration, by whom."""

    id: str
    schema_version: Literal[1] = 1
    site: str
    instrument: str
    name: str
    source: Literal["hook", "watch", "both"]
    software: dict[str, str] = {}
    started_at: str
    finished_at: str | None
    clock_offset_s: float | None = None
    state: str
    finish_reason: Literal["completed", "canceled", "errored", "aborted", "unknown"]
    planned: Counts
    actual: Counts
    files: list[FileEntry] = []
    hardware: Hardware = Hardware()
    channels: list[Channel] = []
    planes: Planes | None = None
    property_changes: list[PropertyChange] = []
    calibration: CalibrationState = CalibrationState()
    environment: dict[str, Captured] = {}
    session: Session = Session()
    completeness: dict[str, Tier] = {}
    not_carried_over: dict[str, Any] = {}
    integrity: Integrity = Integrity()
    agent: AgentInfo
