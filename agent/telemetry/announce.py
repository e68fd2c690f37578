"""What is announced at which move of an acquisition."""

from __future__ import annotations

from typing import Any

from agent.acquisition import Acquisition, State
from agent.clock import iso
from agent.contract.event import TYPE_PREFIX, AcquisitionData, StatusData, event_id
from agent.contract.topics import Topics
from agent.outbox import Announcement

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
    return AcquisitionData.model_validate(
        {
            "id": acquisition.id,
            "name": acquisition.name,
            "state": acquisition.state.value,
            "found_by": acquisition.found_by.value,
            "started_at": iso(acquisition.started_ns),
            "finished_at": iso(acquisition.finished_ns) if acquisition.finished_ns else None,
            "finish_reason": acquisition.reason.value if acquisition.finished_ns else None,
            "frames_planned": acquisition.plan.frames,
            "frames_actual": acquisition.frames,
            **more,
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
        data={"code": code, "text": text} if text is not None else None,
        retained=True,
    )
