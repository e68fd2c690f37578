"""Bad input of every kind: one line in `check`, one in the log, a degraded status where it can be published."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paho.mqtt import publish

from agent.contract.event import Envelope
from agent.outbox import Outbox
from agent.telemetry.jumps import Jumps
from tests.conftest import ROOT, Broker, free_port
from tests.lab import Lab
from tests.unit.telemetry.test_publisher import subscribed, until


def check(folder: Path, mqtt: str, instrument: str = "scope") -> list[dict[str, str]]:
    """What `scope-agent check --json` says of the broker and the config."""
    (folder / "token").write_text("x")
    config = folder / "config.toml"
    config.write_text(
        f"site = 'lab'\ninstrument = {json.dumps(instrument)}\nstate = 'state'\n[delivery]\ntoken_file = 'token'\n"
        f"url = 'http://127.0.0.1:{free_port()}'\n[mqtt]\nhost = '127.0.0.1'\n{mqtt}"
    )
    command = [sys.executable, "-m", "agent", "check", "-c", str(config), "--json"]
    said = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout)
    lines = said if isinstance(said, list) else said["findings"]
    return [line for line in lines if line["subject"].startswith("mqtt") or line["subject"] == "config"]


@pytest.mark.parametrize(
    ("mqtt", "instrument", "says"),
    [
        ("prefix = 'scope/#'", "scope", "prefix '#'"),
        ("prefix = 'scope/+/v1'", "scope", "prefix '+'"),
        ('prefix = "scope/a\\u0007b"', "scope", "\\x07"),
        ("sensor_temperature = 'room/#'", "scope", "is no MQTT topic"),
        ('sensor_humidity = "room/\\u0000"', "scope", "is no MQTT topic"),
        ("nemo_prefix = 'nemo/+'", "scope", "is no MQTT topic"),
        ("", "scope/+", "cannot be used in paths and topics"),
        ("", "scope\n", "cannot be used in paths and topics"),
    ],
)
def test_a_name_with_wildcards_or_control_characters_is_one_line(
    tmp_path: Path, mqtt: str, instrument: str, says: str
) -> None:
    (line,) = check(tmp_path, mqtt, instrument)
    assert (line["level"], line["subject"]) == ("fail", "config")
    assert says in line["text"]
    assert "\n" not in line["text"]


def test_a_broker_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    _, line = check(tmp_path, f"port = {free_port()}")
    assert (line["level"], line["subject"]) == ("fail", "mqtt")
    assert "cannot be reached" in line["text"]


def test_a_sensor_that_says_no_number_is_one_line_in_check(nats: Broker, tmp_path: Path) -> None:
    mqtt = f"port = {nats.port}\nsensor_temperature = 'room/t'\nnemo_tool = 7\n"
    assert [line["level"] for line in check(tmp_path, mqtt)] == ["ok", "ok", "ok"]
    publish.single("room/t", '{"value": "warm"}', qos=1, retain=True, port=nats.port)
    *_, line = check(tmp_path, mqtt)
    assert (line["level"], line["subject"]) == ("fail", "mqtt inbound")
    assert line["text"].startswith("room/t: not understood: the payload is no number")
    publish.single("room/t", '{"value": 20.5, "time": "2026-03-02T12:00:00Z"}', qos=1, retain=True, port=nats.port)
    assert [line["level"] for line in check(tmp_path, mqtt)] == ["ok", "ok", "ok"]


def test_acquisitions_go_on_without_a_broker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import numpy as np
    import tifffile

    lab = Lab(tmp_path, mqtt={"host": "127.0.0.1", "port": free_port()})
    with lab.daemon():
        tifffile.imwrite(lab.images / "cells.tif", np.zeros((8, 8), np.uint16))
        lab.described()
        beat = lab.state / "heartbeat.json"
        until(lambda: "Connection refused" in json.loads(beat.read_text())["broker"], 15)
    assert len([r for r in caplog.records if "events are kept" in r.getMessage()]) == 1


def statuses(port: int) -> dict[str, object]:
    with subscribed(port, "scope/v1/lab/scope/status") as received:
        return Envelope.model_validate_json(received.get(timeout=10)[1]).data


def test_a_sensor_that_says_no_number_degrades_the_status_until_it_does(
    nats: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(tmp_path, mqtt={"host": "127.0.0.1", "port": nats.port, "sensor_temperature": "room/t"})
    with lab.daemon():
        until(lambda: statuses(nats.port)["state"] == "online")
        for _ in range(3):
            publish.single("room/t", "warm", qos=1, port=nats.port)
        until(lambda: statuses(nats.port)["state"] == "degraded")
        (reason,) = statuses(nats.port)["reasons"]
        assert reason.startswith("room/t: not understood")
        publish.single("room/t", "21.5", qos=1, port=nats.port)
        until(lambda: statuses(nats.port)["state"] == "online")
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING and "room/t" in r.getMessage()]) == 1


class Held:
    wall, passed = 1_772_452_800.0, 100.0

    def now_ns(self) -> int:
        return int(self.wall * 1e9)

    def monotonic(self) -> float:
        return self.passed

    def go(self, seconds: float, jump: float = 0) -> None:
        self.wall += seconds + jump
        self.passed += seconds


@pytest.mark.parametrize(("jump", "says"), [(-3600, "3600 s back"), (7200, "7200 s ahead")])
def test_a_clock_that_jumps_is_one_line_for_ten_minutes(
    jump: float, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Held()
    jumps = Jumps(clock)
    for _ in range(100):
        clock.go(1, 0.01)  # corrected slowly
        assert jumps.problem() is None
    clock.go(1, jump)
    assert says in jumps.problem()
    clock.go(500)
    assert says in jumps.problem()
    clock.go(200)
    assert jumps.problem() is None
    assert caplog.text.count("the clock jumped") == 1


def test_events_flow_in_order_through_a_jump_of_the_clock(nats: Broker, tmp_path: Path) -> None:
    """Numbers, not times, order events; an acquisition is delivered whatever the clock says."""
    from tests.unit.telemetry.test_publisher import TOPICS, note, publishing
    from tests.unit.telemetry.test_replay import sequences

    outbox = Outbox.open(tmp_path / "outbox.sqlite")
    with subscribed(nats.port) as received, publishing(outbox, nats.port) as publisher:
        for number, at in enumerate([time.time_ns(), 1, 1 << 61, 5], 1):
            made = note(number)
            outbox.announce([type(made)(made.id, TOPICS.lifecycle("started"), "t", "run", at, made.data)])
            publisher.wake()
        assert [number for number, _, _ in sequences(received, 4)] == [1, 2, 3, 4]
    outbox.close()
