"""Rounds of faults: the real daemon, a real far side and a proxy between them; after each round the invariants hold.

Used by tests/system/test_faults.py (a short run) and benchmarks/faults.py (a long one). Everything that happens
follows from the seed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from agent.acquisition import Acquisition
from agent.errors import ScopeAgentError
from agent.outbox import Outbox
from tests.conftest import ROOT, Broker
from tests.system.far_sides import FAR_SIDES, spawn
from tests.unit.delivery.meddler import Meddler

ERRORS = [
    b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status
    for status in (400, 401, 403, 404, 408, 409, 410, 423, 429, 460, 500, 502, 503, 504, 507)
    if status != 400  # "never again": the one class that is meant to end a delivery
]


WIRES = frozenset(
    (
        "freeze the far side",
        "cut the network",
        "crawl",
        "server errors",
        "lose answers",
        "answers twice",
        "answers swapped",
    )
)
"""What can only happen on a network."""
YEAR_S = 365 * 86_400
STATE_MIB, FAR_MIB = 200, 2000


class Site:
    """A watched folder, a daemon, a broker, a far side and what lies between it and the daemon."""

    def __init__(self, folder: Path, seed: int, far: str) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        (folder / "images").mkdir()
        (folder / "state").mkdir()
        (folder / "broker").mkdir()
        self.disks = [disk for disk in (small_disk(folder / "state", STATE_MIB),) if disk]
        self.far = FAR_SIDES[far](folder)
        if self.far.disk is not None:
            self.far.disk.mkdir()
            self.disks += [disk for disk in (small_disk(self.far.disk, FAR_MIB),) if disk]
        self.truth: dict[str, str] = {}
        self.replaced: set[str] = set()
        self.changed: dict[str, str] = {}
        self.removed: set[str] = set()
        self.daemon: subprocess.Popen | None = None
        self.far.start()
        self.between = Meddler(self.far.port)
        self.broker = Broker("nats", folder / "broker")
        self.broker.start()
        (folder / "config.toml").write_text(
            f'site = "lab"\ninstrument = "scope"\nstate = "state"\n[hook]\nspool = "spool"\nlogs = []\n'
            f'[[watch]]\npath = "images"\nquiet_s = 0.3\nreconcile_s = 5\n[settle]\npatience_s = 15\n'
            f"[delivery.limits]\nreserve_mib = {STATE_MIB // 20}\n"
            f'[mqtt]\nhost = "127.0.0.1"\nport = {self.broker.port}\n'
            + self.far.config(self.between.port).replace(
                "[delivery]\n", "[delivery]\nretry_first_s = 0.1\nretry_most_s = 0.5\n"
            )
        )
        self.counts: dict[str, int] = {}

    # The processes

    def start_daemon(self) -> None:
        skewed = [sys.executable, str(Path(__file__).parent / "skewed.py"), str(self.folder / "skew")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [*skewed, "run", "-c", str(self.folder / "config.toml")]
        self.daemon = spawn(command, self.folder / "daemon.log", env=environment)

    def end(self) -> None:
        self.far.kill()
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
        self.broker.kill()
        self.between.close()
        self.end_orphans()
        for disk in self.disks:
            subprocess.run(["umount", "-l", str(disk)], check=False)

    def end_orphans(self) -> None:
        """Children of processes that were killed: whatever runs in our folder."""
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.folder) in word for word in process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.Error):
                    process.kill()

    # What happens

    def acquire(self, number: int) -> None:
        """A file of some kilobytes or megabytes; a tenth of them is rewritten in place soon after."""
        path = self.folder / "images" / f"run-{number:05}.bin"
        body = self.chance.randbytes(self.chance.choice([10, 5000, 5000, 400_000, 400_000, 3_000_000, 12_000_000]))
        path.write_bytes(body)
        self.truth[path.name] = hashlib.sha256(body).hexdigest()

    def change_one(self) -> None:
        """Under the upload or after it: what is at the facility in the end must be one whole version."""
        names = [name for name in self.truth if name not in self.replaced | self.removed]
        if not names:
            return
        path = self.folder / "images" / self.chance.choice(names)
        before = path.stat()
        with path.open("r+b") as file:
            file.write(self.chance.randbytes(4))
        self.changed[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if self.chance.random() < 0.5:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.replaced.add(path.name)

    def delete_one(self) -> None:
        """It may be anywhere on its way; what was not delivered yet cannot be any more."""
        names = [name for name in self.truth if name not in self.removed]
        if names:
            name = self.chance.choice(names[-10:])
            (self.folder / "images" / name).unlink()
            self.removed.add(name)

    def faults(self) -> dict[str, Callable[[], None]]:
        known = {
            "kill the daemon": self.kill_daemon,
            "kill the far side": self.kill_far_side,
            "freeze the far side": self.freeze,
            "kill the broker": self.kill_broker,
            "cut the network": self.cut,
            "crawl": self.crawl,
            "server errors": self.errors,
            "lose answers": self.lose,
            "answers twice": self.twice,
            "answers swapped": self.swap,
            "change a file": self.change_one,
            "delete a file": self.delete_one,
            "the clock jumps": self.jump,
            "nothing": lambda: time.sleep(self.chance.uniform(0, 1)),
        }
        if not self.far.wired:
            known = {name: fault for name, fault in known.items() if name not in WIRES}
        return known | ({"a disk is full": self.fill} if self.disks else {})

    def kill_daemon(self) -> None:
        self.daemon.kill()
        self.daemon.wait()
        self.start_daemon()

    def kill_far_side(self) -> None:
        self.far.kill()
        self.far.start()

    def kill_broker(self) -> None:
        self.broker.kill()
        time.sleep(self.chance.uniform(0, 1))
        self.broker.start()

    def freeze(self) -> None:
        if sys.platform != "win32":
            self.far.signal(signal.SIGSTOP)
            time.sleep(self.chance.uniform(0.1, 3))
            self.far.signal(signal.SIGCONT)

    def fill(self) -> None:
        """No byte more on the daemon's disk or on the facility's, for a while."""
        plug = self.chance.choice(self.disks) / "plug"
        with contextlib.suppress(OSError), plug.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                continue
        time.sleep(self.chance.uniform(0.2, 2))
        plug.unlink()

    def jump(self) -> None:
        seconds = self.chance.choice([0, 0, 3600, -3600, YEAR_S, -YEAR_S])
        (self.folder / "skew").write_text(str(seconds))
        time.sleep(self.chance.uniform(0, 1))

    def twice(self) -> None:
        self.between.twice = True
        time.sleep(self.chance.uniform(0.2, 1.5))
        self.between.twice = False

    def swap(self) -> None:
        self.between.swap = True
        time.sleep(self.chance.uniform(0.2, 1.5))
        self.between.swap = False

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

    def keep_running(self) -> None:
        """What a service manager does: a daemon that met a full disk at its start is started again."""
        if self.daemon.poll() is not None:
            self.start_daemon()

    def round(self, number: int) -> None:
        self.keep_running()
        for _ in range(self.chance.randint(0, 2)):
            self.acquire(len(self.truth))
        faults = self.faults()
        name = self.chance.choice(list(faults))
        time.sleep(self.chance.uniform(0, 0.6))
        faults[name]()
        self.counts[name] = self.counts.get(name, 0) + 1
        self.check_visible(number)

    # What must hold

    def check_visible(self, number: int) -> None:
        """Whatever is visible is whole: its manifest names what is there, byte for byte."""
        with contextlib.suppress(ScopeAgentError):  # the store itself may just have been killed
            for dataset in self.far.datasets() if number % 50 == 49 else []:
                self.far.record(dataset)

    def converge(self, seconds: float = 180) -> None:
        """No more faults: everything must be verified, once, every event be published and nothing stay behind."""
        between = self.between
        between.frozen, between.cut_after, between.crawl_s, between.say = False, None, None, []
        (self.folder / "skew").write_text("0")
        deadline = time.monotonic() + seconds
        while (left := self.left()) is not None:
            assert time.monotonic() < deadline, left
            self.keep_running()
            time.sleep(0.5)
        self.daemon.terminate()
        assert self.daemon.wait(15) == 0
        held: dict[str, list[str]] = {}
        ids: list[str] = []
        for dataset in self.far.datasets():
            record = self.far.record(dataset)
            ids.append(record["id"])
            for file in record["files"]:
                if file["role"] == "data":
                    held.setdefault(Path(file["path"]).name, []).append(file["source_sha256"])
        assert len(ids) == len(set(ids)), "an acquisition is there twice"
        for name, digest in self.truth.items():
            self.check_file(name, digest, held.get(name, []))
        self.check_outbox()
        left = self.far.left_behind(self.removed)
        assert not left, f"orphaned uploads: {left}"

    def check_file(self, name: str, digest: str, held: list[str]) -> None:
        path = self.folder / "images" / name
        now = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else self.changed.get(name, digest)
        versions = {digest, now} if name in self.replaced else {digest}
        # A file that was changed after it was verified is another acquisition, when its times show it.
        assert set(held) <= versions, f"{name}: bytes that never were a whole file"
        assert held or name in self.removed, f"{name} is lost"
        assert len(held) == len(set(held)), f"{name} came {len(held)} times with the same bytes"

    def left(self) -> str | None:
        """What still is to be done; None when nothing is."""
        with contextlib.suppress(ScopeAgentError):
            outbox = Outbox.open(self.folder / "state" / "outbox.sqlite")
            try:
                entries = outbox.newest(10_000)
                seen = {Path(file.path).name for entry in entries for file in entry.acquisition.files}
                missing = set(self.truth) - seen - self.removed
                open_ones = [(e.acquisition.name, e.acquisition.state.value, e.error) for e in entries
                             if e.acquisition.state not in self.ends(e.acquisition)]  # fmt: skip
                rest = [missing, open_ones, outbox.orphans(), [row.id for row in outbox.unpublished(0, 10)]]
                return f"missing, open, orphans, unpublished: {rest}" if any(rest) else None
            finally:
                outbox.close()
        return "the outbox cannot be read yet"

    def ends(self, acquisition: Acquisition) -> tuple[str, ...]:
        gone = any(Path(file.path).name in self.removed for file in acquisition.files)
        return ("verified", "released", "rejected") if gone else ("verified", "released")

    def check_outbox(self) -> None:
        outbox = Outbox.open(self.folder / "state" / "outbox.sqlite")
        try:
            assert outbox.check() == []
        finally:
            outbox.close()


def small_disk(place: Path, mib: int) -> Path | None:
    """A disk of its own in memory, where we may mount one; None where not."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "scope-agent-faults", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        return None
    return place


def campaign(folder: Path, rounds: int, seed: int, tell: Callable[[str], None], far: str = "facility") -> Site:
    """So many rounds, then convergence. Leaves the folder where something did not hold."""
    site = Site(folder, seed, far)
    try:
        site.start_daemon()
        for number in range(rounds):
            site.round(number)
            if number % 50 == 49:
                tell(f"{far}: {number + 1} rounds, {len(site.truth)} files, {site.counts}")
        site.converge(180 + rounds)
    finally:
        site.end()
    return site
