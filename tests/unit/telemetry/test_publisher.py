"""Events reach real brokers in order, and none is lost while the broker is away."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.clock import SystemClock
from agent.contract.event import Envelope, StatusData
from agent.contract.topics import Topics
from agent.errors import Unreachable
from agent.outbox import Announcement, Outbox
from agent.telemetry import announce
from agent.telemetry.probe import probe
from agent.telemetry.publisher import Publisher
from agent.telemetry.settings import MqttSettings
from tests.conftest import Broker, free_port

TOPICS = Topics("lab", "scope1")


@contextmanager
def subscribed(port: int, topic: str = "scope/v1/#") -> Iterator[queue.Queue]:
    """Everything that a bare paho client receives."""
    received: queue.Queue = queue.Queue()
    ready = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    client.on_subscribe = lambda *_: ready.set()
    client.on_connect = lambda c, *_: c.subscribe(topic, qos=1)
    client.on_message = lambda _c, _u, m: received.put((m.topic, m.payload, m.retain))
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert ready.wait(10)
    try:
        yield received
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def publishing(outbox: Outbox, port: int) -> Iterator[Publisher]:
    with running_publisher(Publisher(MqttSettings(host="127.0.0.1", port=port), TOPICS, outbox)) as publisher:
        yield publisher


@contextmanager
def running_publisher(publisher: Publisher) -> Iterator[Publisher]:
    """In a thread of its own, inside the block."""
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    try:
        yield publisher
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def note(number: int) -> Announcement:
    return Announcement(f"id-{number}", TOPICS.lifecycle("started"), "t", "run", number, {"n": number})


def numbers(received: queue.Queue, count: int, seconds: float = 20) -> list[int]:
    """The first `count` different numbers, in order of first arrival."""
    found: list[int] = []
    deadline = time.monotonic() + seconds
    while len(found) < count:
        topic, payload, _ = received.get(timeout=max(0.01, deadline - time.monotonic()))
        if topic == TOPICS.lifecycle("started"):
            number = Envelope.model_validate_json(payload).data["n"]
            if number not in found:
                found.append(number)
    return found


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox.open(tmp_path / "outbox.sqlite")
    yield made
    made.close()


def until(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_events_arrive_in_order_and_leave_the_outbox(broker: Broker, outbox: Outbox) -> None:
    outbox.announce([note(number) for number in range(1, 501)])
    with subscribed(broker.port) as received, publishing(outbox, broker.port) as publisher:
        assert numbers(received, 500) == list(range(1, 501))
        outbox.announce([note(501)])
        publisher.wake()
        assert numbers(received, 1) == [501]
        until(lambda: not outbox.unpublished(0, 1))


def test_events_wait_while_the_broker_is_killed(broker: Broker, outbox: Outbox) -> None:
    with publishing(outbox, broker.port) as publisher:
        until(lambda: publisher.problem is None)
        broker.kill()
        until(lambda: publisher.problem is not None)
        outbox.announce([note(number) for number in range(1, 21)])
        publisher.wake()
        time.sleep(0.3)
        assert len(outbox.unpublished(0, 100)) == 20
        broker.start()
        with subscribed(broker.port) as received:
            assert sorted(numbers(received, 20, 40)) == list(range(1, 21))
            until(lambda: not outbox.unpublished(0, 1))


def test_the_last_will_says_offline_and_the_birth_says_online(broker: Broker, outbox: Outbox) -> None:
    online = announce.status(TOPICS, StatusData(state="online", agent="1"), 1)
    outbox.announce([online])
    publisher = Publisher(MqttSettings(host="127.0.0.1", port=broker.port, keepalive_s=5), TOPICS, outbox)
    with subscribed(broker.port) as received:
        publisher._begin()
        while not publisher._link.connected:
            publisher._step(0.05)
        topic, payload, _ = received.get(timeout=10)
        assert (topic, json.loads(payload)["data"]["state"]) == (TOPICS.status, "online")
        client = publisher._link._client
        client._sock_close()  # the process is gone: no DISCONNECT is sent
        topic, payload, _ = received.get(timeout=15)
        assert (topic, json.loads(payload)["data"]["state"]) == (TOPICS.status, "offline")
        assert Envelope.model_validate_json(payload).sequence == 0, "the last will is not counted"
        client.loop_stop()


def test_retained_topics_are_published_anew_after_a_reconnect(broker: Broker, outbox: Outbox) -> None:
    outbox.announce([announce.status(TOPICS, StatusData(state="online", agent="1"), 1)])
    with publishing(outbox, broker.port):
        until(lambda: not outbox.unpublished(0, 1))
        broker.kill()
        broker.start()
        with subscribed(broker.port) as received:
            topic = ""
            while topic != TOPICS.status:
                topic, payload, _ = received.get(timeout=40)
    assert (topic, json.loads(payload)["id"]) == (TOPICS.status, outbox.retained()[0].id)


def test_an_alert_is_cleared_by_an_empty_retained_payload_and_an_event(nats: Broker, outbox: Outbox) -> None:
    outbox.announce([announce.alert(TOPICS, "disk", "disk is full", 1), announce.alert(TOPICS, "disk", None, 2)])
    with subscribed(nats.port) as received, publishing(outbox, nats.port):
        first, second, third = (received.get(timeout=10) for _ in range(3))
    assert json.loads(first[1])["data"]["text"] == "disk is full"
    assert second[1] == b""
    assert (json.loads(third[1])["sequence"], json.loads(third[1])["data"]) == (2, None)
    with subscribed(nats.port, TOPICS.alert("disk")) as received, pytest.raises(queue.Empty):
        received.get(timeout=0.3)


def test_probe_says_what_is_wrong_in_one_line(broker: Broker) -> None:
    probe(MqttSettings(host="127.0.0.1", port=broker.port))
    with pytest.raises(Unreachable, match="cannot be reached"):
        probe(MqttSettings(host="127.0.0.1", port=free_port()))


def test_every_event_names_the_epoch_of_its_outbox(nats: Broker, outbox: Outbox, tmp_path: Path) -> None:
    class Later:
        def __getattr__(self, name: str) -> object:
            return getattr(SystemClock(), name)

        def now_ns(self) -> int:
            return time.time_ns() + 60 * 10**9

    outbox.announce([note(1)])
    rebuilt = Outbox.open(tmp_path / "rebuilt.sqlite")
    rebuilt.announce([note(2)])
    settings, epochs = MqttSettings(host="127.0.0.1", port=nats.port), []
    with subscribed(nats.port, TOPICS.lifecycle("started")) as received:
        for publisher in (Publisher(settings, TOPICS, outbox), Publisher(settings, TOPICS, rebuilt, Later())):
            with running_publisher(publisher):
                epochs.append(Envelope.model_validate_json(received.get(timeout=10)[1]).epoch)
    rebuilt.close()
    assert epochs[0] < epochs[1]
