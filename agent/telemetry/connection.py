"""One paho client: callbacks end here and become calls on a Listener."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agent.contract.settings import read_small
from agent.errors import Misconfigured
from agent.telemetry.settings import MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.client import Client

WINDOW = 200
"""Messages on the way at once; 20 waits for the network, 5,000 is slower again."""


class Listener(Protocol):
    """Told from paho's own thread: return quickly."""

    def on_connected(self) -> None: ...

    def on_refused(self, reason: str, unsupported: bool) -> None: ...

    def on_unreachable(self, reason: str) -> None:
        """There was no connection at all; the next try is made by itself."""
        ...

    def on_disconnected(self, reason: str) -> None: ...

    def on_acknowledged(self, mid: int, refusal: str | None) -> None:
        """`refusal` is why an MQTT 5 broker did not take the message; older brokers drop it in silence."""
        ...

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        """`retained`: it was said before we subscribed, nobody knows when."""
        ...


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes (retained, QoS 1) when we vanish."""

    topic: str
    payload: bytes


def build(
    settings: MqttSettings,
    client_id: str,
    will: Will | None,
    version: str,
    listener: Listener,
    subscribe: Sequence[str] = (),
) -> Client:
    """A client that is not connected yet; `version` is "5" or "3.1.1". Misconfigured for files that cannot be used.

    It subscribes to the topics `subscribe` at each connect.
    """
    from paho.mqtt import client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    protocol = MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311
    # No session is kept at the broker: the outbox is the only truth, and a request that was missed is asked again.
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    client.max_inflight_messages_set(WINDOW)
    client.reconnect_delay_set(min_delay=1, max_delay=30)
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    if settings.user is not None:
        client.username_pw_set(settings.user, read_password(settings))
    if settings.ca_file is not None:
        client.tls_set_context(_tls(settings))
    _wire(client, listener, subscribe)
    return client


def read_password(settings: MqttSettings) -> str | None:
    """The password from its file or the environment."""
    if settings.password_file is None:
        return os.environ.get(settings.password_env)
    try:
        return read_small(settings.password_file).strip()
    except OSError as error:
        raise Misconfigured(f"mqtt.password_file {settings.password_file} cannot be read: {error}") from error


def explain(error: BaseException) -> str:
    """Why a connection could not be made, in one line; a certificate that is refused is named as such."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error}): is this the broker's TLS port, and does it want a certificate?"
    if isinstance(error, TimeoutError) and "handshake" in str(error):
        return "nobody answers the TLS handshake within the time: is this the broker's TLS port?"
    return " ".join(str(error).split()) or type(error).__name__


TIMEOUT = "Keep alive timeout"
_SILENCE = {"Unspecified error", "Connection lost", "Normal disconnection", TIMEOUT}
"""What the client says where the connection is closed, or given up, without a word of the other end."""


def is_silence(reason: str) -> bool:
    """The other end did not say why."""
    return reason in _SILENCE


def wanted(settings: MqttSettings) -> str:
    """What a port most often waits for that closes the connection, or says nothing, when it does not get it."""
    if settings.ca_file is None:
        return "does this port want TLS (mqtt.ca_file), or is it another server's?"
    if settings.certificate_file is None:
        return "does this port want a certificate of ours (mqtt.certificate_file), or is it another server's?"
    return "is this the port of an MQTT broker?"


def _tls(settings: MqttSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file))
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"mqtt: the certificates cannot be used: {error}") from error
    return context


def _wire(client: Client, listener: Listener, subscribe: Sequence[str]) -> None:
    def connected(_c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        if reason.is_failure:
            listener.on_refused(str(reason), "rotocol" in str(reason))
            return
        if subscribe:
            client.subscribe([(topic, 1) for topic in subscribe])
        listener.on_connected()

    def failed(_c: Any, _u: Any) -> None:
        # paho calls this while it handles the error and does not hand it over.
        error = sys.exc_info()[1]
        listener.on_unreachable(explain(error) if error else "no connection")

    def disconnected(_c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        listener.on_disconnected(str(reason))

    def published(_c: Any, _u: Any, mid: int, reason: Any, _p: Any) -> None:
        listener.on_acknowledged(mid, str(reason) if reason.is_failure else None)

    def received(_c: Any, _u: Any, message: Any) -> None:
        listener.on_message(message.topic, bytes(message.payload), message.retain)

    client.on_connect = connected
    client.on_connect_fail = failed
    client.on_disconnect = disconnected
    client.on_publish = published
    if subscribe:
        client.on_message = received
