"""The envelope (CloudEvents 1.0 JSON) and the data of every event."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.contract.record import Captured, Session

TYPE_PREFIX = "org.scope-agent"
MAX_PAYLOAD = 64 * 1024
UNCOUNTED = 0
"""Sequence of the last will, as nobody can know its place when it is deposited."""
_NAMESPACE = uuid.UUID("6f1d2f7c-3a44-5d0e-9a53-2a8d6c7b1e90")


Epoch = Annotated[str | None, Field(pattern="^[0-9a-z]{1,20}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Envelope(_Frozen):
    """A CloudEvents 1.0 event; `sequence` counts an instrument's events without gaps."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    """Never changes when the event is sent again, so that a subscriber can drop duplicates."""
    source: str
    """`/{site}/{instrument}`"""
    type: str
    """`org.scope-agent.acquisition.verified.v1` and so on."""
    subject: str
    time: str
    datacontenttype: Literal["application/json"] = "application/json"
    sequence: int = Field(ge=0)
    """0 in what is not counted: the last will, which the broker sends."""
    epoch: Epoch = None
    """When counting began: numbers start again at 1, in a later epoch, where an agent's outbox had to be rebuilt."""
    truncated: Literal[True] | None = None
    """Texts and lists of `data` were cut so that the event stays under 64 KiB; the record has all."""
    data: dict[str, Any] | None


class AcquisitionData(_Frozen):
    """Data of the lifecycle events and of `acquisition/current`."""

    id: str
    name: str
    state: str
    found_by: Literal["hook", "watch", "both"]
    started_at: str
    finished_at: str | None = None
    finish_reason: str | None = None
    frames_planned: int | None = None
    frames_actual: int | None = None
    files: int | None = None
    bytes: int | None = None
    dataset: str | None = None
    completeness: dict[str, str] | None = None
    """Per tier, `filled/required`."""
    session: Session | None = None
    """Who, for what, as the record says it; in `documented`."""
    environment: dict[str, Captured] | None = None
    """The room, by OME name (Temperature, Humidity, CO2Percent), as the record says it; in `documented`."""
    reason: str | None = None
    """One line, for `aborted` and `rejected`."""


class Change(_Frozen):
    """One value of a record that is known better now; None is unknown."""

    field: str
    """`session.user`, `session.project`, `session.sample`, `environment.Temperature` and so on."""
    before: Captured | None
    after: Captured | None


class AmendmentData(_Frozen):
    """Data of `acquisition/amended`: what is to be read into a record that is written already and stays as it is."""

    id: str
    name: str
    dataset: str
    """Where the dataset lies, or will lie."""
    by: str
    """Who or what said it: `session` (a session told late), `sensor`, or the name of who corrected it."""
    reason: str | None = None
    confidence: float | None = None
    """Of the session after the change."""
    changes: list[Change]


class StatusData(_Frozen):
    """Data of `status`; the last will carries state `offline` only."""

    state: Literal["online", "offline", "degraded"]
    agent: str | None = None
    reasons: list[str] = []
    queue: int | None = None
    started_at: str | None = None


class AlertData(_Frozen):
    """Data of `alert/{code}`; null when the alert is over."""

    code: str
    text: str


class CalibrationData(_Frozen):
    """Data of `calibration/{kind}`: the results of a kind that are in force."""

    kind: str
    status: Literal["pass", "fail"]
    next_due: str | None
    newest: str
    """Id of the newest result."""
    results: list[dict[str, Any]]
    """Each with id, measured_at, due_at, quality, reasons, holds_for, series, and metrics by name."""


class Progress(_Frozen):
    """Payload of `progress`: no envelope, QoS 0, at most once a second."""

    acquisition: str | None
    frames: int
    planned: int | None
    queue: int
    bytes_left: int
    disk_free: int
    last: int | None = Field(default=None, ge=0)
    """Sequence of the newest event: a subscriber that has less misses some. None while events are on their way."""
    epoch: Epoch = None
    """Of `last`, as in the envelope."""


class ReplayRequest(_Frozen):
    """Payload of `request/replay`: every kept event with since < sequence <= until is sent again, as it was."""

    since: int = Field(ge=0)
    until: int | None = Field(default=None, ge=0)
    """None: all that there are."""


class SessionData(_Frozen):
    """Payload of `session`, from a booking system or a dashboard: who is at the instrument; null when it ends."""

    user: str | None = None
    project: str | None = None
    sample: str | None = None
    since: str | None = None
    """RFC 3339, when it began, where that was not just now; records of the time since then are amended."""
    until: str | None = None
    """RFC 3339, when it ended, where that is known already."""
    calibration: str | dict[str, str | float] | None = None
    """Runs of this session are calibrations of this kind; or a table: `kind`, and as in a sequence's metadata
    `series`, `bead_um`, `spacing_um`, `area_mm2`, `offset_adu`."""


def event_id(*parts: str) -> str:
    """The same parts give the same id, so that a step that is repeated announces nothing twice."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))
