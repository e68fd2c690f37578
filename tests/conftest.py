"""Real servers for the tests, each on a free loopback port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_port(port: int, process: subprocess.Popen, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, f"server ended with {process.returncode}"
        time.sleep(0.02)
    raise AssertionError("server did not listen in time")


@contextmanager
def running(command: list[str], port: int) -> Iterator[subprocess.Popen]:
    """A server process, until the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_port(port, process)
        yield process
    finally:
        process.kill()
        process.wait()


def end_facility(process: subprocess.Popen, data: Path) -> None:
    """Kill a facility, and the broker that it started in its folder: nobody else ends that when it dies so."""
    process.kill()
    process.wait()
    end_broker(data)


def end_broker(data: Path) -> None:
    """End the broker of a facility that was killed, if it had one."""
    import psutil

    try:
        left = psutil.Process(int((data / "broker" / "nats.pid").read_text(encoding="utf-8")))
        if str(data / "broker" / "nats.conf") in left.cmdline():
            left.kill()
            left.wait(10)
    except (OSError, ValueError, psutil.NoSuchProcess):
        return  # the facility ended by itself and took it along


class Broker:
    """A real broker that can be killed and started again on the same port."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.port = kind, folder, free_port()
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_port(self.port, self.process)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _command(self) -> list[str]:
        if self.kind == "nats":
            from agent.cli.demo.servers import nats_config, nats_server

            config = self.folder / "nats.conf"
            config.write_text(nats_config(self.folder / "store", self.port), encoding="utf-8")
            return [str(nats_server()), "-c", str(config)]
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
        return [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(config)]


@pytest.fixture(params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Every broker that is installed; NATS comes with the package."""
    if request.param == "mosquitto" and not (shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()):
        pytest.skip("mosquitto is not installed")
    made = Broker(request.param, tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Broker]:
    made = Broker("nats", tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Real microscope files, where they are."""
    path = Path(os.environ.get("SCOPE_AGENT_CORPUS", ROOT.parent / "shared" / "data"))
    if not (path / "MANIFEST.json").exists():
        pytest.skip(f"no corpus at {path}: set SCOPE_AGENT_CORPUS")
    return path
