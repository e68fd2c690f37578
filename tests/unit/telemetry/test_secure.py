"""TLS with the facility's own CA, passwords and client certificates; every mistake is one line that says what to do."""

from __future__ import annotations

import datetime
import gc
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from agent.contract.topics import Topics
from agent.errors import Misconfigured, Unreachable
from agent.outbox import Announcement, Outbox
from agent.telemetry.probe import probe
from agent.telemetry.publisher import Publisher
from agent.telemetry.settings import MqttSettings
from tests.conftest import free_port
from tests.unit.telemetry.secure import Secure, find_mosquitto, secure_broker, write_certificate
from tests.unit.telemetry.test_publisher import until

pytestmark = [
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto and mosquitto_passwd are not installed"),
    # paho leaves the socket of a failed handshake to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning"),
]
TOPICS = Topics("imaging-facility", "widefield-1")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    with secure_broker(tmp_path_factory.mktemp("mosquitto")) as made:
        yield made


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox.open(tmp_path / "outbox.sqlite")
    made.announce([Announcement("id", TOPICS.lifecycle("started"), "t", "run", 1, {})])
    yield made
    made.close()


def published(settings: MqttSettings, outbox: Outbox, wanted: str | None) -> str | None:
    """The problem that a running publisher has, once it has the wanted words; None: once all is published."""
    publisher, stop = Publisher(settings, TOPICS, outbox), threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    try:
        if wanted is None:
            until(lambda: not outbox.unpublished(0, 1))
        else:
            until(lambda: wanted in (publisher.problem or ""))
        return publisher.problem
    finally:
        stop.set()
        thread.join(10)


def client_certificate(secure: Secure, name: str) -> dict[str, object]:
    write_certificate(
        secure.ca.issue_cert(f"{name}.lab", common_name=name), secure.folder / "me.pem", secure.folder / "me.key"
    )
    files = {"certificate_file": secure.folder / "me.pem", "key_file": secure.folder / "me.key"}
    return {"port": secure.certificate_port, "password_file": None, **files}


def test_password_over_tls(secure: Secure, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert published(secure.settings("widefield-1"), outbox, None) is None
    monkeypatch.setenv("SCOPE_AGENT_MQTT_PASSWORD", "secret-widefield-1")
    probe(secure.settings("widefield-1", password_file=None))


def test_client_certificate(secure: Secure, outbox: Outbox) -> None:
    settings = secure.settings(None, **client_certificate(secure, "widefield-1"))
    probe(settings, TOPICS)
    assert published(settings, outbox, None) is None
    with pytest.raises(Misconfigured, match="does not let us publish"):
        probe(secure.settings(None, **client_certificate(secure, "dashboard")), TOPICS)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def wrong(secure: Secure, settings: MqttSettings, outbox: Outbox, says: str, caplog: pytest.LogCaptureFixture) -> None:
    """`check` and the log have one line with these words; the event waits."""
    with pytest.raises((Misconfigured, Unreachable)) as caught:
        probe(settings, seconds=3)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert published(settings, outbox, says) is not None
    gc.collect()
    assert len([line for line in lines(caplog) if says in line]) == 1
    assert len(outbox.unpublished(0, 10)) == 1


def test_a_wrong_password(secure: Secure, outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    (secure.folder / "wrong").write_text("wrong")
    settings = secure.settings("widefield-1", password_file=secure.folder / "wrong")
    wrong(secure, settings, outbox, "Not authorized", caplog)
    with pytest.raises(Misconfigured, match=r"check mqtt\.user and the password"):
        probe(settings)


def test_a_certificate_of_a_stranger(secure: Secure, outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    trustme.CA().cert_pem.write_to_path(secure.folder / "stranger.pem")
    settings = secure.settings("widefield-1", ca_file=secure.folder / "stranger.pem")
    wrong(secure, settings, outbox, "the broker's certificate is refused", caplog)


def test_an_expired_certificate(tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    with secure_broker(tmp_path / "broker") as secure:
        past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        early = past - datetime.timedelta(days=10)
        expired = secure.ca.issue_cert("127.0.0.1", not_before=early, not_after=past)
        with second(secure, expired) as broker:
            wrong(broker, broker.settings("widefield-1"), outbox, "certificate has expired", caplog)
        with second(secure, secure.ca.issue_cert("other.example.org")) as broker:
            wrong(broker, broker.settings("widefield-1"), outbox, "IP address mismatch", caplog)


def second(secure: Secure, certificate: trustme.LeafCert):
    """The same broker with another certificate, signed by the CA that is trusted."""
    from contextlib import contextmanager

    @contextmanager
    def made() -> Iterator[Secure]:
        folder = secure.folder / f"other-{certificate.private_key_pem.bytes()[60:70].hex()}"
        with secure_broker(folder, certificate) as broker:
            (broker.folder / "ca.pem").write_bytes((secure.folder / "ca.pem").read_bytes())
            yield broker

    return made()


def test_tls_asked_of_a_plain_port_and_nobody_there(
    secure: Secure, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    wrong(secure, secure.settings("widefield-1", port=free_port()), outbox, "Connection refused", caplog)


def test_a_tls_port_spoken_to_without_tls(secure: Secure, outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    settings = secure.settings("widefield-1", ca_file=None)
    wrong(secure, settings, outbox, "does this port want TLS (mqtt.ca_file)", caplog)


@pytest.mark.slow
def test_a_port_of_another_server(outbox: Outbox, secure: Secure, caplog: pytest.LogCaptureFixture) -> None:
    """One that speaks HTTP waits for the end of a line that never comes."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = MqttSettings(host="127.0.0.1", port=other.getsockname()[1], keepalive_s=5)
        wrong(secure, settings, outbox, "or is it another server's?", caplog)


def test_files_that_cannot_be_used(secure: Secure) -> None:
    with pytest.raises(Misconfigured, match="certificates cannot be used"):
        probe(secure.settings("widefield-1", ca_file=secure.folder / "none.pem"))
    with pytest.raises(Misconfigured, match=r"password_file .* cannot be read"):
        probe(secure.settings("widefield-1", password_file=secure.folder / "none"))
    with pytest.raises(Misconfigured, match="certificates cannot be used"):
        probe(secure.settings("widefield-1", certificate_file=secure.folder / "acl"))


def test_the_facility_listens_over_tls_with_its_own_authority(secure: Secure, outbox: Outbox, tmp_path: Path) -> None:
    from agent.facility.broker import Subscriber
    from agent.facility.live import Mirror
    from agent.facility.settings import Settings

    known = {"broker_host": "127.0.0.1", "broker_port": secure.password_port, "broker_user": "facility"}
    known |= {"data_dir": tmp_path, "broker_password": "secret-facility"}
    with pytest.raises(Misconfigured, match=r"broker_ca_file .* cannot be used"):
        Subscriber(Settings(**known, broker_ca_file=tmp_path / "none.pem"), Mirror("scope/v1"))
    mirror = Mirror("scope/v1")
    subscriber = Subscriber(Settings(**known, broker_ca_file=secure.folder / "ca.pem"), mirror)
    subscriber.start()
    until(lambda: mirror.connected)
    assert published(secure.settings("widefield-1"), outbox, None) is None
    until(lambda: "imaging-facility/widefield-1" in mirror.all())
    subscriber.stop()
