"""Event outbox -> MQTT. An event leaves the outbox only when the broker acknowledged it.

outbox --announce--> wake --> publish (QoS 1, in order, at most WINDOW on the way) --PUBACK--> published
after each connect: the retained topics anew, then what is unpublished
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.clock import Clock, SystemClock, iso
from agent.contract.event import Envelope, StatusData, event_id
from agent.contract.topics import Topics
from agent.outbox import Outbox
from agent.telemetry.connection import WINDOW, Will, build
from agent.telemetry.envelope import payload, source
from agent.telemetry.settings import MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Told:
    """Something that paho's thread or another stage told us."""

    kind: str
    client: int = 0
    """Which connection told it: what an abandoned one still says is not for us."""
    text: str = ""
    number: int = 0
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class _Ear:
    """Listener of one connection: puts what paho's thread says into the publisher's queue."""

    told: queue.SimpleQueue[_Told]
    client: int

    def on_connected(self) -> None:
        self.told.put(_Told("connected", self.client))

    def on_refused(self, reason: str, unsupported: bool) -> None:
        self.told.put(_Told("unsupported" if unsupported else "refused", self.client, reason))

    def on_disconnected(self, reason: str) -> None:
        self.told.put(_Told("disconnected", self.client, reason))

    def on_acknowledged(self, mid: int) -> None:
        self.told.put(_Told("acknowledged", self.client, number=mid))


class Publisher:
    """`run` is called by one thread of its owner; everything else may be called from any thread."""

    def __init__(self, settings: MqttSettings, topics: Topics, outbox: Outbox, clock: Clock | None = None) -> None:
        self._settings = settings
        self._topics = topics
        self._outbox = outbox
        self._clock = clock or SystemClock()
        self._told: queue.SimpleQueue[_Told] = queue.SimpleQueue()
        self._versions: list[str] = ["5", "3.1.1"] if settings.protocol == "auto" else [settings.protocol]
        self._on_the_way: dict[int, int] = {}
        self._after = 0
        self._connected = False
        self._client = 0
        self._settled = settings.protocol != "auto"
        self._problem: str | None = "not connected yet"

    @property
    def problem(self) -> str | None:
        """Why nothing can be published now; None when connected."""
        return self._problem

    def wake(self) -> None:
        """There may be new events in the outbox."""
        self._told.put(_Told("wake"))

    def progress(self, body: bytes) -> None:
        """Publish progress (QoS 0) if the broker is there; it is not kept."""
        self._told.put(_Told("progress", body=body))

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop`, then drain for at most two seconds and disconnect."""
        client = self._connect()
        try:
            while not stop.is_set():
                client = self._step(client, 0.5)
            deadline = self._clock.monotonic() + 2
            while self._busy() and self._clock.monotonic() < deadline:
                client = self._step(client, 0.05)
        finally:
            client.disconnect()
            client.loop_stop()

    # Inside, all on the owner's thread

    def _busy(self) -> bool:
        return self._connected and (bool(self._on_the_way) or bool(self._outbox.unpublished(self._after, 1)))

    def _step(self, client: Client, patience: float) -> Client:
        """Handle all that was told, then publish what fits."""
        acknowledged: list[int] = []
        try:
            told = self._told.get(timeout=patience)
            while True:
                client = self._handle(client, told, acknowledged)
                told = self._told.get_nowait()
        except queue.Empty:
            pass
        if acknowledged:
            self._outbox.published(acknowledged, self._clock.now_ns())
        if self._connected:
            self._publish(client)
        return client

    def _handle(self, client: Client, told: _Told, acknowledged: list[int]) -> Client:
        if told.client not in (0, self._client):
            return client
        match told.kind:
            case "connected":
                self._connected, self._problem, self._settled = True, None, True
                log.info("connected to the broker", extra={"action": "mqtt.connected"})
                self._publish_retained(client)
            case "acknowledged":
                sequence = self._on_the_way.pop(told.number, None)
                if sequence is not None:
                    acknowledged.append(sequence)
            case "progress":
                if self._connected:
                    client.publish(self._topics.progress, told.body, qos=0)
            case "disconnected" | "refused" | "unsupported":
                client = self._lost(client, told)
        return client

    def _lost(self, client: Client, told: _Told) -> Client:
        self._connected = False
        problem = f"broker {self._settings.host}:{self._settings.port}: {told.text}"
        if problem != self._problem and (self._settled or told.kind != "unsupported"):
            log.warning("%s; events are kept", problem, extra={"action": f"mqtt.{told.kind}"})
        self._problem = problem
        if self._settled:
            return client
        # An older broker says that it does not know version 5, or just closes the connection: try the other.
        self._versions.reverse()
        client.disconnect()
        client.loop_stop()
        return self._connect()

    def _connect(self) -> Client:
        # What paho still held is forgotten with the old client; the outbox sends it again.
        self._on_the_way.clear()
        self._after = 0
        self._client += 1
        ear = _Ear(self._told, self._client)
        client = build(self._settings, self._client_id(), self._will(), self._versions[0], ear)
        client.connect_async(self._settings.host, self._settings.port, keepalive=self._settings.keepalive_s)
        client.loop_start()
        return client

    def _client_id(self) -> str:
        return f"scope-agent-{self._topics.site}-{self._topics.instrument}"

    def _will(self) -> Will:
        now = self._clock.now_ns()
        envelope = Envelope(
            id=event_id("will", self._topics.root, str(now)),
            source=source(self._topics),
            type="org.scope-agent.status.v1",
            subject="status",
            time=iso(now),
            sequence=max(1, self._outbox.last_sequence()),
            data=StatusData(state="offline").model_dump(exclude_none=True),
        )
        return Will(self._topics.status, envelope.model_dump_json().encode())

    def _publish_retained(self, client: Client) -> None:
        for row in self._outbox.retained():
            if row.published_ns is not None:
                client.publish(row.topic, payload(row, self._topics), qos=1, retain=True)

    def _publish(self, client: Client) -> None:
        room = WINDOW - len(self._on_the_way)
        if room <= 0:
            return
        for row in self._outbox.unpublished(self._after, room):
            info = client.publish(row.topic, payload(row, self._topics), qos=1, retain=row.retained)
            self._on_the_way[info.mid] = row.sequence
            self._after = row.sequence
