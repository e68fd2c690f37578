"""Every kind of event stays under 64 KiB whatever is in it, keeps its shape, and says when it was cut."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from agent.acquisition import Acquisition, FoundBy, State
from agent.contract import asyncapi
from agent.contract.event import MAX_PAYLOAD, AmendmentData, Change, Envelope, StatusData
from agent.contract.record import Captured, Session
from agent.contract.topics import LIFECYCLE, Topics
from agent.outbox import Announcement, EventRow
from agent.sources.events import Plan
from agent.telemetry import announce
from agent.telemetry.envelope import payload, replayed, state_again

TOPICS = Topics("s" * 63, "i" * 63)
TEXT = 'ü€𝄞\n"\\' * 50
LONG = TEXT * 400
DOCUMENT = asyncapi.document()
RUN = Acquisition(
    id="01975c2e-5b7a-7c3e-9d0a-3f1c2b4d5e6f",
    origin="watch:x",
    found_by=FoundBy.BOTH,
    name=LONG,
    state=State.ACQUIRING,
    started_ns=1,
    finished_ns=2,
    plan=Plan(1 << 62, (1 << 40,) * 3, ("t", "c", "z")),
    frames=1 << 62,
)


def long_captured() -> Captured:
    return Captured(value=LONG, source="session", taken_at="2026-03-02T09:00:00.000000Z", conflict=LONG)


def events() -> dict[str, Announcement]:
    """One of each kind, by the name of its message."""
    values = long_captured()
    short = values.model_copy(update={"value": TEXT, "conflict": TEXT})
    session = Session(user=values, project=values, sample=values, confidence=1.0)
    completeness = {f"tier {number}": TEXT for number in range(10_000)}
    made = {
        event: announce.lifecycle(
            TOPICS, RUN, 1, event, files=10_000, bytes=1 << 62, dataset=LONG, reason=LONG, completeness=completeness,
            session=session, environment={f"Sensor {number}": short for number in range(1000)},
        )
        for event in LIFECYCLE
    }  # fmt: skip
    amended = AmendmentData(
        id=RUN.id, name=LONG, dataset=LONG, by=LONG, reason=LONG,
        changes=[Change(field="session.user", before=short, after=values)] * 20,
    )  # fmt: skip
    kind = f"{asyncapi.TYPE_PREFIX}.acquisition.amended.v1"
    results = [{"id": LONG, "metrics": {f"metric {n}": {"value": 1.0, "unit": TEXT} for n in range(500)}}] * 12
    calibration = {"kind": "psf", "status": "fail", "next_due": None, "newest": LONG, "results": results}
    return made | {
        "current": announce.current(TOPICS, RUN, 1, RUN.id),
        "status": announce.status(TOPICS, StatusData(state="degraded", agent=LONG, reasons=[TEXT] * 10_000), 1),
        "alert": announce.alert(TOPICS, "c" * 63, LONG, 1),
        "amended": Announcement("a", TOPICS.amended, kind, RUN.id, 1, amended.model_dump(mode="json")),
        "calibration": Announcement(
            "c", TOPICS.calibration("psf"), f"{asyncapi.TYPE_PREFIX}.calibration.psf.v1", "c-1", 1, calibration, True
        ),
    }


EVENTS = events()


@pytest.mark.parametrize("name", [*LIFECYCLE, "current", "status", "alert", "amended", "calibration"])
def test_an_event_of_any_content_is_small_enough_and_valid(name: str) -> None:
    event = EVENTS[name]
    # As the outbox gives it back.
    data = json.loads(json.dumps(event.data))
    row = EventRow(1 << 60, event.id, event.topic, event.type, event.subject, 1, data, event.retained, None)
    for body in (payload(row, TOPICS, "69a55d80"), replayed(row, TOPICS).payload, state_again(row, TOPICS).payload):
        assert len(body) < MAX_PAYLOAD
    said = json.loads(payload(row, TOPICS, "69a55d80"))
    schema = DOCUMENT["components"]["messages"][name]["payload"] | {"components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(said)
    assert Envelope.model_validate(said).truncated is True
    assert payload(row, TOPICS, "69a55d80") == payload(row, TOPICS, "69a55d80")


def test_an_event_of_usual_size_is_not_touched() -> None:
    data = StatusData(state="degraded", reasons=["x" * 900] * 60).model_dump(exclude_none=True)
    row = EventRow(1, "i", TOPICS.status, "org.scope-agent.status.v1", "status", 1, data, True, None)
    said = json.loads(payload(row, TOPICS))
    assert said["data"] == data
    assert "truncated" not in said
