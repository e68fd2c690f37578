"""An independent subscriber, as a dashboard would be: bare paho, every event below a prefix."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from types import TracebackType
from typing import Any

from agent.errors import Unreachable


class Subscriber:
    """`with Subscriber(host, port, prefix) as events:` keeps every lifecycle event by acquisition, once."""

    def __init__(self, host: str, port: int, prefix: str) -> None:
        from paho.mqtt import client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        self._at = (host, port)
        self._filter = f"{prefix}/#"
        self._changed = threading.Condition()
        self._events: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self._client.on_connect = lambda client, *_: client.subscribe(self._filter, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._take(message.topic, bytes(message.payload))

    def __enter__(self) -> Subscriber:
        try:
            self._client.connect(*self._at)
        except OSError as error:
            raise Unreachable(f"the broker {self._at[0]}:{self._at[1]} cannot be reached: {error}") from error
        self._client.loop_start()
        if not self._subscribed.wait(10):
            raise Unreachable(f"the broker {self._at[0]}:{self._at[1]} does not confirm the subscription")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def acquisitions(self) -> dict[str, dict[str, dict[str, Any]]]:
        """`{acquisition id: {event: envelope}}` in the order of arrival."""
        with self._changed:
            return {key: dict(events) for key, events in self._events.items()}

    def wait(self, seconds: float) -> None:
        """Until something new arrives, or time is up."""
        with self._changed:
            self._changed.wait(seconds)

    def _take(self, topic: str, payload: bytes) -> None:
        levels = topic.split("/")
        if levels[-2:-1] != ["acquisition"] or levels[-1] == "current" or not payload:
            return
        envelope = json.loads(payload)
        with self._changed:
            self._events[envelope["subject"]].setdefault(levels[-1], envelope)
            self._changed.notify_all()
