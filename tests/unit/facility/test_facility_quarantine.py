"""Datasets that are not what their manifest says: listed with the reason, told as an event, found by no search."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent.contract.event import Envelope
from agent.contract.topics import Topics
from agent.errors import NoSpace
from agent.facility.app import open_storage
from agent.facility.rebuild import rebuild
from agent.facility.settings import Settings

from .rig import DATASET, Agent, Running, broker, files, free_port, running, wait_for
from .test_facility_datasets import acquisitions, hashes

ALERT = Topics("lab", "scope1").alert("quarantine")


def quarantined(facility: Running) -> list[dict[str, Any]]:
    found = httpx.get(facility.url + "/api/quarantine", trust_env=False)
    assert found.status_code == 200
    return json.loads(found.content)


def place(facility: Running) -> Path:
    return facility.data / "datasets" / DATASET


@contextmanager
def listener(port: int, topic: str):
    """Payloads that arrive at a topic, in order."""
    got: list[bytes] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _, __, message: got.append(bytes(message.payload))
    client.connect("127.0.0.1", port)
    client.subscribe(topic, 1)
    client.loop_start()
    try:
        yield got
    finally:
        client.disconnect()
        client.loop_stop()


def test_a_commit_that_does_not_verify_is_listed_until_it_does(agent: Agent, facility: Running) -> None:
    wanted = files()
    for path, body in wanted.items():
        agent.send(path, body)
    agent.send("methods.txt", b"other bytes")
    assert agent.commit(hashes(wanted)).status_code == 409
    (one,) = quarantined(facility)
    assert (one["dataset"], one["stored"], one["reason"]) == (DATASET, False, "1 different (methods.txt)")
    assert acquisitions(facility) == []
    page = httpx.get(facility.url + "/quarantine", trust_env=False).text
    assert DATASET in page
    assert "1 different (methods.txt)" in page
    agent.send("methods.txt", wanted["methods.txt"])
    assert agent.commit(hashes(wanted)).status_code == 200
    assert quarantined(facility) == []
    assert len(acquisitions(facility)) == 1


def test_a_commit_of_nothing_and_a_forged_one_are_not_listed(agent: Agent, facility: Running) -> None:
    assert agent.commit({"data/never-sent": "0" * 64}).status_code == 409
    agent.deliver(files())
    assert agent.commit({"methods.txt": "0" * 64}).status_code == 409
    assert quarantined(facility) == []
    assert len(acquisitions(facility)) == 1


def test_rot_is_found_told_and_survives_a_lost_catalogue(tmp_path: Path) -> None:
    port = free_port()
    settings = {"broker_host": "127.0.0.1", "broker_port": port}
    with broker(tmp_path / "nats", port), listener(port, ALERT) as got:
        with running(tmp_path / "data", **settings) as facility:
            agent = facility.agent()
            agent.deliver(files())
            whole = (place(facility) / "methods.txt").read_bytes()
            (place(facility) / "methods.txt").write_bytes(b"rotten")
            assert agent.http.get(f"/datasets/{DATASET}/verify").json()["different"] == ["methods.txt"]
            said = Envelope.model_validate_json(wait_for(lambda: got and got[0], "the event"))
            assert (said.type, said.source) == ("org.scope-agent.alert.quarantine.v1", "/facility")
            assert said.data is not None
            assert said.data["code"] == "quarantine"
            assert "1 different (methods.txt)" in said.data["text"]
            assert acquisitions(facility) == []
            shown = httpx.get(facility.url + f"/view/{DATASET}", trust_env=False).text
            assert "in quarantine" in shown
            refused = httpx.get(facility.url + f"/datasets/{DATASET}/zip", trust_env=False)
            assert (refused.status_code, "methods.txt" in refused.text) == (409, True)
        (tmp_path / "data" / "catalogue.sqlite").unlink()
        with running(tmp_path / "data", **settings) as facility:
            wait_for(lambda: quarantined(facility), "the quarantine after the catalogue was lost")
            assert acquisitions(facility) == []
            got.clear()
            # Repaired: the next check ends it.
            (place(facility) / "methods.txt").write_bytes(whole)
            assert facility.agent().http.get(f"/datasets/{DATASET}/verify").json()["verified"] is True
            wait_for(lambda: b"" in got, "the end of the alert")
            assert quarantined(facility) == []
            assert len(acquisitions(facility)) == 1


@pytest.mark.parametrize("harm", ["differs", "missing", "manifest"])
def test_what_lies_there_and_does_not_verify_is_quarantined_by_itself(tmp_path: Path, harm: str) -> None:
    with running(tmp_path / "data") as facility:
        facility.agent().deliver(files())
    folder = tmp_path / "data" / "datasets" / DATASET
    if harm == "differs":
        (folder / "data/cells.ome.tif").write_bytes(b"flipped")
    elif harm == "missing":
        (folder / "data/cells.ome.tif").unlink()
    else:
        (folder / "manifest-sha256.txt").write_bytes(b"0" * 64 + b"  ../../../tokens.txt\n")
    (tmp_path / "data" / "catalogue.sqlite").unlink()
    with running(tmp_path / "data") as facility:
        (one,) = wait_for(lambda: quarantined(facility), "the quarantine")
        assert one["stored"] is True
        assert one["reason"]
        assert acquisitions(facility) == []
        assert httpx.get(facility.url + f"/view/{DATASET}", trust_env=False).status_code == 200


def test_the_catalogue_is_made_again_by_a_command_too(tmp_path: Path) -> None:
    other = DATASET.replace("cells", "other")
    with running(tmp_path / "data") as facility:
        facility.agent().deliver(files())
        facility.agent().deliver(files(), other)
    (tmp_path / "data" / "catalogue.sqlite").unlink()
    (tmp_path / "data" / "datasets" / other / "methods.txt").write_bytes(b"rotten")
    settings = Settings(data_dir=tmp_path / "data")
    found = rebuild(settings, verify=False)
    assert (found.datasets, found.quarantined) == (2, 0)
    found = rebuild(settings, verify=True)
    assert (found.datasets, found.quarantined) == (2, 1)


def test_abandoned_uploads_are_never_catalogued(tmp_path: Path) -> None:
    """Half of a file, and a dataset that is whole but for its commit; the quarantine of a refused one ends with it."""
    with running(tmp_path / "data") as facility:
        agent = facility.agent()
        half = agent.create("data/half", 100).headers["Location"]
        agent.patch(half, 0, b"0123456789")
        for path, body in files().items():
            agent.send(path, body)
        assert agent.commit({"methods.txt": "0" * 64}).status_code == 409
        assert len(quarantined(facility)) == 1
        assert acquisitions(facility) == []
    with running(tmp_path / "data", expire_days=1e-9) as facility:
        wait_for(lambda: not list((facility.data / ".staging").iterdir()), "the end of what was staged")
        wait_for(lambda: not list((facility.data / ".incoming").iterdir()), "the end of the upload")
        wait_for(lambda: quarantined(facility) == [], "the end of the quarantine")
        assert acquisitions(facility) == []


def test_a_disk_that_is_full_answers_507(tmp_path: Path) -> None:
    with running(tmp_path / "data", min_free_bytes=1 << 60) as facility:
        assert facility.agent().create("data/a", 10).status_code == 507
        assert acquisitions(facility) == []


def test_a_full_disk_in_the_middle_of_a_note_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(Settings(data_dir=tmp_path))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.facility.folder.write_atomic", full)
    with pytest.raises(NoSpace):
        storage.keep_note("a", b"x")
