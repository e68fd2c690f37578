"""What others tell us over MQTT: room sensors and who is at the instrument."""

from __future__ import annotations

import json
import logging
from typing import Any

from agent.calibration import KINDS, CalibrationSettings
from agent.contract.topics import Topics
from agent.sources.context import ROLES, ContextLog
from agent.telemetry import nemo
from agent.telemetry.settings import MqttSettings

log = logging.getLogger(__name__)

_LARGEST = 4096
_SURE = 0.8
"""Confidence of a session that a booking system or a dashboard tells."""
_EVERY_NS = 10 * 1_000_000_000
"""A sensor that speaks more often is not written more often."""
_LATE_NS = 60 * 1_000_000_000
"""So much may a clock be ahead of ours, and a reading be late before it is written less often."""


class Inbound:
    """Owned by the publisher's thread; `problems` from any."""

    def __init__(self, settings: MqttSettings, topics: Topics, context: ContextLog) -> None:
        wanted = {
            "Temperature": settings.sensor_temperature,
            "Humidity": settings.sensor_humidity,
            "CO2Percent": settings.sensor_carbon_dioxide,
        }
        self._sensors = {topic: name for name, topic in wanted.items() if topic}
        self._session = topics.session
        self._tool = settings.nemo_tool
        self._usage = nemo.topics(self._tool, settings.nemo_prefix) if self._tool is not None else ()
        self._context = context
        self._noted: dict[str, int] = {}
        self._last: object = None
        self._usages: dict[str, nemo.Usage] = {}
        self._bad: dict[str, str] = {}

    @property
    def topics(self) -> list[str]:
        """What to subscribe to."""
        return [self._session, *self._usage, *self._sensors]

    @property
    def problems(self) -> list[str]:
        """What was not understood last, one line a topic."""
        return list(self._bad.values())

    def take(self, topic: str, payload: bytes, now_ns: int, retained: bool = False) -> None:
        """Keep what a message says; what is not understood is logged once a topic and left alone."""
        if not payload and retained:
            return
        try:
            if len(payload) > _LARGEST:
                raise ValueError("too large")
            self._take(topic, json.loads(payload), now_ns, retained)
        except (ValueError, RecursionError) as error:
            self._trouble(topic, f"{topic}: not understood: {error}", "inbound.bad")
        except OSError as error:
            self._trouble(topic, f"{topic} cannot be kept: {error}", "inbound.disk")
        else:
            self._bad.pop(topic, None)

    def _take(self, topic: str, said: Any, now_ns: int, retained: bool) -> None:
        if topic == self._session:
            self._hear_session(said, now_ns)
        elif topic in self._usage and self._tool is not None:
            self._hear_usage(topic, nemo.read(said, self._tool), now_ns)
        elif topic in self._sensors:
            self._hear_sensor(self._sensors[topic], said, now_ns, retained)

    def _trouble(self, topic: str, text: str, action: str) -> None:
        if topic not in self._bad:
            log.warning("%s", text, extra={"action": action})
        self._bad[topic] = text

    def _hear_sensor(self, name: str, said: Any, now_ns: int, retained: bool) -> None:
        value, at = (said.get("value"), said.get("time")) if isinstance(said, dict) else (said, None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError('the payload is no number, and no {"value": number}')
        if retained and at is None:
            return  # how old it is, nobody knows
        at_ns = _past(at, now_ns) if at is not None else now_ns
        pause = _EVERY_NS if now_ns - at_ns < _LATE_NS else _LATE_NS
        # A clock that was set back must not silence a sensor.
        if not 0 <= at_ns - self._noted.get(name, -pause) < pause:
            self._context.note_sensor(name, float(value), at_ns, now_ns)
            self._noted[name] = at_ns

    def _hear_session(self, said: Any, now_ns: int) -> None:
        if said is None:
            self._context.note_session(now_ns, {}, _SURE)
            return
        if not isinstance(said, dict) or not all(isinstance(said.get(role) or "", str) for role in ROLES):
            raise ValueError('a session is {"user": text, "project": text, "sample": text}, or null when it ends')
        if said.get("since") and said == self._last:
            return  # the broker kept it
        self._last = said
        people = {role: said[role] for role in ROLES if said.get(role)}
        since = _past(said["since"], now_ns) if said.get("since") else now_ns
        until = nemo.time_ns(said["until"]) if said.get("until") else None
        if until is not None and until <= since:
            raise ValueError("the session ends before it begins")
        self._context.note_session(since, people, _SURE, now_ns, until, _marks(said.get("calibration")))

    def _hear_usage(self, topic: str, usage: nemo.Usage, now_ns: int) -> None:
        if usage == self._usages.get(topic):
            return  # NEMO tells it again whenever somebody touches the entry
        self._usages[topic] = usage
        at = min(usage.at_ns, now_ns) if usage.at_ns is not None else now_ns
        self._context.note_session(at, {"user": usage.user}, nemo.SURE, now_ns)


def _marks(said: object) -> dict[str, str]:
    """What `calibration` of a session says of its runs: a kind, or a table with `kind` and what the analysis needs."""
    if not said:
        return {}
    table = said if isinstance(said, dict) else {"kind": said}
    kind = CalibrationSettings().kind_named(str(table.get("kind")))
    if kind is None:
        raise ValueError(f"calibration {table.get('kind')!r} is none of {', '.join(KINDS)}")
    more = {f"calibration_{key}": str(value) for key, value in table.items() if key != "kind"}
    return {"calibration": kind, **more}


def _past(text: object, now_ns: int) -> int:
    """A time that was; clocks may differ by a minute."""
    at = nemo.time_ns(text)
    if at > now_ns + _LATE_NS:
        raise ValueError(f"{text!r} is in the future: check the clocks")
    return min(at, now_ns)
