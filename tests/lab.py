"""A microscope computer: the whole daemon in a thread, real folders, and a facility that is never there.

Acquisitions end as documented and queued, so that their record can be looked at.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.acquisition import Acquisition, State
from agent.config import Config
from agent.contract.record import Record
from agent.daemon import Daemon
from agent.outbox import Outbox
from agent.steps import workspace

ACQUIRE = Path(__file__).parent / "acquire.py"
DESCRIBED = (State.DOCUMENTED, State.QUEUED, State.DELIVERING)


class Lab:
    """`images` is watched and `spool` read while the daemon runs."""

    def __init__(self, folder: Path, **more: object) -> None:
        self.images, self.spool, self.state = folder / "images", folder / "spool", folder / "state"
        self.logs = folder / "logs"
        for made in (self.images, self.spool, self.state, self.logs):
            made.mkdir(exist_ok=True)
        (folder / "token").write_text("none")
        said = {
            "site": "lab",
            "instrument": "scope",
            "state": self.state,
            "hook": {"spool": self.spool, "logs": (self.logs,)},
            "watch": ({"path": self.images, "quiet_s": 0.5, "patience_s": 5},),
            "settle": {"quiet_s": 0.5, "patience_s": 5},
            "delivery": {"url": "http://127.0.0.1:9", "token_file": folder / "token"},
        }
        self.config = Config.model_validate(said | more)
        self.path: Path | None = None

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """The daemon runs inside the block."""
        daemon, ready = Daemon(self.config, path=self.path), threading.Event()
        thread = threading.Thread(target=daemon.run, args=(ready.set,))
        thread.start()
        try:
            assert ready.wait(20)
            yield
        finally:
            daemon.stop()
            thread.join(20)
            assert not thread.is_alive()

    def acquisitions(self) -> list[Acquisition]:
        """All of them, the newest first."""
        outbox = Outbox.open(self.state / "outbox.sqlite")
        try:
            return [entry.acquisition for entry in outbox.newest()]
        finally:
            outbox.close()

    def until(self, seen: Callable[[list[Acquisition]], bool], seconds: float = 30) -> list[Acquisition]:
        """The acquisitions, once `seen` says yes."""
        deadline = time.monotonic() + seconds
        while not seen(found := self.acquisitions()):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def described(self, count: int = 1, seconds: float = 30) -> list[Acquisition]:
        """All acquisitions, once there are `count` and each has its documents."""
        return self.until(lambda all_: len(all_) >= count and all(one.state in DESCRIBED for one in all_), seconds)

    def record(self, acquisition: Acquisition) -> Record:
        """What the record says of it so far."""
        return workspace.drafts(self.state / "work" / acquisition.id)[0]


def acquire(kind: str, output: Path | None = None, *, spool: Path | None = None, log: Path | None = None, **more: str):
    """Start tests/acquire.py in a process of its own, with the hook attached when there is a spool."""
    import os

    environment = os.environ | {"PYMM_LOG_FILE": str(log) if log else "0", "PYMM_LOG_LEVEL": "ERROR"} | more
    environment["PYTHONPATH"] = str(ACQUIRE.parent.parent)
    command = [sys.executable, "-W", "ignore", str(ACQUIRE), kind, str(output or ""), str(spool or "")]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
