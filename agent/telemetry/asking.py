"""Asks the running daemon for a replay, over the broker as anybody would, and listens for the answer."""

from __future__ import annotations

import json
import queue

from agent.contract.event import ReplayRequest
from agent.contract.topics import Topics
from agent.errors import Unreachable
from agent.telemetry.connection import build, explain
from agent.telemetry.settings import MqttSettings

_PATIENCE_S = 10.0
_QUIET_S = 2.0


class _Heard:
    """Sequence numbers of what arrives."""

    def __init__(self, own: str) -> None:
        self._own = own
        self.connected: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.numbers: queue.SimpleQueue[int] = queue.SimpleQueue()

    def on_connected(self) -> None:
        self.connected.put(None)

    def on_refused(self, reason: str, unsupported: bool) -> None:
        self.connected.put(reason)

    def on_unreachable(self, reason: str) -> None:
        self.connected.put(reason)

    def on_disconnected(self, reason: str) -> None:
        self.connected.put(reason)

    def on_acknowledged(self, mid: int, refusal: str | None) -> None:
        """Whether somebody heard is seen by the answer."""

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        if retained or topic == self._own or not payload:
            return
        said = json.loads(payload)
        if said.get("sequence"):
            self.numbers.put(said["sequence"])


def ask(settings: MqttSettings, topics: Topics, request: ReplayRequest) -> list[int]:
    """The sequence numbers that came, sorted. Unreachable when no daemon answers in ten seconds."""
    where = f"broker {settings.host}:{settings.port}"
    heard = _Heard(topics.replay_request)
    # Every broker knows 3.1.1, unless the facility says that only 5 is spoken.
    version = "5" if settings.protocol == "5" else "3.1.1"
    client = build(settings, "", None, version, heard, [f"{topics.root}/#"])
    try:
        client.connect(settings.host, settings.port, keepalive=settings.keepalive_s)
    except OSError as error:
        raise Unreachable(f"{where} cannot be reached: {explain(error)}") from error
    client.loop_start()
    try:
        refused = heard.connected.get(timeout=_PATIENCE_S)
        if refused:
            raise Unreachable(f"{where} refuses us: {refused}: run 'scope-agent check'")
        client.publish(topics.replay_request, request.model_dump_json(exclude_none=True).encode(), qos=1)
        return _collect(heard, request)
    except queue.Empty:
        raise Unreachable(
            f"{where}: nothing was sent again; does the daemon run, is there anything after {request.since}, "
            f"and may we read {topics.root}/#?"
        ) from None
    finally:
        client.disconnect()
        client.loop_stop()


def _collect(heard: _Heard, request: ReplayRequest) -> list[int]:
    """Until nothing came for a while. Raises queue.Empty when nothing comes at all."""
    found: set[int] = set()
    last = request.until
    while not found or last is None or max(found) < last:
        try:
            number = heard.numbers.get(timeout=_QUIET_S if found else _PATIENCE_S)
        except queue.Empty:
            if not found:
                raise
            break
        if number > request.since and (last is None or number <= last):
            found.add(number)
    return sorted(found)
