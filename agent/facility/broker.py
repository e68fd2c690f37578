"""The subscriber: one paho thread that feeds the mirror and comes back by itself when the broker was away."""

from __future__ import annotations

import logging
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.errors import Misconfigured
from agent.facility.gaps import Gaps
from agent.facility.live import Mirror
from agent.facility.settings import Settings

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

_AMENDED = "/acquisition/amended"


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"broker_ca_file {ca_file} cannot be used: {error}") from error


class Subscriber:
    """Listens to everything below the prefix. Speaks MQTT 3.1.1, which every broker does."""

    def __init__(self, settings: Settings, mirror: Mirror, heard: Mapping[str, Any] | None = None) -> None:
        """`heard` is what `heard()` said before a restart."""
        self._settings = settings
        self._mirror = mirror
        self._gaps = Gaps(settings.prefix, heard=heard)
        self.on_connected: Callable[[], None] = lambda: None
        self.on_amended: Callable[[str, bytes], None] = lambda topic, payload: None
        self._asking = threading.Thread(target=self._ask, name="facility-gaps", daemon=True)
        self._ended = threading.Event()
        # A new name each time: every replica of the facility listens for itself.
        name = f"facility-{secrets.token_hex(6)}"
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv311)
        if settings.broker_user:
            password = settings.broker_password.get_secret_value() if settings.broker_password else None
            self._client.username_pw_set(settings.broker_user, password)
        if settings.broker_tls or settings.broker_ca_file:
            self._client.tls_set_context(_tls(settings.broker_ca_file))
        self._client.reconnect_delay_set(1, 15)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Returns at once; connecting goes on in the thread for as long as it takes."""
        self._mirror.set_connected(False)
        self._client.connect_async(self._settings.broker_host or "", self._settings.broker_port, keepalive=20)
        self._client.loop_start()
        self._asking.start()

    def publish(self, topic: str, payload: bytes) -> None:
        """Retained and at least once; while the broker is away it waits."""
        self._client.publish(topic, payload, qos=1, retain=True)

    def heard(self) -> dict[str, list[Any]]:
        """Up to where the events of each instrument came."""
        return self._gaps.heard()

    def missing(self) -> dict[str, int]:
        """`{site/instrument: how many events are known to be missing}`, where any are."""
        return {root.removeprefix(f"{self._settings.prefix}/"): n for root, n in self._gaps.missing().items()}

    def stop(self) -> None:
        self._ended.set()
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: mqtt.Client, _: Any, flags: mqtt.ConnectFlags, reason: ReasonCode, more: Properties | None
    ) -> None:
        if reason.is_failure:
            log.warning("the broker refuses the facility: %s", reason)
            return
        client.subscribe(f"{self._settings.prefix}/#", qos=1)
        self._mirror.set_connected(True)
        self.on_connected()

    def _on_disconnect(
        self, client: mqtt.Client, _: Any, flags: mqtt.DisconnectFlags, reason: ReasonCode, more: Properties | None
    ) -> None:
        if reason.is_failure:
            log.warning("the broker is away (%s): trying again", reason)
        self._mirror.set_connected(False)

    def _on_message(self, client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        try:
            self._mirror.apply(message.topic, bytes(message.payload))
            if message.topic.endswith(_AMENDED):
                self.on_amended(message.topic, bytes(message.payload))
            for topic, payload in self._gaps.note(message.topic, bytes(message.payload), message.retain):
                client.publish(topic, payload, qos=1)
        except (UnicodeDecodeError, RecursionError) as error:
            log.warning("a message cannot be read: %s", error)

    def _ask(self) -> None:
        """What is missing is asked for also while nothing else arrives."""
        while not self._ended.wait(1.0):
            for topic, payload in self._gaps.due():
                self._client.publish(topic, payload, qos=1)
