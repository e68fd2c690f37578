"""The Telegraf example: it is TOML, its topics are the contract's, each path is a field of what is sent there."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from paho.mqtt.client import topic_matches_sub

from agent.contract.event import AcquisitionData, Envelope, Progress, StatusData
from agent.contract.topics import Topics
from tests.conftest import ROOT

TOPICS = Topics("lab", "scope1")
CONFIG = tomllib.loads((ROOT / "deploy" / "dashboards" / "telegraf" / "telegraf.conf").read_text("utf-8"))
INPUTS = CONFIG["inputs"]["mqtt_consumer"]
ENDS = [TOPICS.lifecycle(event) for event in ("finished", "verified", "rejected")]
SENT = {
    "scope_progress": ([TOPICS.progress], Progress, None),
    "scope_acquisition": (
        [TOPICS.lifecycle(e) for e in ("finished", "verified", "rejected")],
        Envelope,
        AcquisitionData,
    ),
    "scope_status": ([TOPICS.status], Envelope, StatusData),
}


@pytest.mark.parametrize("said", INPUTS, ids=lambda said: said["name_override"])
def test_topics_and_paths_are_those_of_the_contract(said: dict[str, Any]) -> None:
    topics, model, data = SENT[said["name_override"]]
    for wanted, topic in zip(said["topics"], topics, strict=True):
        assert topic_matches_sub(wanted, topic)
        (parsing,) = said["topic_parsing"]
        assert topic_matches_sub(parsing["topic"], topic)
        tags = dict(zip(parsing["tags"].split("/"), topic.split("/"), strict=True))
        assert (tags["site"], tags["instrument"]) == ("lab", "scope1")
    (parser,) = said["json_v2"]
    assert parser.get("timestamp_path", "time") == "time"
    for field in parser["field"]:
        inside = field["path"].removeprefix("data.")
        assert inside in (data if inside != field["path"] else model).model_fields


def test_every_state_has_a_number() -> None:
    (mapping,) = CONFIG["processors"]["enum"][0]["mapping"]
    assert set(mapping["value_mappings"]) == set(StatusData.model_fields["state"].annotation.__args__)
