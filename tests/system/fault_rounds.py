"""Rounds of faults: the real daemon, a real far side and a proxy between them; after each round the invariants hold.

Used by tests/system/test_faults.py (a short run) and benchmarks/faults.py (a long one). Everything that happens
follows from the seed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent.contract.layout import MANIFEST
from agent.contract.manifest import parse
from agent.facility.serve import create_token
from agent.outbox import Outbox
from tests.conftest import ROOT, free_port, wait_port
from tests.unit.delivery.meddler import Meddler

ERRORS = [
    b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status
    for status in (400, 401, 403, 404, 408, 409, 410, 423, 429, 460, 500, 502, 503, 504, 507)
    if status != 400  # "never again": the one class that is meant to end a delivery
]


def spawn(*arguments: str, log: Path, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "agent", *arguments]
    with log.open("ab") as out:
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env={**os.environ, **environment})


class Site:
    """A watched folder, a daemon, a facility and what lies between them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.port = free_port()
        (folder / "token").write_text(create_token(folder / "facility", "lab/scope"))
        (folder / "images").mkdir()
        self.truth: dict[str, str] = {}
        self.replaced: set[str] = set()
        self.facility: subprocess.Popen | None = None
        self.daemon: subprocess.Popen | None = None
        self.start_facility()
        self.between = Meddler(self.port)
        (folder / "config.toml").write_text(
            f'site = "lab"\ninstrument = "scope"\nstate = "state"\n[hook]\nspool = "spool"\nlogs = []\n'
            f'[[watch]]\npath = "images"\nquiet_s = 0.3\nreconcile_s = 5\n'
            f'[delivery]\nurl = "http://127.0.0.1:{self.between.port}"\ntoken_file = "token"\n'
            f"retry_first_s = 0.1\nretry_most_s = 0.5\nstall_s = 1.5\nchunk_mib = 1\n"
        )
        self.counts: dict[str, int] = {}

    # The processes

    def start_facility(self) -> None:
        data = str(self.folder / "facility")
        self.facility = spawn(
            "facility", "serve", "--data", data, "--port", str(self.port), log=self.folder / "facility.log"
        )
        wait_port(self.port, self.facility, 60)

    def start_daemon(self) -> None:
        self.daemon = spawn("run", "-c", str(self.folder / "config.toml"), log=self.folder / "daemon.log")

    def end(self) -> None:
        for process in (self.daemon, self.facility):
            if process is not None:
                with contextlib.suppress(OSError):
                    process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        self.between.close()

    # What happens

    def acquire(self, number: int) -> None:
        """A file of some kilobytes or megabytes; a tenth of them is rewritten in place soon after."""
        path = self.folder / "images" / f"run-{number:05}.bin"
        body = self.chance.randbytes(self.chance.choice([10, 5000, 400_000, 3_000_000]))
        path.write_bytes(body)
        self.truth[path.name] = hashlib.sha256(body).hexdigest()

    def change_one(self) -> None:
        """Under the upload or after it: what is at the facility in the end must be one whole version."""
        names = [name for name in self.truth if name not in self.replaced]
        if not names:
            return
        path = self.folder / "images" / self.chance.choice(names)
        before = path.stat()
        with path.open("r+b") as file:
            file.write(self.chance.randbytes(4))
        if self.chance.random() < 0.5:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.replaced.add(path.name)

    def faults(self) -> dict[str, Callable[[], None]]:
        return {
            "kill the daemon": self.kill_daemon,
            "kill the facility": self.kill_facility,
            "freeze the facility": self.freeze,
            "cut the network": self.cut,
            "crawl": self.crawl,
            "server errors": self.errors,
            "lose answers": self.lose,
            "change a file": self.change_one,
            "nothing": lambda: time.sleep(self.chance.uniform(0, 1)),
        }

    def kill_daemon(self) -> None:
        self.daemon.kill()
        self.daemon.wait()
        self.start_daemon()

    def kill_facility(self) -> None:
        self.facility.kill()
        self.facility.wait()
        self.start_facility()

    def freeze(self) -> None:
        if sys.platform != "win32":
            self.facility.send_signal(signal.SIGSTOP)
            time.sleep(self.chance.uniform(0.1, 3))
            self.facility.send_signal(signal.SIGCONT)

    def cut(self) -> None:
        self.between.cut_after = self.chance.choice([0, 300, 100_000, 1_500_000])
        time.sleep(self.chance.uniform(0.2, 2))
        self.between.cut_after = None

    def crawl(self) -> None:
        self.between.crawl_s = 0.2
        time.sleep(self.chance.uniform(0.5, 3))
        self.between.crawl_s = None

    def errors(self) -> None:
        self.between.say = [self.chance.choice(ERRORS) for _ in range(self.chance.randint(1, 6))]
        time.sleep(self.chance.uniform(0.2, 1))
        self.between.say = []

    def lose(self) -> None:
        kind = self.chance.choice([b"POST", b"PATCH", b"PUT", b"HEAD"])
        self.between.lose = lambda head: head.startswith(kind)
        time.sleep(self.chance.uniform(0.2, 1.5))
        self.between.lose = lambda head: False

    def round(self, number: int) -> None:
        for _ in range(self.chance.randint(0, 2)):
            self.acquire(len(self.truth))
        faults = self.faults()
        name = self.chance.choice(list(faults))
        time.sleep(self.chance.uniform(0, 0.6))
        faults[name]()
        self.counts[name] = self.counts.get(name, 0) + 1
        self.check_visible(number)

    # What must hold

    def datasets(self) -> list[Path]:
        root = self.folder / "facility" / "datasets"
        return [manifest.parent for manifest in root.glob(f"*/*/*/*/*/*/{MANIFEST}")]

    def check_visible(self, number: int) -> None:
        """Whatever is visible is whole: its manifest names what is there, byte for byte."""
        for dataset in self.datasets() if number % 20 == 19 else []:
            self.check_dataset(dataset)

    def check_dataset(self, dataset: Path) -> None:
        listed = parse((dataset / MANIFEST).read_bytes())
        for path, digest in listed.items():
            assert hashlib.sha256((dataset / path).read_bytes()).hexdigest() == digest, f"{dataset}/{path}"

    def converge(self, seconds: float = 180) -> None:
        """No more faults: everything must be verified, once, and nothing stay behind."""
        self.between.frozen, self.between.cut_after, self.between.crawl_s, self.between.say = False, None, None, []
        deadline = time.monotonic() + seconds
        while (left := self.left()) is not None:
            assert time.monotonic() < deadline, left
            time.sleep(0.5)
        self.daemon.terminate()
        assert self.daemon.wait(15) == 0
        held: dict[str, list[str]] = {}
        for dataset in self.datasets():
            self.check_dataset(dataset)
            record = json.loads((dataset / "acquisition.json").read_text())
            for file in record["files"]:
                if file["role"] == "data":
                    held.setdefault(Path(file["path"]).name, []).append(file["source_sha256"])
        for name, digest in self.truth.items():
            now = hashlib.sha256((self.folder / "images" / name).read_bytes()).hexdigest()
            versions = {digest, now} if name in self.replaced else {digest}
            # A file that was changed after it was verified is another acquisition, when its times show it.
            assert set(held.get(name, [])) <= versions, f"{name}: bytes that never were a whole file"
            assert held.get(name), f"{name} is lost"
            if name not in self.replaced:
                assert held[name] == [digest], f"{name} came {len(held[name])} times"
        self.check_outbox()
        assert not list((self.folder / "facility" / ".incoming").iterdir()), "orphaned uploads"

    def left(self) -> str | None:
        """What still is to be done; None when nothing is."""
        with contextlib.suppress(Exception):
            outbox = Outbox.open(self.folder / "state" / "outbox.sqlite")
            try:
                entries = outbox.newest(10_000)
                seen = {Path(file.path).name for entry in entries for file in entry.acquisition.files}
                missing = set(self.truth) - seen
                open_ones = [(e.acquisition.name, e.acquisition.state.value, e.error) for e in entries
                             if e.acquisition.state not in ("verified", "released")]  # fmt: skip
                orphans = outbox.orphans()
                return f"missing {missing}, open {open_ones}, {orphans}" if missing or open_ones or orphans else None
            finally:
                outbox.close()
        return "the outbox cannot be read yet"

    def check_outbox(self) -> None:
        outbox = Outbox.open(self.folder / "state" / "outbox.sqlite")
        try:
            assert outbox.check() == []
        finally:
            outbox.close()


def campaign(folder: Path, rounds: int, seed: int, tell: Callable[[str], None]) -> Site:
    """So many rounds, then convergence. Leaves the folder where something did not hold."""
    site = Site(folder, seed)
    site.start_daemon()
    try:
        for number in range(rounds):
            site.round(number)
            if number % 50 == 49:
                tell(f"{number + 1} rounds, {len(site.truth)} files, {site.counts}")
        site.converge(180 + rounds)
    finally:
        site.end()
    return site
