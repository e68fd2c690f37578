"""What a broker lost can be asked for again: in order, unchanged, in bounds, for as long as it is kept."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt import publish

from agent.contract.event import ReplayRequest, StatusData
from agent.errors import Unreachable
from agent.outbox import Outbox
from agent.telemetry import announce
from agent.telemetry.asking import ask
from agent.telemetry.replay import PER_S, Replay
from agent.telemetry.settings import MqttSettings
from tests.conftest import Broker
from tests.unit.telemetry.test_publisher import TOPICS, note, publishing, subscribed, until

DAY = 86_400 * 10**9


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox.open(tmp_path / "outbox.sqlite")
    yield made
    made.close()


def sequences(received: queue.Queue, count: int, seconds: float = 15) -> list[tuple[int, str, bytes]]:
    """(sequence, topic, payload) of the next events that are counted."""
    found: list[tuple[int, str, bytes]] = []
    deadline = time.monotonic() + seconds
    while len(found) < count:
        topic, payload, _ = received.get(timeout=max(0.01, deadline - time.monotonic()))
        if payload and "/request/" not in topic and (number := json.loads(payload)["sequence"]):
            found.append((number, topic, payload))
    return found


def test_a_replay_sends_the_same_bytes_in_order(broker: Broker, outbox: Outbox) -> None:
    outbox.announce([note(number) for number in range(1, 301)])
    with publishing(outbox, broker.port), subscribed(broker.port) as received:
        until(lambda: not outbox.unpublished(0, 1))
        time.sleep(0.3)
        while not received.empty():
            received.get()
        publish.single(TOPICS.replay_request, '{"since": 100}', qos=1, port=broker.port)
        again = sequences(received, 200)
        assert [number for number, _, _ in again] == list(range(101, 301))
        assert {topic for _, topic, _ in again} == {TOPICS.lifecycle("started")}
        publish.single(TOPICS.replay_request, '{"since": 100, "until": 103}', qos=1, port=broker.port)
        assert sequences(received, 3) == again[:3]
        with pytest.raises(queue.Empty):
            sequences(received, 1, 0.5)


def test_state_that_is_over_is_not_told_as_the_present(nats: Broker, outbox: Outbox) -> None:
    outbox.announce(
        [
            announce.status(TOPICS, StatusData(state="degraded"), 1),
            announce.alert(TOPICS, "disk", "full", 2),
            announce.alert(TOPICS, "disk", None, 3),
            announce.status(TOPICS, StatusData(state="online"), 4),
        ]
    )
    with publishing(outbox, nats.port):
        until(lambda: not outbox.unpublished(0, 1))
        with subscribed(nats.port) as received:
            assert [number for number, _, _ in sequences(received, 1)] == [4]
            publish.single(TOPICS.replay_request, '{"since": 0}', qos=1, port=nats.port)
            again = sequences(received, 4)
    assert [number for number, _, _ in again] == [1, 2, 3, 4]
    assert {topic for _, topic, _ in again} == {TOPICS.replay(TOPICS.status), TOPICS.replay(TOPICS.alert("disk"))}
    with subscribed(nats.port) as received:
        (_, _, body), *_ = sequences(received, 1)
        assert json.loads(body)["data"]["state"] == "online"
        with pytest.raises(queue.Empty):
            sequences(received, 1, 0.3)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"7", b"{}", b'{"since": -1}', b'{"since": "x"}', b"\xff", b'{"since":' + b" " * 2000 + b"1}"],
)
def test_a_request_that_is_none_is_ignored(outbox: Outbox, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    outbox.announce([note(1)])
    outbox.published([1], 1)
    replay = Replay(outbox)
    replay.ask(body)
    assert replay.take(100, 1.0) == replay.take(100, 2.0) == []
    assert "replay request" in caplog.text


def test_a_replay_is_bounded_and_requests_are_merged(outbox: Outbox) -> None:
    outbox.announce([note(number) for number in range(1, 2001)])
    outbox.published(range(1, 2001), 1)
    replay, sent = Replay(outbox), []
    replay.ask(b'{"since": 500}')
    now = 0.0
    for _ in range(100):
        now += 0.01
        sent += [row.sequence for row in replay.take(200, now)]
        if len(sent) == 10:
            for _ in range(50):
                replay.ask(b'{"since": 0}')
    assert len(sent) == pytest.approx(PER_S * 1.0, rel=0.02)
    while replay.busy:
        now += 0.1
        sent += [row.sequence for row in replay.take(200, now)]
    assert sent == [*range(501, 2001), *range(1, 2001)]


def test_events_are_kept_for_a_time_and_numbers_never_come_again(outbox: Outbox) -> None:
    old = announce.status(TOPICS, StatusData(state="online"), 1)
    outbox.announce([note(1), old, *(note(number) for number in range(3, 101))])
    outbox.published(range(1, 61), 1 * DAY)
    outbox.published(range(61, 91), 20 * DAY)
    assert outbox.prune_events(2 * DAY, spared=0, limit=30) == 30
    assert outbox.prune_events(2 * DAY, spared=0) == 29
    assert outbox.prune_events(2 * DAY, spared=0) == 0
    assert [row.sequence for row in outbox.published_events(0, 1000, 1000)] == [2, *range(61, 91)]
    assert [row.sequence for row in outbox.retained()] == [2]
    assert outbox.prune_events(99 * DAY, spared=20) == 20, "the newest stay whatever the clock says"
    assert [row.sequence for row in outbox.unpublished(0, 100)] == list(range(91, 101))
    outbox.announce([note(101)])
    assert outbox.last_sequence() == 101


def test_the_daemon_is_asked_over_the_broker(broker: Broker, outbox: Outbox) -> None:
    outbox.announce([note(number) for number in range(1, 51)])
    settings = MqttSettings(host="127.0.0.1", port=broker.port)
    with publishing(outbox, broker.port):
        until(lambda: not outbox.unpublished(0, 1))
        assert ask(settings, TOPICS, ReplayRequest(since=20)) == list(range(21, 51))
        assert ask(settings, TOPICS, ReplayRequest(since=20, until=22)) == [21, 22]


def test_nobody_answers(nats: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.telemetry.asking._PATIENCE_S", 0.5)
    publish.single(TOPICS.status, '{"sequence": 7}', qos=1, retain=True, port=nats.port)
    with pytest.raises(Unreachable, match="does the daemon run"):
        ask(MqttSettings(host="127.0.0.1", port=nats.port), TOPICS, ReplayRequest(since=0))
