"""An amendment that is told over MQTT is read into the catalogue; the delivered dataset stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from agent.facility.amendments import keep
from agent.facility.folder import FolderStorage
from agent.facility.settings import Settings

from .rig import DATASET, broker, files, free_port, record, running, wait_for

TOPIC = "scope/v1/lab/scope1/acquisition/amended"
ID = record()["id"]


def event(number: int, changes: dict[str, str | None], **more: Any) -> bytes:
    data = {"id": ID, "name": "cells", "dataset": DATASET, "by": "ada", "reason": "typo", "confidence": 0.95} | more
    data["changes"] = [
        {"field": field, "before": None, "after": {"value": value, "source": "session"} if value else None}
        for field, value in changes.items()
    ]
    envelope = {"specversion": "1.0", "id": f"e-{number}", "source": "/lab/scope1", "subject": ID, "sequence": number}
    envelope |= {"type": "org.scope-agent.acquisition.amended.v1", "datacontenttype": "application/json"}
    return json.dumps(envelope | {"time": f"2026-03-05T10:00:{number:02}.000000Z", "data": data}).encode()


def test_amendments_before_and_after_the_delivery_are_read_into_the_catalogue(tmp_path: Path) -> None:
    port = free_port()
    told = {"broker_host": "127.0.0.1", "broker_port": port}
    with broker(tmp_path / "broker", port):
        with running(tmp_path / "data", **told) as facility:
            agent = facility.agent()

            def detail() -> dict[str, Any]:
                return agent.http.get(f"/api/acquisitions/{ID}").json()

            wait_for(lambda: agent.http.get("/api/fleet").json()["broker"], "the broker")
            publish.single(TOPIC, event(1, {"session.user": "ada", "session.sample": "s1"}), qos=1, port=port)
            wait_for(lambda: list((tmp_path / "data").rglob("e-1.json")), "the note")
            assert agent.deliver(files()).status_code == 200
            assert (detail()["entry"]["user"], detail()["entry"]["sample"]) == ("ada", "s1")
            for _ in range(2):
                publish.single(TOPIC, event(2, {"session.sample": None, "session.user": "mia"}), qos=1, port=port)
            wait_for(lambda: detail()["entry"]["user"] == "mia", "the amendment")
            found = detail()
        assert found["entry"]["sample"] is None
        assert [(one["by"], one["reason"], len(one["changes"])) for one in found["amendments"]] == [
            ("ada", "typo", 2)
        ] * 2
        assert found["record"]["session"]["user"] is None, "the record stays as it was delivered"
        (tmp_path / "data" / "catalogue.sqlite").unlink()
        with running(tmp_path / "data", **told) as facility:
            again = facility.agent().http
            wait_for(lambda: again.get(f"/api/acquisitions/{ID}").status_code == 200, "the catalogue made anew")
            assert again.get(f"/api/acquisitions/{ID}").json()["entry"]["user"] == "mia"
            assert again.get("/api/acquisitions", params={"q": "mia"}).json()["items"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"\xff",
        event(1, {"session.user": "x"}, dataset="lab/scope2/2026/03/04/101112_cells_0badcafe"),
        event(1, {"session.user": "x"}, id="../../tokens"),
        event(1, {"session.user": "x"}, by=None),
        event(1, {"session.user": "x"}).replace(b'"e-1"', b'"../e"'),
    ],
)
def test_what_is_no_amendment_of_this_instrument_is_left_alone(tmp_path: Path, payload: bytes) -> None:
    storage = FolderStorage(Settings(data_dir=tmp_path))
    assert keep(storage, TOPIC, payload) is None
    assert list(storage.notes("facility")) == []
