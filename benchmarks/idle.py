"""The idle daemon: memory, processor, disk writes, start to ready. Run it on a quiet machine, on a disk:

    python benchmarks/idle.py [--files 100000] [--folders 10] [--minutes 6] [--dir FOLDER]

The folders hold data that was delivered long ago (rows in the outbox, as after years of use), the broker and the
facility are not there. Prints one table with the bars beside it; exit 1 when one is missed. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from agent.acquisition import Acquisition, FoundBy, State
from agent.outbox import NewFile, Outbox, Sent
from agent.sources.identity import identity_of

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
CONFIG = """site = "bench"
instrument = "idle"
state = "state"
[hook]
spool = "spool"
logs = []
[delivery]
url = "http://127.0.0.1:9"
{watches}"""
HASH = "a" * 64
DATASET = 100
"""Files of one acquisition."""


def build(folder: Path, files: int, folders: int) -> None:
    """The folders, and an outbox that knows every file as verified."""
    watched = [folder / "images" / f"{n:02}" for n in range(folders)]
    watches = "".join(f'[[watch]]\npath = "{path}"\n' for path in watched)
    (folder / "config.toml").write_text(CONFIG.format(watches=watches))
    (folder / "state").mkdir()
    outbox = Outbox.open(folder / "state" / "outbox.sqlite")
    each = files // folders // DATASET
    with outbox._transaction():
        for number in range(folders * each):
            place = watched[number // each] / f"2026-{number % 12 + 1:02}" / f"run-{number}"
            run = _run(number)
            outbox.save(run, dataset=f"d/{number}", files=list(_files(place)))
            rows = outbox.files_left(run.id, DATASET)
            outbox.sent([Sent(row, HASH, HASH, row.size, 1) for row in rows])
            outbox.verified(replace(run, state=State.VERIFIED), [], 1)
    outbox.close()


def _run(number: int) -> Acquisition:
    return Acquisition(f"id-{number:09}", f"watch:{number}", FoundBy.WATCH, "cells", State.DELIVERING, number)


def _files(place: Path):
    place.mkdir(parents=True)
    for n in range(DATASET):
        path = place / f"image_{n:04}.tif"
        path.write_bytes(b"II*\0" + bytes(60))
        size, mtime_ns, file_id = identity_of(path.lstat())
        yield NewFile(f"data/{path.name}", str(path), "data", size, mtime_ns, file_id)


def seen(pid: int) -> dict[str, float]:
    """Seconds of processor, bytes written, MB resident of a process, by /proc."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "cpu": (int(stat[11]) + int(stat[12])) / TICKS,
        "written": int(io["write_bytes"]) - int(io["cancelled_write_bytes"]),
        "syscalls": int(io["syscw"]),
        "rss": int(status["VmRSS"].split()[0]) / 1000,
        "peak": int(status["VmHWM"].split()[0]) / 1000,
        "threads": int(status["Threads"]),
    }


def start(folder: Path) -> tuple[subprocess.Popen, float]:
    """The daemon, and the seconds from its start until it says that it is ready."""
    began = time.monotonic()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "agent", "run", "-c", str(folder / "config.toml")],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in daemon.stderr:
        if "is ready" in line:
            return daemon, time.monotonic() - began
    raise SystemExit("the daemon ended before it was ready")


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--files", type=int, default=100_000)
    asked.add_argument("--folders", type=int, default=10)
    asked.add_argument("--minutes", type=float, default=6)
    asked.add_argument("--settle", type=float, default=30, help="seconds for the first walk")
    asked.add_argument("--dir", type=Path)
    options = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="idle-", dir=options.dir))
    try:
        build(folder, options.files, options.folders)
        start(folder)[0].terminate()  # once before, as after any installation: bytecode is compiled
        time.sleep(5)
        daemon, ready = start(folder)
        time.sleep(options.settle)
        before, began = seen(daemon.pid), time.monotonic()
        time.sleep(options.minutes * 60)
        after, took = seen(daemon.pid), time.monotonic() - began
        beat = (folder / "state" / "heartbeat.json").stat().st_size
        problems = json.loads((folder / "state" / "heartbeat.json").read_text())["problems"]
        daemon.terminate()
        daemon.wait(10)
        return report(options, before, after, took, ready, beat, problems)
    finally:
        shutil.rmtree(folder)


def report(options, before, after, took, ready, beat, problems) -> int:
    beats = took / 10 + 1
    # One block of the file and the file system's own for each heartbeat.
    allowed = beats * (max(beat, 4096) + 3 * 4096)
    rows = [
        ("memory, resident, MB", after["rss"], 120),
        ("memory, peak, MB", after["peak"], 120),
        ("processor, % of one core", 100 * (after["cpu"] - before["cpu"]) / took, 1),
        ("start to ready, s", ready, 3),
        (f"disk writes, KiB in {took:.0f} s", (after["written"] - before["written"]) / 1024, allowed / 1024),
    ]
    print(f"{options.files:,} files in {options.folders} folders; problems: {problems or 'none'}")
    for name, value, bar in rows:
        print(f"  {name:32} {value:10.2f}   bar {bar:8.1f}   {'ok' if value < bar else 'MISSED'}")
    print(f"  {'threads':32} {after['threads']:10}")
    print(f"  {'write calls a second':32} {(after['syscalls'] - before['syscalls']) / took:10.2f}")
    return int(any(value >= bar for _, value, bar in rows))


if __name__ == "__main__":
    sys.exit(main())
