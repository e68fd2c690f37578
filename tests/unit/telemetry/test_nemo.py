"""Payloads of nemo-mqtt-bridge 2.3 become sessions, in any order and however often they come; late ones are noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.sources.context import ContextLog
from agent.telemetry.inbound import Inbound
from agent.telemetry.settings import MqttSettings
from tests.unit.telemetry.test_inbound import NOON, S
from tests.unit.telemetry.test_publisher import TOPICS

SETTINGS = MqttSettings(host="h", nemo_tool=7, sensor_temperature="room/t")
ENABLED, DISABLED = "nemo/tools/7/enabled", "nemo/tools/7/disabled"


def enabled(user: str, at: str | None, usage: int = 41, **more: object) -> bytes:
    """As its signal handler writes it."""
    said = {"event": "tool_enabled", "tool_id": 7, "tool_name": "LSM 980", "usage_id": usage, "user_name": user}
    return json.dumps(said | {"start_time": at} | more).encode()


def disabled(user: str, at: str | None, usage: int = 41) -> bytes:
    said = {"event": "tool_disabled", "tool_id": 7, "tool_name": "LSM 980", "usage_id": usage, "user_name": user}
    return json.dumps(said | {"end_time": at}).encode()


@pytest.fixture
def context(tmp_path: Path) -> ContextLog:
    return ContextLog(tmp_path / "context")


@pytest.fixture
def inbound(context: ContextLog) -> Inbound:
    return Inbound(SETTINGS, TOPICS, context)


def user(context: ContextLog, at_ns: int) -> tuple[object, float | None] | None:
    found = context.session(at_ns)
    return (found.user.value, found.confidence) if found and found.user else None


def test_it_listens_to_the_tool() -> None:
    assert SETTINGS.inbound == [ENABLED, DISABLED, "room/t"]


def test_who_enabled_the_tool_is_there_until_it_is_disabled(inbound: Inbound, context: ContextLog) -> None:
    inbound.take(ENABLED, enabled("Ada Lovelace", "2026-03-02T12:00:00+00:00"), NOON + S)
    inbound.take(DISABLED, disabled("Ada Lovelace", "2026-03-02T14:00:00+01:00"), NOON + 3600 * S)
    assert user(context, NOON - 1) is None
    assert user(context, NOON + 10 * S) == ("Ada Lovelace", 0.8)
    assert context.session(NOON + 10 * S).project is None
    assert user(context, NOON + 3600 * S) is None
    assert list(context.late({})) == []


def test_what_the_broker_kept_is_understood_in_any_order(inbound: Inbound, context: ContextLog) -> None:
    now = NOON + 7200 * S
    inbound.take(ENABLED, enabled("Bob", "2026-03-02T13:00:00Z", 42), now, retained=True)
    inbound.take(DISABLED, disabled("Ada", "2026-03-02T12:30:00Z"), now, retained=True)
    assert user(context, NOON + 1900 * S) is None
    assert user(context, now) == ("Bob", 0.8)
    assert [(late.since_ns, late.until_ns, late.by) for late in context.late({})] == [
        (NOON + 3600 * S, now, "session"),
        (NOON + 1800 * S, now, "session"),
    ]
    assert list(context.late({late.place[0]: late.place[1] for late in context.late({})})) == []


def test_the_same_again_is_noted_once(inbound: Inbound, context: ContextLog, tmp_path: Path) -> None:
    for second in range(5):
        inbound.take(ENABLED, enabled("Ada", "2026-03-02T12:00:00Z"), NOON + second * S)
    (path,) = (tmp_path / "context").iterdir()
    assert path.read_text().count("Ada") == 1


def test_a_session_that_nobody_ended_is_less_sure_after_half_a_day(inbound: Inbound, context: ContextLog) -> None:
    inbound.take(ENABLED, enabled("Ada", "2026-03-02T12:00:00Z"), NOON)
    assert user(context, NOON + 13 * 3600 * S) == ("Ada", 0.4)


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b"[]",
        enabled("Ada", "2026-03-02T12:00:00Z", tool_id=8),
        enabled("Ada", "2026-03-02T12:00:00Z", event="tool_saved"),
        enabled("  ", "2026-03-02T12:00:00Z"),
        enabled("Ada", "2026-03-02T12:00:00"),
        enabled("Ada", "noon"),
        enabled("Ada", "2026-03-02T12:00:00Z", user_name=7),
    ],
)
def test_what_is_none_is_one_line(
    inbound: Inbound, context: ContextLog, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        inbound.take(ENABLED, payload, NOON)
    assert len(caplog.records) == 1
    assert len(inbound.problems) == 1
    assert context.session(NOON + S) is None
    inbound.take(ENABLED, enabled("Ada", None), NOON)
    assert inbound.problems == []
    assert user(context, NOON + S) == ("Ada", 0.8)


def test_a_session_told_late_and_a_reading_with_a_time(inbound: Inbound, context: ContextLog) -> None:
    now = NOON + 7200 * S
    said = {"user": "ada", "project": None, "since": "2026-03-02T12:00:00Z", "until": "2026-03-02T13:00:00Z"}
    for retained in (False, True):
        inbound.take(TOPICS.session, json.dumps(said).encode(), now, retained)
    inbound.take("room/t", b'{"value": 20.5, "time": "2026-03-02T12:10:00Z"}', now, retained=True)
    inbound.take("room/t", b'{"value": 21.5, "time": "2026-03-02T12:10:30Z"}', now)
    assert user(context, NOON + S) == ("ada", 0.8)
    assert user(context, NOON + 3601 * S) is None
    assert context.environment(NOON + 700 * S)["Temperature"].captured.value == 20.5
    assert [late.by for late in context.late({})] == ["session", "sensor"]
    for bad in ({"since": "2026-03-09T12:00:00Z"}, {"until": "x"}, {"until": "2026-03-02T11:00:00Z"}):
        inbound.take(TOPICS.session, json.dumps({"user": "x"} | bad).encode(), now)
        assert len(inbound.problems) == 1
        inbound.take(TOPICS.session, b"null", now)
