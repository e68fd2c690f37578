"""The example ACL: a witness with full rights sees that everything forbidden is refused, in both versions of MQTT."""

from __future__ import annotations

import queue
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.contract.asyncapi import channels
from agent.contract.topics import Topics
from agent.errors import Misconfigured
from agent.telemetry.probe import probe
from tests.unit.telemetry.secure import Secure, find_mosquitto, secure_broker

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto and mosquitto_passwd are not installed")

SITE = "scope/v1/imaging-facility"
OWN, OTHER = f"{SITE}/widefield-1", f"{SITE}/confocal-2"
PUBLISH_FORBIDDEN = [
    ("widefield-1", f"{OTHER}/status"),
    ("widefield-1", f"{OTHER}/acquisition/verified"),
    ("widefield-1", f"{OTHER}/acquisition/current"),
    ("widefield-1", f"{OTHER}/alert/disk"),
    ("widefield-1", f"{OTHER}/request/replay"),
    ("widefield-1", f"{OTHER}/progress"),
    ("widefield-1", f"{SITE}/widefield-10/status"),
    ("widefield-1", f"{SITE}/widefield-/status"),
    ("widefield-1", f"{SITE}/Widefield-1/status"),
    ("widefield-1", f"{SITE}//widefield-1/status"),
    ("widefield-1", f"/{OWN}/status"),
    ("widefield-1", SITE),
    ("widefield-1", "scope/v1/other-site/widefield-1/status"),
    ("widefield-1", "scope/v2/imaging-facility/widefield-1/status"),
    ("widefield-1", "homeassistant/sensor/x/config"),
    ("confocal-2", f"{OWN}/status"),
    ("facility", f"{OWN}/status"),
    ("facility", f"{OWN}/acquisition/verified"),
    ("facility", f"{OWN}/request/other"),
    ("facility", f"{OWN}/alert/disk"),
    ("facility", f"{OWN}/alert/check"),
    ("booking", f"{OWN}/alert/check"),
    ("dashboard", f"{OWN}/alert/check"),
    ("confocal-2", f"{OWN}/alert/check"),
    ("facility", f"{OWN}/session"),
    ("booking", f"{OWN}/status"),
    ("booking", f"{OWN}/request/replay"),
    ("dashboard", f"{OWN}/session"),
    ("dashboard", f"{OWN}/status"),
    ("dashboard", f"{OWN}/request/replay"),
    ("dashboard", f"{OWN}/acquisition/verified"),
    ("dashboard", f"{SITE}/dashboard/status"),
    ("dashboard", "scope/v1/x"),
    ("dashboard", "anything"),
]
PUBLISH_ALLOWED = [
    ("widefield-1", f"{OWN}/status"),
    ("widefield-1", f"{OWN}/replay/status"),
    ("widefield-1", f"{OWN}/request/replay"),
    ("confocal-2", f"{OTHER}/acquisition/verified"),
    ("facility", f"{OWN}/request/replay"),
    ("facility", f"{OWN}/alert/quarantine"),
    ("booking", f"{OWN}/session"),
]
SUBSCRIBE_FORBIDDEN = [
    ("widefield-1", "#"),
    ("widefield-1", "scope/v1/#"),
    ("widefield-1", f"{OTHER}/#"),
    ("widefield-1", "scope/v1/+/+/status"),
    ("widefield-1", "+/+/+/+/acquisition/verified"),
    ("widefield-1", "$SYS/#"),
    ("confocal-2", f"{OWN}/request/replay"),
    ("dashboard", "homeassistant/#"),
    ("dashboard", "$SYS/#"),
    ("facility", "homeassistant/#"),
    ("booking", "#"),
    ("booking", f"{OWN}/session"),
    ("booking", f"{OWN}/#"),
    ("booking", "+/+/+/+/status"),
    ("confocal-2", "scope/v1/imaging-facility/+/request/replay"),
    ("confocal-2", f"{OWN}/status"),
    ("confocal-2", "scope/+/+/widefield-1/#"),
    ("widefield-1", f"{OTHER}/session"),
    ("widefield-1", f"{SITE}/#"),
    ("widefield-1", "$share/group/scope/v1/#"),
    ("dashboard", "#"),
    ("facility", "#"),
    ("facility", "$SYS/#"),
]
SPOKEN = [
    *(f"{OWN}/{topic}" for topic in ("request/replay", "session", "status")),
    *(f"{OTHER}/{topic}" for topic in ("status", "session", "acquisition/verified")),
    "homeassistant/sensor/x",
]
MAY_READ = {
    "widefield-1": f"{OWN}/",
    "confocal-2": f"{OTHER}/",
    "facility": "scope/v1/",
    "dashboard": "scope/v1/",
    "booking": "nothing",
}


