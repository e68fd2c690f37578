"""The example configuration of Mosquitto, run with certificates and passwords of the test."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from agent.telemetry.settings import MqttSettings
from tests.conftest import ROOT, free_port, wait_port

DEPLOY = ROOT / "deploy" / "mosquitto"
USERS = ("widefield-1", "confocal-2", "facility", "booking", "dashboard", "witness")
"""The witness may do all; the example has none."""


@dataclass(frozen=True)
class Secure:
    """Where the broker listens and who signed its certificate."""

    folder: Path
    ca: trustme.CA
    password_port: int
    certificate_port: int

    def settings(self, user: str | None, **more: object) -> MqttSettings:
        """As the agent of an instrument, by password."""
        said: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.password_port,
            "ca_file": self.folder / "ca.pem",
            "user": user,
            "password_file": self.folder / f"{user}.password",
        }
        return MqttSettings.model_validate(said | more)


def write_certificate(certificate: trustme.LeafCert, pem: Path, key: Path) -> None:
    pem.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())


def find_mosquitto() -> str | None:
    """Where it is; also needs mosquitto_passwd."""
    found = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    return found if found and shutil.which("mosquitto_passwd") else None


@contextmanager
def secure_broker(folder: Path, certificate: trustme.LeafCert | None = None) -> Iterator[Secure]:
    """The example as it stands in deploy/, but for ports and paths."""
    folder.mkdir(exist_ok=True)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    made = certificate or ca.issue_cert("127.0.0.1", "localhost")
    write_certificate(made, folder / "server.pem", folder / "server.key")
    for number, user in enumerate(USERS):
        (folder / f"{user}.password").write_text(f"secret-{user}\n")
        flags = ["-b", "-c"] if number == 0 else ["-b"]
        subprocess.run(["mosquitto_passwd", *flags, folder / "passwords", user, f"secret-{user}"], check=True)
    everything = "\nuser witness\ntopic readwrite #\ntopic readwrite $SYS/#\n"
    (folder / "acl").write_text((DEPLOY / "acl").read_text("utf-8") + everything)
    first = second = free_port()
    while second == first:
        second = free_port()
    secure = Secure(folder, ca, first, second)
    text = (DEPLOY / "mosquitto.conf").read_text("utf-8")
    text = text.replace("/etc/mosquitto/scope-agent/", f"{folder}/").replace("/var/lib/mosquitto/", f"{folder}/")
    text = text.replace("listener 8883", f"listener {secure.password_port} 127.0.0.1")
    text = text.replace("listener 8884", f"listener {secure.certificate_port} 127.0.0.1")
    if os.geteuid() == 0:
        text += "\nuser root\n"  # the folder of the test is nobody else's
    (folder / "mosquitto.conf").write_text(text)
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen([find_mosquitto(), "-c", folder / "mosquitto.conf"], stdout=log, stderr=log)
    try:
        wait_port(secure.password_port, process)
        wait_port(secure.certificate_port, process)
        yield secure
    finally:
        process.kill()
        process.wait()
