"""What sensors and sessions say right now, for `check`: understood as by the daemon, and kept nowhere."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.contract.topics import Topics
from agent.sources.context import ContextLog
from agent.telemetry.connection import build
from agent.telemetry.inbound import Inbound
from agent.telemetry.settings import MqttSettings


class _Nowhere(ContextLog):
    """Checks what it is told, and forgets it."""

    def _append(self, name: str, line: dict[str, Any]) -> None:
        """Nothing is written."""


class _Ear:
    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[tuple[str, bytes, bool]] = queue.SimpleQueue()

    def on_connected(self) -> None:
        """What was said before comes by itself."""

    def on_refused(self, reason: str, unsupported: bool) -> None:
        """The check of the connection says so."""

    def on_unreachable(self, reason: str) -> None:
        """Neither."""

    def on_disconnected(self, reason: str) -> None:
        """Neither."""

    def on_acknowledged(self, mid: int, refusal: str | None) -> None:
        """Nothing is sent."""

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        self.heard.put((topic, payload, retained))


def overhear(settings: MqttSettings, topics: Topics, seconds: float = 2.0) -> tuple[set[str], list[str]]:
    """(topics that were heard, one line for each that was not understood); a broker that is away says nothing."""
    clock = SystemClock()
    inbound, ear, heard = Inbound(settings, topics, _Nowhere(Path())), _Ear(), set[str]()
    client = build(settings, "", None, "5" if settings.protocol == "5" else "3.1.1", ear, inbound.topics)
    try:
        client.connect(settings.host, settings.port, keepalive=settings.keepalive_s)
    except OSError:
        return heard, []
    client.loop_start()
    deadline = clock.monotonic() + seconds
    try:
        while (left := deadline - clock.monotonic()) > 0:
            topic, payload, retained = ear.heard.get(timeout=left)
            heard.add(topic)
            inbound.take(topic, payload, clock.now_ns(), retained)
    except queue.Empty:
        pass
    finally:
        client.disconnect()
        client.loop_stop()
    return heard, inbound.problems
