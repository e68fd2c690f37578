"""Walks of a large folder as the daemon makes them: whole, whole again, and of what changed in between.

    python benchmarks/walk.py [--files 1000000] [--folders 1000] [--dir FOLDER] [--seconds 900]

Prints a line for each: seconds of work, files a second, the longest single poll (the daemon's other work waits for
it), and the memory of the process at its peak, beside that of the same process with an empty folder. The process is
as polite as the daemon (nice 10). Makes and removes the files: a million need a million inodes and some minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agent.sources.events import FileSeen
from agent.sources.folder import FolderSource
from agent.sources.settings import WatchSettings

_NEW = 10


def make(root: Path, files: int, folders: int) -> None:
    """`files` empty files, spread over folders."""
    each = files // folders
    for number in range(folders):
        folder = root / f"{number % 20:02}" / f"run{number:05}"
        folder.mkdir(parents=True)
        for index in range(each):
            os.close(os.open(folder / f"img_{index:06}.tif", os.O_CREAT | os.O_WRONLY))


def peak_mib() -> float:
    """Most memory that this process ever held, MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Walker:
    """A folder source in polling mode, as the daemon would call it."""

    def __init__(self, root: Path, limit_s: float) -> None:
        self.source = FolderSource(WatchSettings(path=root, mode="poll", poll_s=1.0))
        self.limit_s = limit_s
        self.source.start()

    def until(self, done: Callable[[int], bool]) -> tuple[float, float, int]:
        """(seconds in polls, longest poll, files told) until `done(told)` and the source is idle."""
        work = longest = 0.0
        told, end = 0, time.monotonic() + self.limit_s
        while time.monotonic() < end:
            began = time.process_time(), time.monotonic()
            told += sum(isinstance(event, FileSeen) for event in self.source.poll())
            work += time.process_time() - began[0]
            longest = max(longest, time.monotonic() - began[1])
            if done(told) and self.source.idle:
                return work, longest, told
            time.sleep(0.0 if not self.source.idle else 0.05)
        raise SystemExit(f"not within {self.limit_s:.0f} s: {told} files told")


def measure(root: Path, files: int, limit_s: float) -> None:
    """In a process of its own: memory is that of the walks alone."""
    os.nice(10)
    empty = tempfile.mkdtemp()
    Walker(Path(empty), limit_s).until(lambda _: True)
    Path(empty).rmdir()
    base = peak_mib()
    walker = Walker(root, limit_s)
    _say("first whole walk", files, walker.until(lambda told: told >= files), base)
    for number, folder in zip(range(_NEW), sorted(root.glob("*/*")), strict=False):
        (folder / f"new{number}.tif").write_bytes(b"1")
    _say(f"walk of what changed ({_NEW} files)", files, walker.until(lambda told: told >= _NEW), base)
    walker.source._walks.again()
    _say("second whole walk", files, walker.until(lambda _: True), base)


def _say(what: str, files: int, measured: tuple[float, float, int], base: float) -> None:
    work, longest, told = measured
    print(
        f"{what:36} {work:8.2f} s of processor  {files / work:10,.0f} files/s  longest poll {longest * 1000:6.0f} ms  "
        f"told {told:9,}  peak {peak_mib():6.0f} MiB ({base:.0f} without files)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folders", type=int, default=1_000)
    parser.add_argument("--dir", type=Path, default=None, help="where the files are made")
    parser.add_argument("--seconds", type=float, default=900, help="most for one walk")
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure is not None:
        measure(asked.measure, asked.files, asked.seconds)
        return
    folder = Path(tempfile.mkdtemp(prefix="walk-", dir=asked.dir))
    try:
        began = time.monotonic()
        make(folder, asked.files, asked.folders)
        print(
            f"{asked.files:,} files in {asked.folders:,} folders made in {time.monotonic() - began:.0f} s", flush=True
        )
        time.sleep(3)
        again = [sys.executable, __file__, "--measure", str(folder), "--files", str(asked.files)]
        subprocess.run([*again, "--seconds", str(asked.seconds)], check=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
