"""Plays a recording of a real run again: its journal line by line, its files growing with its frames.

    python -m tests.player NAME KIND OUTPUT     records tests/acquire.py KIND writing OUTPUT into tests/recordings/NAME

A recording is a folder: journal.jsonl, in which `{folder}` stands for where the files were written, and files/.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.hook.journal_file import JournalFile

RECORDINGS = Path(__file__).parent / "recordings"
FOLDER = "{folder}"


class Recording:
    """One recorded process."""

    def __init__(self, name: str) -> None:
        self.root = RECORDINGS / name
        self.journal = (self.root / "journal.jsonl").read_text("utf-8").splitlines(keepends=True)

    @property
    def frames(self) -> int:
        return sum('"k":"frame"' in line for line in self.journal)

    def files(self) -> list[Path]:
        """Relative to where they were written."""
        root = self.root / "files"
        return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())

    def play(self, spool: Path, folder: Path, *, upto: int | None = None) -> Path:
        """All of it, or the first `upto` lines of the journal, and then the process is dead."""
        player = self.steps(spool, folder)
        path = next(player)
        for number, path in enumerate(player, 2):  # noqa: B007
            if number == upto:
                break
        player.close()
        return path

    def steps(self, spool: Path, folder: Path) -> Iterator[Path]:
        """The journal's path after each of its lines; until it is closed, the writer lives."""
        journal = JournalFile(spool)
        done = 0
        try:
            for line in self.journal:
                if '"k":"frame"' in line:
                    done += 1
                    self._grow(folder, done / self.frames)
                if '"k":"finished"' in line:
                    self._grow(folder, 1)
                journal.write(line.replace(FOLDER, json.dumps(str(folder))[1:-1]).encode())
                yield journal.path
        finally:
            journal.close()

    def _grow(self, folder: Path, part: float) -> None:
        for name in self.files():
            whole = (self.root / "files" / name).read_bytes()
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            there = path.stat().st_size if path.exists() else 0
            with path.open("ab") as file:
                file.write(whole[there : round(len(whole) * part)])


def record(name: str, kind: str, output: str) -> None:
    """Run an acquisition for real and keep what it left."""
    from tests.lab import acquire

    with tempfile.TemporaryDirectory() as made:
        folder, spool = Path(made) / "data", Path(made) / "spool"
        folder.mkdir()
        process = acquire(kind, folder / output, spool=spool)
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(errors)
        to = RECORDINGS / name
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(folder, to / "files")
        (journal,) = spool.glob("*.jsonl")
        text = journal.read_text("utf-8").replace(json.dumps(str(folder))[1:-1], FOLDER)
        (to / "journal.jsonl").write_bytes(_impersonal(text.encode()))
        for path in (to / "files").rglob("*.tif*"):
            path.write_bytes(_impersonal(path.read_bytes()))


def _impersonal(body: bytes) -> bytes:
    """Without this computer's own names, each replaced by as many letters: offsets must not move."""
    for name in (sys.prefix, sys.base_prefix, str(Path.home()), str(RECORDINGS.parent.parent), platform.platform()):
        body = body.replace(name.encode(), ("/" + "x" * (len(name) - 1)).encode())
    return body


if __name__ == "__main__":
    record(*sys.argv[1:4])