class Connected:
    """A bare paho client of one user; `got` is what it receives."""

    def __init__(self, secure: Secure, user: str, version: MQTTProtocolVersion, will: str | None = None) -> None:
        self.got: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._acknowledged = threading.Event()
        self._subscribed = threading.Event()
        connected = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=version)
        self.client.username_pw_set(user, f"secret-{user}")
        self.client.tls_set_context(ssl.create_default_context(cafile=str(secure.folder / "ca.pem")))
        if will:
            self.client.will_set(will, b"will", qos=1)
        self.client.on_connect = lambda *_: connected.set()
        self.client.on_publish = lambda *_: self._acknowledged.set()
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda _c, _u, m: self.got.put((m.topic, m.payload))
        self.client.connect("127.0.0.1", secure.password_port)
        self.client.loop_start()
        assert connected.wait(10)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self._acknowledged.clear()
        self.client.publish(topic, payload, qos=1, retain=retain)
        assert self._acknowledged.wait(5)

    def subscribe(self, topic: str) -> None:
        self._subscribed.clear()
        self.client.subscribe(topic, qos=1)
        assert self._subscribed.wait(5)

    def received(self, seconds: float = 0.5) -> list[tuple[str, bytes]]:
        time.sleep(seconds)
        return [self.got.get() for _ in range(self.got.qsize())]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


VERSIONS = [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    with secure_broker(tmp_path_factory.mktemp("mosquitto")) as made:
        yield made


@pytest.fixture(params=VERSIONS, ids=["5", "3.1.1"])
def version(request: pytest.FixtureRequest) -> MQTTProtocolVersion:
    return request.param


def test_forbidden_publishes_reach_nobody(secure: Secure, version: MQTTProtocolVersion) -> None:
    assert len(PUBLISH_FORBIDDEN) >= 20
    witness = Connected(secure, "witness", version)
    witness.subscribe("#")
    clients = {user: Connected(secure, user, version) for user in MAY_READ}
    for user, topic in PUBLISH_FORBIDDEN:
        clients[user].publish(topic, user.encode())
        clients[user].publish(topic, user.encode(), retain=True)
    for user, topic in PUBLISH_ALLOWED:
        clients[user].publish(topic, user.encode())
    heard = sorted((payload.decode(), topic) for topic, payload in witness.received())
    for client in [*clients.values(), witness]:
        client.close()
    assert heard == sorted(PUBLISH_ALLOWED)
    late = Connected(secure, "witness", version)
    late.subscribe("#")
    assert late.received(0.3) == [], "nothing forbidden was retained"
    late.close()


def test_a_will_cannot_be_left_for_another(secure: Secure, version: MQTTProtocolVersion) -> None:
    witness = Connected(secure, "witness", version)
    witness.subscribe("#")
    for user, topic in [
        ("widefield-1", f"{OTHER}/status"),
        ("dashboard", f"{OWN}/status"),
        ("widefield-1", f"{OWN}/w"),
    ]:
        client = Connected(secure, user, version, will=topic)
        client.client._sock_close()
        client.client.loop_stop()
    assert witness.received(1.0) == [(f"{OWN}/w", b"will")]
    witness.close()


def test_forbidden_subscriptions_bring_nothing(secure: Secure, version: MQTTProtocolVersion) -> None:
    assert len(SUBSCRIBE_FORBIDDEN) >= 20
    witness = Connected(secure, "witness", version)
    listeners = []
    for user, topic in SUBSCRIBE_FORBIDDEN:
        listener = Connected(secure, user, version)
        listener.subscribe(topic)
        listeners.append((user, topic, listener))
    control = Connected(secure, "dashboard", version)
    control.subscribe("scope/v1/#")
    for topic in SPOKEN:
        witness.publish(topic, b"secret")
    time.sleep(0.5)
    for user, topic, listener in listeners:
        wrong = [heard for heard, _ in listener.received(0) if not heard.startswith(MAY_READ[user])]
        assert wrong == [], f"{user} subscribed to {topic}"
        listener.close()
    assert sorted(topic for topic, _ in control.received(0)) == sorted(
        topic for topic in SPOKEN if topic.startswith("scope/v1/")
    )
    control.close()
    witness.close()


def test_check_says_when_an_agent_may_not_publish(secure: Secure) -> None:
    probe(secure.settings("widefield-1"), Topics("imaging-facility", "widefield-1"))
    with pytest.raises(Misconfigured, match=r"does not let us publish below .*confocal-2.*check its ACL"):
        probe(secure.settings("widefield-1"), Topics("imaging-facility", "confocal-2"))


def test_check_asks_on_a_topic_that_is_documented_and_leaves_nothing_behind(
    secure: Secure, version: MQTTProtocolVersion
) -> None:
    witness = Connected(secure, "witness", version)
    witness.subscribe("#")
    probe(secure.settings("widefield-1"), Topics("imaging-facility", "widefield-1"))
    (topic, payload), *more = witness.received()
    witness.close()
    assert (payload, more) == (b"", [])
    alerts = next(channel for channel in channels() if channel.name == "alert")
    assert topic == f"{OWN}/{alerts.address.format(code='check')}"
    late = Connected(secure, "witness", version)
    late.subscribe("#")
    assert late.received(0.3) == []
    late.close()
