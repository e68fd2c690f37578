"""What is announced at which move of an acquisition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.acquisition import Acquisition, State
from agent.calibration import Entry
from agent.clock import iso
from agent.contract.event import TYPE_PREFIX, AcquisitionData, StatusData, event_id
from agent.contract.topics import Topics
from agent.outbox import Announcement
from agent.sources.spelling import shown

_RESULTS = 12
"""Results in one event, so that it stays under the limit of its size."""
_EVENT_OF: dict[State, str] = {
    State.ACQUIRING: "started",
    State.ABORTED: "aborted",
    State.SETTLING: "finished",
    State.CAPTURED: "captured",
    State.DOCUMENTED: "documented",
    State.DELIVERING: "delivered",
    State.VERIFIED: "verified",
    State.RELEASED: "released",
    State.REJECTED: "rejected",
}


def describe(acquisition: Acquisition, **more: Any) -> AcquisitionData:
    """The data of an event about this acquisition; `more` fills further fields of AcquisitionData."""
    reason = {"reason": shown(more["reason"])} if more.get("reason") else {}
    return AcquisitionData.model_validate(
        {
            "id": acquisition.id,
            "name": shown(acquisition.name),
            "state": acquisition.state.value,
            "found_by": acquisition.found_by.value,
            "started_at": iso(acquisition.started_ns),
            "finished_at": iso(acquisition.finished_ns) if acquisition.finished_ns else None,
            "finish_reason": acquisition.reason.value if acquisition.finished_ns else None,
            "frames_planned": acquisition.plan.frames,
            "frames_actual": acquisition.frames,
            **more,
            **reason,
        }
    )


def lifecycle(
    topics: Topics, acquisition: Acquisition, now_ns: int, event: str | None = None, **more: Any
) -> Announcement:
    """The lifecycle event of the state that the acquisition is in now (or `event`). Its id is the same at every try."""
    name = event or _EVENT_OF[acquisition.state]
    again = str(now_ns) if name == "rejected" else ""
    return Announcement(
        id=event_id("acquisition", topics.root, acquisition.id, name, again),
        topic=topics.lifecycle(name),
        type=f"{TYPE_PREFIX}.acquisition.{name}.v1",
        subject=acquisition.id,
        time_ns=now_ns,
        data=describe(acquisition, **more).model_dump(exclude_none=True),
    )


def current(topics: Topics, acquisition: Acquisition | None, now_ns: int, about: str) -> Announcement:
    """The retained running acquisition, or null. `about` is the id of the acquisition that began or ended."""
    data = describe(acquisition).model_dump(exclude_none=True) if acquisition else None
    return Announcement(
        id=event_id("current", topics.root, about, "begin" if acquisition else "end"),
        topic=topics.current,
        type=f"{TYPE_PREFIX}.acquisition.current.v1",
        subject=about,
        time_ns=now_ns,
        data=data,
        retained=True,
    )


def status(topics: Topics, data: StatusData, now_ns: int) -> Announcement:
    """The retained status of the instrument's agent."""
    return Announcement(
        id=event_id("status", topics.root, str(now_ns), data.state),
        topic=topics.status,
        type=f"{TYPE_PREFIX}.status.v1",
        subject="status",
        time_ns=now_ns,
        data=data.model_dump(exclude_none=True),
        retained=True,
    )


def alert(topics: Topics, code: str, text: str | None, now_ns: int) -> Announcement:
    """A retained alert; None clears it with an empty payload."""
    return Announcement(
        id=event_id("alert", topics.root, code, str(now_ns)),
        topic=topics.alert(code),
        type=f"{TYPE_PREFIX}.alert.{code}.v1",
        subject=code,
        time_ns=now_ns,
        data={"code": code, "text": shown(text)} if text is not None else None,
        retained=True,
    )


def calibration(topics: Topics, newest: Entry, in_force: Sequence[Entry], now_ns: int) -> Announcement:
    """The retained latest results of a kind of calibration: `newest`, and what else of the kind is in force."""
    status = "fail" if any(entry.failed for entry in in_force) else "pass"
    data = {
        "kind": newest.kind,
        "status": status,
        "next_due": min((entry.due_at for entry in in_force), default=newest.due_at),
        "newest": newest.id,
        "results": [_result(entry) for entry in sorted(in_force, key=lambda e: e.measured_at)[-_RESULTS:]],
    }
    return Announcement(
        id=event_id("calibration", topics.root, newest.id),
        topic=topics.calibration(newest.kind),
        type=f"{TYPE_PREFIX}.calibration.{newest.kind}.v1",
        subject=newest.id,
        time_ns=now_ns,
        data=data,
        retained=True,
    )


def _result(entry: Entry) -> dict[str, object]:
    """What a dashboard shows of a result: every metric with a limit, and the rest by value."""
    return {
        "id": entry.id,
        "measured_at": entry.measured_at,
        "due_at": entry.due_at,
        "quality": entry.quality,
        "reasons": list(entry.reasons)[:10],
        "holds_for": entry.holds_for.model_dump(exclude_defaults=True),
        "series": entry.series,
        "metrics": {
            name: {
                "value": found.value,
                "unit": found.unit,
                "status": found.status,
                **({"limit": found.limit.value, "sense": found.limit.sense} if found.limit else {}),
            }
            for name, found in entry.metrics.items()
        },
    }
