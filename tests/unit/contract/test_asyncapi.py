"""The documents of the events follow from the types, are current, and describe what is really sent."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from agent.contract import asyncapi
from agent.contract.event import StatusData
from agent.contract.topics import LIFECYCLE, Topics
from agent.outbox import EventRow
from agent.telemetry import announce
from agent.telemetry.envelope import payload
from tests.conftest import ROOT

TOPICS = Topics("lab", "scope1")
DOCUMENT = asyncapi.document()


@pytest.mark.parametrize(("of", "name"), [("events", "asyncapi.json"), ("event", "asyncapi-schemas.json")])
def test_the_documents_in_docs_are_current(of: str, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "schema", of], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kept = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert json.loads(done.stdout) == json.loads(kept), f"run: scope-agent schema {of} > docs/{name}"


def at(reference: str) -> Any:
    found: Any = DOCUMENT
    for key in reference.removeprefix("#/").split("/"):
        found = found[key]
    return found


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [name for inner in value.values() for name in references(inner)]
    return [name for inner in value for name in references(inner)] if isinstance(value, list) else []


def test_every_reference_leads_somewhere() -> None:
    assert len(references(DOCUMENT)) > 40
    for reference in references(DOCUMENT):
        assert at(reference) is not None
    for channel in DOCUMENT["channels"].values():
        for name in channel["parameters"]:
            assert f"{{{name}}}" in channel["address"]


def test_every_topic_of_the_contract_is_there() -> None:
    addresses = {
        c["address"].format(prefix="scope/v1", site="lab", instrument="scope1", kind="psf", code="disk")
        for c in DOCUMENT["channels"].values()
    }
    assert addresses == {
        TOPICS.status, TOPICS.current, TOPICS.progress, TOPICS.calibration("psf"), TOPICS.alert("disk"),
        TOPICS.replay_request, TOPICS.session, TOPICS.amended,
        *(TOPICS.lifecycle(event) for event in LIFECYCLE),
    }  # fmt: skip


def validator(message: str) -> Draft202012Validator:
    schema = DOCUMENT["components"]["messages"][message]["payload"] | {"components": DOCUMENT["components"]}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
def test_each_example_is_valid_and_a_broken_one_is_not(name: str) -> None:
    check = validator(name)
    for example in DOCUMENT["components"]["messages"][name]["examples"]:
        check.validate(example["payload"])
        for broken in [[], example["payload"] | {"unknown": 1}, example["payload"] | {"data": {"x": 1}}]:
            with pytest.raises(ValidationError):
                check.validate(broken)


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("status", announce.status(TOPICS, StatusData(state="degraded", reasons=["x"]), 1)),
        ("alert", announce.alert(TOPICS, "disk", "full", 1)),
        ("alert", announce.alert(TOPICS, "disk", None, 1)),
        ("current", announce.current(TOPICS, None, 1, "a")),
    ],
)
def test_what_is_sent_is_valid(name: str, event: Any) -> None:
    row = EventRow(7, event.id, event.topic, event.type, event.subject, event.time_ns, event.data, True, None)
    validator(name).validate(json.loads(payload(row, TOPICS)))
