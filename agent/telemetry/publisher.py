"""Event outbox -> MQTT. An event counts as published only when the broker acknowledged it, and is kept even then.

outbox --announce--> wake --> publish (QoS 1, in order, at most WINDOW on the way) --PUBACK--> published
after each connect: the retained topics anew, then what is unpublished
request/replay: what was published before, once more (an acknowledged event is not a durable one)
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque

from agent.clock import Clock, SystemClock
from agent.contract.topics import Topics
from agent.outbox import EventRow, Outbox
from agent.sources.context import ContextLog
from agent.telemetry.connection import WINDOW
from agent.telemetry.envelope import epoch_of, messages, replayed, state_again
from agent.telemetry.inbound import Inbound
from agent.telemetry.link import Link, Told
from agent.telemetry.replay import Replay
from agent.telemetry.settings import MqttSettings

log = logging.getLogger(__name__)

_AHEAD = 1000
"""Events read from the outbox at once."""
_BATCH = 500
_BATCH_S = 0.1
"""Acknowledgements are written together: a transaction for each would be slower than the broker."""
_DENIED_S = 60.0
_PRUNE_S = 60.0
_DAY_NS = 86_400 * 1_000_000_000
_REPLAYED = 0
"""Stands for the sequence number of what needs no note that it was acknowledged."""


class Publisher:
    """`run` is called by one thread of its owner; everything else may be called from any thread."""

    def __init__(
        self,
        settings: MqttSettings,
        topics: Topics,
        outbox: Outbox,
        clock: Clock | None = None,
        context: ContextLog | None = None,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._outbox = outbox
        self._clock = clock or SystemClock()
        self._inbound = Inbound(settings, topics, context) if context else None
        heard = [topics.replay_request, *(self._inbound.topics if self._inbound else [])]
        self._epoch = epoch_of(outbox, self._clock)
        self._link = Link(settings, topics, self._clock, heard, self._epoch)
        self._replay = Replay(outbox)
        self._on_the_way: dict[int, int] = {}
        self._ahead: deque[EventRow] = deque()
        self._after = 0
        self._acknowledged: list[int] = []
        self._written_at = 0.0
        self._denied: str | None = None
        self._again_at = 0.0
        self._prune_at = 0.0

    @property
    def problem(self) -> str | None:
        """Why nothing can be published now; None when all is well."""
        return self._link.problem or self._denied

    @property
    def troubles(self) -> list[str]:
        """What is wrong though the broker is there, one line each: what it refuses, what sensors and sessions say."""
        heard = self._inbound.problems if self._inbound else []
        return [*([self._denied] if self._denied else []), *heard]

    def wake(self) -> None:
        """There may be new events in the outbox."""
        self._link.told.put(Told("wake"))

    def progress(self, body: bytes) -> None:
        """Publish progress (QoS 0) if the broker is there; it is not kept."""
        self._link.told.put(Told("progress", body=body))

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop`, then drain for at most two seconds and disconnect."""
        self._begin()
        try:
            while not stop.is_set():
                self._step(0.5)
                self._prune()
            deadline = self._clock.monotonic() + 2
            while self._busy() and self._clock.monotonic() < deadline:
                self._step(0.05)
        finally:
            self._link.close()
            self._write()

    # Inside, all on the owner's thread

    def _begin(self) -> None:
        self._forget_the_way()
        self._link.open()

    def _forget_the_way(self) -> None:
        """What paho still held is gone with the old client; the outbox sends it again."""
        self._write()
        self._on_the_way.clear()
        self._ahead.clear()
        self._after = 0

    def _busy(self) -> bool:
        if not self._link.connected:
            return False
        return bool(self._on_the_way or self._ahead or self._outbox.unpublished(self._after, 1))

    def _step(self, patience: float) -> None:
        """Handle all that was told, then publish what fits."""
        if self._acknowledged or self._replay.busy:
            patience = min(patience, 0.05)
        try:
            self._handle(self._link.told.get(timeout=patience))
            while True:
                self._handle(self._link.told.get_nowait())
        except queue.Empty:
            pass
        now = self._clock.monotonic()
        if len(self._acknowledged) >= _BATCH or now - self._written_at > _BATCH_S:
            self._write()
        if self._link.retry():
            self._forget_the_way()
        if self._link.connected:
            self._publish(now)

    def _handle(self, told: Told) -> None:
        if not self._link.concerns(told):
            return
        match told.kind:
            case "connected":
                self._link.on_connected()
                self._publish_retained()
            case "acknowledged":
                sequence = self._on_the_way.pop(told.number, _REPLAYED)
                if sequence != _REPLAYED:
                    self._acknowledged.append(sequence)
            case "denied":
                self._on_denied(told)
            case "heard":
                if told.text == self._topics.replay_request:
                    self._replay.ask(told.body)
                elif self._inbound is not None:
                    self._inbound.take(told.text, told.body, self._clock.now_ns(), bool(told.number))
            case "progress":
                self._link.send_progress(told.body)
            case "disconnected" | "refused" | "unsupported" | "unreachable":
                self._link.on_lost(told)

    def _on_denied(self, told: Told) -> None:
        """The event stays unpublished, and is tried again in a while."""
        self._on_the_way.pop(told.number, None)
        if self._denied is None:
            self._denied = f"the broker does not let us publish below {self._topics.root} ({told.text}): check its ACL"
            log.warning("%s; events are kept", self._denied, extra={"action": "mqtt.denied"})
        self._again_at = self._clock.monotonic() + _DENIED_S

    def _write(self) -> None:
        """Note in the outbox what the broker acknowledged."""
        self._written_at = self._clock.monotonic()
        if self._acknowledged:
            self._outbox.published(self._acknowledged, self._clock.now_ns())
            self._acknowledged.clear()

    def _publish_retained(self) -> None:
        for row in self._outbox.retained():
            if row.published_ns is not None:
                self._link.send(state_again(row, self._topics, self._epoch))

    def _publish(self, now: float) -> None:
        if self._denied is not None and now >= self._again_at and not self._on_the_way:
            self._denied, self._after = None, 0
            self._ahead.clear()
        while len(self._on_the_way) < WINDOW and self._next():
            row = self._ahead.popleft()
            for message in messages(row, self._topics, self._epoch):
                number = self._link.send(message)
            self._on_the_way[number] = row.sequence
        for row in self._replay.take(WINDOW - len(self._on_the_way), now):
            self._on_the_way[self._link.send(replayed(row, self._topics, self._epoch))] = _REPLAYED

    def _next(self) -> bool:
        """Read ahead when all that was read is sent."""
        if not self._ahead:
            self._ahead.extend(self._outbox.unpublished(self._after, _AHEAD))
            if self._ahead:
                self._after = self._ahead[-1].sequence
        return bool(self._ahead)

    def _prune(self) -> None:
        now = self._clock.monotonic()
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_S
            self._outbox.prune_events(self._clock.now_ns() - self._settings.keep_days * _DAY_NS)
