"""Does the broker take us, and our events? For `check`: one connection, closed again."""

from __future__ import annotations

import queue
import ssl

from agent.contract.topics import Topics
from agent.errors import Misconfigured, Unreachable
from agent.telemetry.connection import build, explain, is_silence, wanted
from agent.telemetry.settings import MqttSettings

_NOTHING = "nothing within the time"


class _Answer:
    """Takes what the broker says; None is yes."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.taken: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def on_connected(self) -> None:
        self.said.put(None)

    def on_refused(self, reason: str, unsupported: bool) -> None:
        self.said.put(reason)

    def on_unreachable(self, reason: str) -> None:
        self.said.put(reason)

    def on_disconnected(self, reason: str) -> None:
        self.said.put(reason)

    def on_acknowledged(self, mid: int, refusal: str | None) -> None:
        self.taken.put(refusal)

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        """Nothing is subscribed to here."""


def probe(settings: MqttSettings, topics: Topics | None = None, seconds: float = 5) -> None:
    """Return when the broker accepts us; Unreachable or Misconfigured in one line otherwise.

    With `topics` also ask whether we may publish them, which only MQTT 5 brokers answer.
    """
    where = f"broker {settings.host}:{settings.port}"
    versions = ["5", "3.1.1"] if settings.protocol == "auto" else [settings.protocol]
    reasons = []
    for version in versions:
        reason = _connect(settings, topics, version, where, seconds)
        if reason is None:
            return
        reasons.append(reason)
    # An older broker just closes the connection when it is asked for version 5; what it says to 3.1.1 counts.
    reason = next((r for r in reasons if "uthori" in r or "password" in r), reasons[-1])
    if "uthori" in reason or "password" in reason:
        raise Misconfigured(f"{where} refuses us ({reason}): check mqtt.user and the password")
    if reason == _NOTHING or is_silence(reason):
        raise Unreachable(f"{where} gives no answer ({reason}): {wanted(settings)}")
    raise Unreachable(f"{where} refuses us: {reason}")


def _connect(settings: MqttSettings, topics: Topics | None, version: str, where: str, seconds: float) -> str | None:
    answer = _Answer()
    client = build(settings, "", None, version, answer)
    try:
        client.connect(settings.host, settings.port, keepalive=settings.keepalive_s)
    except ssl.SSLError as error:
        raise Misconfigured(f"{where}: {explain(error)}: check mqtt.port and mqtt.ca_file") from error
    except OSError as error:
        raise Unreachable(
            f"{where} cannot be reached: {explain(error)}: is it on, and is the address right?"
        ) from error
    client.loop_start()
    try:
        said = answer.said.get(timeout=seconds)
        if said is None and topics is not None:
            # To say that an alert is over that never was: nobody takes it for news, and nothing stays at the broker.
            client.publish(topics.alert("check"), b"", qos=1, retain=True)
            refusal = answer.taken.get(timeout=seconds)
            if refusal:
                raise Misconfigured(f"{where} does not let us publish below {topics.root} ({refusal}): check its ACL")
        return said
    except queue.Empty:
        return _NOTHING
    finally:
        client.disconnect()
        client.loop_stop()
