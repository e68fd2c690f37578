"""Can we connect to the broker? For `check`: one connection, closed again."""

from __future__ import annotations

import queue

from agent.errors import Misconfigured, Unreachable
from agent.telemetry.connection import Will, build
from agent.telemetry.settings import MqttSettings


class _Answer:
    """Takes the first thing that the broker says."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def on_connected(self) -> None:
        self.said.put(None)

    def on_refused(self, reason: str, unsupported: bool) -> None:
        self.said.put(reason)

    def on_disconnected(self, reason: str) -> None:
        self.said.put(reason)

    def on_acknowledged(self, mid: int) -> None:
        """Nothing is published here."""


def probe(settings: MqttSettings, seconds: float = 5) -> None:
    """Return when the broker accepts us; Unreachable or Misconfigured in one line otherwise."""
    where = f"broker {settings.host}:{settings.port}"
    versions = ["5", "3.1.1"] if settings.protocol == "auto" else [settings.protocol]
    reason: str | None = "no answer"
    for version in versions:
        reason = _connect(settings, version, where, seconds)
        if reason is None:
            return
    if "uthoriz" in (reason or "") or "password" in (reason or ""):
        raise Misconfigured(f"{where} refuses us ({reason}): check mqtt.user and the password")
    raise Unreachable(f"{where} refuses us: {reason}")


def _connect(settings: MqttSettings, version: str, where: str, seconds: float) -> str | None:
    answer = _Answer()
    client = build(settings, "", Will("scope-agent/probe", b""), version, answer)
    try:
        client.connect(settings.host, settings.port, keepalive=settings.keepalive_s)
    except OSError as error:
        raise Unreachable(f"{where} cannot be reached: {error}") from error
    client.loop_start()
    try:
        return answer.said.get(timeout=seconds)
    except queue.Empty:
        return "no answer"
    finally:
        client.disconnect()
        client.loop_stop()
