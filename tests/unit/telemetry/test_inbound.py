"""Room sensors and sessions arrive, are kept, and are found again by time; nonsense is one line in the log."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from paho.mqtt import publish

from agent.contract.topics import Topics
from agent.outbox import Outbox
from agent.sources.context import ContextLog
from agent.telemetry.inbound import Inbound
from agent.telemetry.publisher import Publisher
from agent.telemetry.settings import MqttSettings
from tests.conftest import Broker
from tests.unit.telemetry.test_publisher import TOPICS, running_publisher, until

S = 1_000_000_000
NOON = 1_772_452_800 * S  # 2026-03-02T12:00:00Z
SETTINGS = MqttSettings(host="h", sensor_temperature="room/t", sensor_humidity="room/h", sensor_carbon_dioxide="room/c")


@pytest.fixture
def context(tmp_path: Path) -> ContextLog:
    return ContextLog(tmp_path / "context")


@pytest.fixture
def inbound(context: ContextLog) -> Inbound:
    return Inbound(SETTINGS, TOPICS, context)


def test_readings_are_found_by_time_with_their_age(inbound: Inbound, context: ContextLog) -> None:
    inbound.take("room/t", b"21.5", NOON)
    inbound.take("room/t", b'{"value": 22}', NOON + 60 * S)
    inbound.take("room/h", b"40", NOON)
    inbound.take("room/c", b"5", NOON, retained=True)
    assert context.environment(NOON - 1) == {}
    found = context.environment(NOON + 90 * S)
    temperature = found["Temperature"]
    assert (temperature.captured.value, temperature.captured.unit, temperature.age_s) == (22, "degC", 30)
    assert temperature.captured.taken_at == "2026-03-02T12:01:00.000000Z"
    assert found["Humidity"].age_s == 90
    assert "CO2Percent" not in found, "nobody knows how old a retained reading is"
    assert context.environment(NOON + 7200 * S) == {}, "too old"


def test_a_sensor_that_chatters_is_kept_every_ten_seconds_and_a_jump_of_the_clock_silences_none(
    inbound: Inbound, context: ContextLog
) -> None:
    for second in range(25):
        inbound.take("room/t", str(second).encode(), NOON + second * S)
    assert context.environment(NOON + 30 * S)["Temperature"].captured.value == 20
    inbound.take("room/t", b"5", NOON - 86_400 * S)
    assert context.environment(NOON - 86_400 * S)["Temperature"].captured.value == 5


@pytest.mark.parametrize(
    "payload",
    [b"", b"warm", b"NaN", b"Infinity", b"1e9", b"true", b"null", b'{"value": "x"}', b"[1]", b"\xff", b"9" * 9999],
)
def test_what_is_no_number_is_one_line(
    inbound: Inbound, context: ContextLog, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        inbound.take("room/t", payload, NOON)
    assert len(caplog.records) == 1
    assert "room/t: not understood" in caplog.text
    assert context.environment(NOON) == {}


def test_sessions_begin_and_end(inbound: Inbound, context: ContextLog) -> None:
    inbound.take(TOPICS.session, b'{"user": "ada", "sample": "s1", "other": 1}', NOON)
    context.note_session(NOON + 60 * S, {"user": "bob", "project": "p"}, 0.9)
    inbound.take(TOPICS.session, b"null", NOON + 120 * S)
    assert context.session(NOON - 1) is None
    first, second = context.session(NOON + 1), context.session(NOON + 61 * S)
    assert (first.user.value, first.project, first.sample.value, first.confidence) == ("ada", None, "s1", 0.8)
    assert (second.user.value, second.user.source, second.confidence) == ("bob", "session", 0.9)
    assert context.session(NOON + 121 * S) is None


def test_a_session_may_say_that_its_runs_are_calibrations(
    inbound: Inbound, context: ContextLog, caplog: pytest.LogCaptureFixture
) -> None:
    inbound.take(TOPICS.session, b'{"user": "ada", "calibration": "Pixel size"}', NOON)
    table = b'{"user": "ada", "calibration": {"kind": "stage", "series": "return", "bead_um": 0.1}}'
    inbound.take(TOPICS.session, table, NOON + 10 * S)
    inbound.take(TOPICS.session, b'{"user": "ada"}', NOON + 20 * S)
    inbound.take(TOPICS.session, b'{"calibration": "tea"}', NOON + 30 * S)
    assert context.marks(NOON + S) == {"calibration": "pixel-size"}
    said = {"calibration": "stage", "calibration_series": "return", "calibration_bead_um": "0.1"}
    assert context.marks(NOON + 11 * S) == said
    assert context.marks(NOON + 40 * S) == {}
    assert "'tea' is none of detector" in caplog.text


def test_a_line_that_a_crash_left_open_spoils_no_other(context: ContextLog, tmp_path: Path) -> None:
    context.note_sensor("Humidity", 40, NOON)
    (path,) = (tmp_path / "context").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"at": 177')
    context.note_sensor("Humidity", 41, NOON + S)
    assert context.environment(NOON + S)["Humidity"].captured.value == 41


def test_names_that_no_document_takes_are_made_legible(inbound: Inbound, context: ContextLog, tmp_path: Path) -> None:
    said = b'{"user": " a\\u0000b\\nc\\ud800 ", "project": "\\u0007", "sample": "Zo\xc3\xab \xf0\x9f\x94\xac"}'
    inbound.take(TOPICS.session, said, NOON)
    session = context.session(NOON + S)
    assert (session.user.value, session.project, session.sample.value) == ("a b c", None, "Zoë 🔬")
    (path,) = (tmp_path / "context").glob("sessions-*.jsonl")
    path.write_bytes(b'{"at": %d, "session": {"user": "\\ud800x"}, "confidence": 0.8}\n' % NOON)
    assert context.session(NOON + S).model_dump_json()


@pytest.mark.parametrize("never", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z"])
def test_a_clock_that_was_never_set_is_one_line(
    inbound: Inbound, context: ContextLog, never: str, caplog: pytest.LogCaptureFixture
) -> None:
    inbound.take("room/t", f'{{"value": 21, "time": "{never}"}}'.encode(), NOON)
    inbound.take(TOPICS.session, f'{{"user": "ada", "since": "{never}"}}'.encode(), NOON)
    assert len(caplog.records) == 2
    assert "is before 1970: set the clock" in caplog.text
    assert list(context.late({})) == []


def test_a_time_that_no_database_holds_is_passed_over(context: ContextLog, tmp_path: Path) -> None:
    context.note_sensor("Humidity", 40, NOON - 60 * S, NOON)
    (path,) = (tmp_path / "context").glob("late-*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"at": -62135596800000000000, "sensor": "Humidity", "value": 1.0, "noted": 1}\n')
    assert [late.since_ns for late in context.late({})] == [NOON - 60 * S]


def test_over_a_real_broker(broker: Broker, context: ContextLog, tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.sqlite")
    settings = MqttSettings(host="127.0.0.1", port=broker.port, sensor_temperature="room/t")
    with running_publisher(Publisher(settings, TOPICS, outbox, context=context)) as publisher:
        until(lambda: publisher.problem is None)
        publish.single("room/t", "19.5", qos=1, retain=True, port=broker.port)
        publish.single(TOPICS.session, '{"user": "ada"}', qos=1, port=broker.port)
        until(lambda: context.session(time.time_ns()) and context.environment(time.time_ns()))
    assert context.environment(time.time_ns())["Temperature"].captured.value == 19.5
    outbox.close()


@pytest.mark.parametrize("topic", ["a/#", "+/t", "", "a\x00b", "a\nb"])
def test_a_topic_that_is_none_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="is no MQTT topic"):
        MqttSettings(host="h", sensor_carbon_dioxide=topic)


@pytest.mark.parametrize("name", ["a/#", "+", "a b", "a\x00", "a\n", "", "a/b"])
def test_names_with_wildcards_or_control_characters_are_refused(name: str) -> None:
    from agent.errors import Misconfigured

    with pytest.raises(Misconfigured):
        Topics("lab", name)
