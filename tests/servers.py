"""Real stores for the tests: SeaweedFS and rclone, as their packages bring them (extra `servers`)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.delivery.settings import FolderSettings, RcloneSettings, S3Settings
from tests.conftest import free_port, running, wait_port

KEY, SECRET = "agentkey", "agentsecret123"
BUCKET = "acq"


def program(name: str) -> str:
    """The executable, or the test is skipped. `SCOPE_AGENT_SERVERS` names a folder to look in first."""
    places = os.pathsep.join([os.environ.get("SCOPE_AGENT_SERVERS", ""), sysconfig.get_path("scripts")])
    found = shutil.which(name, path=places) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install 'scope-agent[servers]'")
    return found


def obstore_or_skip() -> None:
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'scope-agent[s3]'")


def s3_settings(folder: Path, port: int, **more) -> S3Settings:
    credentials = folder / "s3-credentials"
    credentials.write_text(f"{KEY}\n{SECRET}\n")
    return S3Settings(endpoint=f"http://127.0.0.1:{port}", bucket=BUCKET, credentials_file=credentials, **more)


def free_ports(count: int) -> list[int]:
    """Ports whose gRPC twins, 10000 above, exist as well."""
    ports: list[int] = []
    while len(ports) < count:
        port = free_port()
        if port < 55_000 and port not in ports:
            ports.append(port)
    return ports


def weed_command(folder: Path, ports: list[int]) -> list[str]:
    config = folder / "s3.json"
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "a", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    config.write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir(exist_ok=True)
    named = zip(("master", "volume", "filer", "s3", "webdav", "admin"), ports, strict=True)
    return [
        program("weed"), "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        *(f"-{name}.port={port}" for name, port in named), f"-s3.config={config}", "-master.telemetry=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip


@contextmanager
def seaweedfs(folder: Path) -> Iterator[int]:
    """SeaweedFS on one node; the port of its S3."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = free_ports(6)
    environment = {**os.environ, "GOMEMLIMIT": "500MiB", "HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        command = weed_command(folder, ports)
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_port(ports[3], process, 60)
        make_bucket(folder, ports[3])
        yield ports[3]
    finally:
        process.kill()
        process.wait()


def make_bucket(folder: Path, port: int) -> None:
    """The store listens before it can write."""
    from agent.delivery.s3_client import S3Client
    from agent.errors import ScopeAgentError

    client = S3Client(s3_settings(folder, port), 10)
    deadline = time.monotonic() + 60
    while True:
        try:
            client.ask("PUT", "", accept=(200, 409))
            client.ask("PUT", "ready", accept=(200,))
            break
        except ScopeAgentError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    client.wire.close()


@contextmanager
def rclone_s3(folder: Path) -> Iterator[int]:
    (folder / "data" / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        program("rclone"), "serve", "s3", str(folder / "data"), "--addr", f"127.0.0.1:{port}",
        "--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off",
    ]  # fmt: skip
    with running(command, port):
        yield port


@contextmanager
def rclone_remote(folder: Path, kind: str) -> Iterator[RcloneSettings]:
    """`rclone serve sftp | webdav`, and rclone as its client."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    port, rclone = free_port(), program("rclone")
    command = [rclone, "serve", kind, str(folder / "data"), "--addr", f"127.0.0.1:{port}"]
    command += ["--user", "agent", "--pass", "agentpw", *(["--etag-hash", "SHA256"] if kind == "webdav" else [])]
    hidden = subprocess.run([rclone, "obscure", "agentpw"], capture_output=True, text=True, check=True).stdout.strip()
    place = (
        f"host = 127.0.0.1\nport = {port}\nuser = agent\npass = {hidden}\n"
        if kind == "sftp"
        else f"url = http://127.0.0.1:{port}\nvendor = rclone\nuser = agent\npass = {hidden}\n"
    )
    (folder / "rclone.conf").write_text(f"[far]\ntype = {kind}\n{place}")
    with running(command, port):
        yield RcloneSettings(remote="far:", config_file=folder / "rclone.conf", executable=rclone)


def folder_settings(folder: Path) -> FolderSettings:
    (folder / "share").mkdir(parents=True, exist_ok=True)
    return FolderSettings(path=folder / "share")
