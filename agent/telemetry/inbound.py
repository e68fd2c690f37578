"""What others tell us over MQTT: room sensors and who is at the instrument."""

from __future__ import annotations

import json
import logging
from typing import Any

from agent.contract.topics import Topics
from agent.sources.context import ROLES, ContextLog
from agent.telemetry.settings import MqttSettings

log = logging.getLogger(__name__)

_LARGEST = 4096
_SURE = 0.8
"""Confidence of a session that a booking system or a dashboard tells."""
_EVERY_NS = 10 * 1_000_000_000
"""A sensor that speaks more often is not written more often."""


class Inbound:
    """Owned by the publisher's thread."""

    def __init__(self, settings: MqttSettings, topics: Topics, context: ContextLog) -> None:
        wanted = {
            "Temperature": settings.sensor_temperature,
            "Humidity": settings.sensor_humidity,
            "CO2Percent": settings.sensor_carbon_dioxide,
        }
        self._sensors = {topic: name for name, topic in wanted.items() if topic}
        self._session = topics.session
        self._context = context
        self._noted: dict[str, int] = {}
        self._bad: set[str] = set()

    @property
    def topics(self) -> list[str]:
        """What to subscribe to."""
        return [self._session, *self._sensors]

    def take(self, topic: str, payload: bytes, now_ns: int, retained: bool = False) -> None:
        """Keep what a message says; what is not understood is logged once a topic and left alone."""
        try:
            if len(payload) > _LARGEST:
                raise ValueError("too large")
            said = json.loads(payload)
            if topic == self._session:
                self._context.note_session(now_ns, _session(said), _SURE)
            elif topic in self._sensors and not retained:  # how old a retained reading is, nobody knows
                self._sensor(self._sensors[topic], said, now_ns)
        except (ValueError, RecursionError) as error:
            if topic not in self._bad:
                log.warning("%s: not understood: %s", topic, error, extra={"action": "inbound.bad"})
            self._bad.add(topic)
        except OSError as error:
            log.warning("%s cannot be kept: %s", topic, error, extra={"action": "inbound.disk"})
        else:
            self._bad.discard(topic)

    def _sensor(self, name: str, said: Any, now_ns: int) -> None:
        value = said.get("value") if isinstance(said, dict) else said
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError('the payload is no number, and no {"value": number}')
        # A clock that was set back must not silence a sensor.
        if not 0 <= now_ns - self._noted.get(name, -_EVERY_NS) < _EVERY_NS:
            self._context.note_sensor(name, float(value), now_ns)
            self._noted[name] = now_ns


def _session(said: Any) -> dict[str, str]:
    """Roles of a session; {} or null ends it."""
    if said is None:
        return {}
    if not isinstance(said, dict) or not all(isinstance(said.get(role, ""), str) for role in ROLES):
        raise ValueError('a session is {"user": text, "project": text, "sample": text}, or null when it ends')
    return {role: said[role] for role in ROLES if role in said}
