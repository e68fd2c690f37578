"""The facility notices which events did not arrive, and asks for them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agent.facility.broker import Subscriber
from agent.facility.gaps import Gaps
from agent.facility.live import Mirror
from agent.facility.settings import Settings
from agent.outbox import Outbox
from tests.conftest import Broker
from tests.unit.telemetry.test_publisher import TOPICS, note, publishing, subscribed, until
from tests.unit.telemetry.test_replay import sequences

STARTED = TOPICS.lifecycle("started")


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def event(number: object) -> bytes:
    return json.dumps({"specversion": "1.0", "sequence": number, "data": None}).encode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gaps(clock: Clock) -> Gaps:
    return Gaps("scope/v1", clock)


def hear(gaps: Gaps, *numbers: int, topic: str = STARTED) -> list[tuple[str, bytes]]:
    return [request for number in numbers for request in gaps.note(topic, event(number), False)]


def test_a_gap_is_asked_for_when_it_stays(gaps: Gaps, clock: Clock) -> None:
    assert hear(gaps, 7, 8, 11, 10) == []
    assert gaps.missing() == {TOPICS.root: 1}
    clock.now = 3
    assert hear(gaps, 13) == [(TOPICS.replay_request, b'{"since":8,"until":13}')]
    assert hear(gaps, 9, 10, 11, 12, 13) == []
    assert gaps.missing() == {}


def test_what_never_comes_is_given_up_after_three_requests(
    gaps: Gaps, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    hear(gaps, 1, 5)
    asked = 0
    for _ in range(200):
        clock.now += 1
        asked += len(hear(gaps, 5))
    assert asked == 3
    assert "events 2 to 4 are lost" in caplog.text
    assert gaps.missing() == {}
    assert hear(gaps, 6) == []


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b"{}", event("5"), event(True), event(-3), b"[" * 100_000])
def test_what_is_no_event_is_left_alone(gaps: Gaps, clock: Clock, payload: bytes) -> None:
    hear(gaps, 1)
    clock.now = 100
    assert gaps.note(STARTED, payload, False) == []
    assert gaps.note("other/topic", event(9), False) == gaps.note("scope/v1/a b/c/status", event(9), False) == []
    assert gaps.missing() == {}


def test_old_state_that_is_told_anew_opens_no_gap(gaps: Gaps, clock: Clock) -> None:
    assert hear(gaps, 3, topic=TOPICS.status) == []
    assert hear(gaps, 900) == []
    assert gaps.note(TOPICS.status, event(3), True) == hear(gaps, 3, topic=TOPICS.status) == []
    assert gaps.missing() == {}


def test_a_late_subscriber_gets_what_was_lost_by_itself(nats: Broker, tmp_path: Path) -> None:
    """Two events are published for nobody, as by a broker that acknowledged and lost them."""
    outbox = Outbox.open(tmp_path / "outbox.sqlite")
    outbox.announce([note(number) for number in range(1, 7)])
    outbox.published([3, 4], 1)
    mirror = Mirror("scope/v1")
    subscriber = Subscriber(Settings(data_dir=tmp_path, broker_host="127.0.0.1", broker_port=nats.port), mirror)
    subscriber.start()
    until(lambda: mirror.connected)
    time.sleep(0.2)
    with subscribed(nats.port) as received, publishing(outbox, nats.port) as publisher:
        assert [number for number, _, _ in sequences(received, 4)] == [1, 2, 5, 6]
        until(lambda: subscriber._gaps.missing() == {TOPICS.root: 2})
        time.sleep(2.1)
        outbox.announce([note(7)])
        publisher.wake()
        assert [number for number, _, _ in sequences(received, 4)][:3] == [7, 3, 4]
        until(lambda: subscriber._gaps.missing() == {})
    subscriber.stop()
    outbox.close()


def count(last: int, epoch: str = "1") -> bytes:
    """What `progress` says of it."""
    return json.dumps({"frames": 0, "queue": 0, "last": last, "epoch": epoch}).encode()


def of_epoch(number: int, epoch: str) -> bytes:
    return json.dumps({"specversion": "1.0", "sequence": number, "epoch": epoch, "data": None}).encode()


def test_a_gap_at_the_end_is_noticed_without_another_event(gaps: Gaps, clock: Clock) -> None:
    hear(gaps, 7, 8)
    assert gaps.note(TOPICS.progress, count(11), False) == []
    assert gaps.missing() == {TOPICS.root: 3}
    clock.now = 3
    assert gaps.due() == [(TOPICS.replay_request, b'{"since":8,"until":11}')]
    hear(gaps, 9, 10, 11)
    assert gaps.missing() == {}


def test_the_count_alone_says_where_an_instrument_is(gaps: Gaps, clock: Clock) -> None:
    gaps.note(TOPICS.progress, b'{"frames": 7, "last": null}', False)
    gaps.note(TOPICS.progress, count(40), False)
    assert gaps.missing() == {}
    hear(gaps, 42)
    assert gaps.missing() == {TOPICS.root: 1}


def test_what_came_while_the_facility_was_away_is_asked_for(clock: Clock) -> None:
    before = Gaps("scope/v1", clock)
    before.note(STARTED, of_epoch(5, "1"), False)
    kept = json.loads(json.dumps(before.heard()))
    after = Gaps("scope/v1", clock, kept | {"scope/v1/x": [None, 1], "scope/v1/a/b": "?", "..": [None, 2]})
    after.note(TOPICS.progress, count(9), False)
    clock.now = 3
    assert after.due() == [(TOPICS.replay_request, b'{"since":5,"until":9}')]


def test_an_outbox_that_was_rebuilt_counts_from_one_again(gaps: Gaps, clock: Clock) -> None:
    for number in (900, 901):
        gaps.note(STARTED, of_epoch(number, "69a50000"), False)
    gaps.note(STARTED, of_epoch(3, "69a60000"), False)
    assert gaps.missing() == {TOPICS.root: 2}, "1 and 2 of the new count"
    gaps.note(TOPICS.status, of_epoch(950, "69a50000"), True)
    assert gaps.missing() == {TOPICS.root: 2}, "what the broker kept of the old count is no news"
    for number in (1, 2):
        gaps.note(STARTED, of_epoch(number, "69a60000"), False)
    assert gaps.heard() == {TOPICS.root: ["69a60000", 3]}


def test_an_agent_that_learned_of_epochs_did_not_begin_anew(gaps: Gaps) -> None:
    hear(gaps, 7)
    gaps.note(STARTED, of_epoch(8, "1"), False)
    assert gaps.missing() == {}
