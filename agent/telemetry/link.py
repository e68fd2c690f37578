"""The connection to the broker: made, lost, made again, with the version of MQTT that the broker speaks."""

from __future__ import annotations

import logging
import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agent.clock import Clock, iso
from agent.contract.event import UNCOUNTED, Envelope, StatusData, event_id
from agent.contract.topics import Topics
from agent.telemetry.connection import TIMEOUT, Will, build, is_silence, wanted
from agent.telemetry.envelope import Message, encoded, source
from agent.telemetry.settings import MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 30.0
_NOT_YET = "not connected yet"

Kind = Literal[
    "wake",
    "progress",
    "connected",
    "refused",
    "unsupported",
    "unreachable",
    "disconnected",
    "acknowledged",
    "denied",
    "heard",
]


@dataclass(frozen=True, slots=True)
class Told:
    """Something that paho's thread or another stage told us."""

    kind: Kind
    client: int = 0
    """Which connection told it: what an abandoned one still says is not for us."""
    text: str = ""
    number: int = 0
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class _Ear:
    """Listener of one connection: puts what paho's thread says into the publisher's queue."""

    told: queue.SimpleQueue[Told]
    client: int

    def on_connected(self) -> None:
        self.told.put(Told("connected", self.client))

    def on_refused(self, reason: str, unsupported: bool) -> None:
        self.told.put(Told("unsupported" if unsupported else "refused", self.client, reason))

    def on_unreachable(self, reason: str) -> None:
        self.told.put(Told("unreachable", self.client, reason))

    def on_disconnected(self, reason: str) -> None:
        self.told.put(Told("disconnected", self.client, reason))

    def on_acknowledged(self, mid: int, refusal: str | None) -> None:
        self.told.put(Told("denied" if refusal else "acknowledged", self.client, refusal or "", mid))

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        self.told.put(Told("heard", self.client, topic, retained, payload))


class Link:
    """Owned by the publisher's thread; `told` may be fed from anywhere."""

    def __init__(
        self, settings: MqttSettings, topics: Topics, clock: Clock, subscribe: list[str], epoch: str | None = None
    ) -> None:
        self._settings, self._topics, self._clock = settings, topics, clock
        self._subscribe, self._epoch = subscribe, epoch
        self.told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._versions: list[str] = ["5", "3.1.1"] if settings.protocol == "auto" else [settings.protocol]
        self._settled = settings.protocol != "auto"
        self._client: Client | None = None
        self._number = 0
        self._tries = 0
        self._due: float | None = None
        self.connected = False
        self.problem: str | None = _NOT_YET

    def concerns(self, told: Told) -> bool:
        """False for what an abandoned connection still says."""
        return told.client in (0, self._number)

    def open(self) -> None:
        """Begin to connect, with nothing on the way. Misconfigured for files that cannot be used."""
        self.close()
        self._number += 1
        self._due = None
        ear = _Ear(self.told, self._number)
        name = f"scope-agent-{self._topics.site}-{self._topics.instrument}"
        client = build(self._settings, name, self._will(), self._versions[0], ear, self._subscribe)
        client.connect_async(self._settings.host, self._settings.port, keepalive=self._settings.keepalive_s)
        client.loop_start()
        self._client = client

    def close(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None
        self.connected = False

    def send(self, message: Message) -> int:
        """Hand a message to paho; returns the id that its acknowledgement will carry."""
        assert self._client is not None
        return self._client.publish(message.topic, message.payload, qos=1, retain=message.retain).mid

    def send_progress(self, body: bytes) -> None:
        """QoS 0, if the broker is there."""
        if self.connected and self._client is not None:
            self._client.publish(self._topics.progress, body, qos=0)

    def on_connected(self) -> None:
        self.connected, self.problem, self._settled, self._tries = True, None, True, 0
        log.info("connected to the broker", extra={"action": "mqtt.connected"})

    def on_lost(self, told: Told) -> None:
        """Say why, once. Where the version of MQTT is not known yet, the other one is tried soon."""
        # After a refusal the connection is closed, which says no more.
        news = told.kind != "disconnected" or self.connected or self.problem in (None, _NOT_YET)
        was_connected, self.connected = self.connected, False
        where = f"broker {self._settings.host}:{self._settings.port}"
        problem = f"{where}{self._said(told, was_connected)}" if news else self.problem
        if self._settled or not self._may_be_older(told):
            if problem != self.problem:
                log.warning("%s; events are kept", problem, extra={"action": f"mqtt.{told.kind}"})
            self.problem = problem
        if not self._settled and self._due is None and told.kind != "unreachable":
            # An older broker says that it does not know version 5, or just closes the connection.
            pause = 0.0 if self._tries == 0 else min(2.0 ** (self._tries - 1), _LONGEST_PAUSE_S)
            self._due = self._clock.monotonic() + pause

    def _may_be_older(self, told: Told) -> bool:
        """Only the version of MQTT may be wrong: an older broker says so, or closes the connection without a word."""
        closed = told.kind == "disconnected" and is_silence(told.text) and told.text != TIMEOUT
        return self._tries == 0 and (told.kind == "unsupported" or closed)

    def _said(self, told: Told, was_connected: bool) -> str:
        if is_silence(told.text):
            if was_connected:
                return f": the connection was lost ({told.text})"
            return f" gives no answer ({told.text}): {wanted(self._settings)}"
        hint = ": check mqtt.user and the password" if "uthori" in told.text or "password" in told.text else ""
        return f": {told.text}{hint}"

    def retry(self) -> bool:
        """Try the other version when it is time. True when a new connection was begun."""
        if self._due is None or self._clock.monotonic() < self._due:
            return False
        self._versions.reverse()
        self._tries += 1
        self.open()
        return True

    def _will(self) -> Will:
        now = self._clock.now_ns()
        envelope = Envelope(
            id=event_id("will", self._topics.root, str(now)),
            source=source(self._topics),
            type="org.scope-agent.status.v1",
            subject="status",
            time=iso(now),
            sequence=UNCOUNTED,
            epoch=self._epoch,
            data=StatusData(state="offline").model_dump(exclude_none=True),
        )
        return Will(self._topics.status, encoded(envelope))
