"""The demo's processes: each started here, watched here, and stopped here whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from agent.errors import ScopeAgentError, Unreachable

if sys.platform == "win32":
    _GROUP = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    _GROUP = 0


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_open(host: str, port: int) -> bool:
    """True when something listens there."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


@dataclass(slots=True)
class Children:
    """`with Children(logs) as children:`; on leaving, the last started is stopped first."""

    logs: Path
    _running: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def __enter__(self) -> Children:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a process of its own group (Ctrl-C is for us to pass on); its output goes to logs/{name}.log."""
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                creationflags=_GROUP,
                start_new_session=sys.platform != "win32",
            )
        self._running.append((name, process))
        return process

    def run(self, name: str, command: Sequence[str], meanwhile: Callable[[], None] = lambda: None) -> None:
        """Run a process to its end, calling `meanwhile` ten times a second; an error names its last line."""
        process = self.start(name, command)
        try:
            while (code := process.poll()) is None:
                meanwhile()
                time.sleep(0.1)
        finally:
            if process.poll() is not None:
                self._running.remove((name, process))
        if code != 0:
            raise ScopeAgentError(f"{name} failed ({code}): {self.last_line(name)}")

    def wait_port(self, name: str, host: str, port: int, seconds: float = 30) -> None:
        """Return when `name` listens; Unreachable with its last words when it ended or took too long."""
        deadline = time.monotonic() + seconds
        process = next(process for known, process in self._running if known == name)
        while time.monotonic() < deadline and process.poll() is None:
            if is_open(host, port):
                return
            time.sleep(0.05)
        raise Unreachable(f"{name} did not start: {self.last_line(name)}")

    def forget(self, name: str) -> None:
        """A process that did not come up: kill what is left of it."""
        for known in [entry for entry in self._running if entry[0] == name]:
            known[1].kill()
            known[1].wait()
            self._running.remove(known)

    def dead(self) -> str | None:
        """Name of a process that ended by itself."""
        return next((name for name, process in self._running if process.poll() is not None), None)

    def last_line(self, name: str) -> str:
        """The last line that a process said."""
        try:
            lines = (self.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return "it said nothing"
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def stop(self, seconds: float = 4.0) -> None:
        """End one after the other, last started first, and kill what is still there after `seconds`.

        In this order the agent's last words still find their broker.
        """
        deadline = time.monotonic() + seconds
        for _name, process in reversed(self._running):
            _ask(process)
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()


def _ask(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            process.terminate()
