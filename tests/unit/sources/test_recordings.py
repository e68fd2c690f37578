"""Recorded processes, played again: pymmcore-plus with the hook, Micro-Manager Studio with its tap."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.formats import datasets_written_to, planes_on_disk
from agent.sources.events import FinishReason, Plan, RunFinished, RunProgress, RunStarted
from agent.sources.journal import JournalSource, read_run
from agent.sources.liveness import LOCK_OFFSET, writer_lives
from agent.testing.clock import HeldClock
from tests.player import RECORDINGS, Recording


@pytest.fixture
def recording() -> Recording:
    return Recording("pymmcore-plus-two-positions")


def test_a_played_run_is_told_as_it_was(recording, tmp_path):
    spool, folder = tmp_path / "spool", tmp_path / "data"
    recording.play(spool, folder)
    started, end = (one for one in JournalSource(spool).poll() if not isinstance(one, RunProgress))
    assert started.plan == Plan(6, (2, 1, 3), ("p", "c", "z"))
    assert (end.reason, end.frames) == (FinishReason.COMPLETED, 6)
    assert Path(started.outputs[0]) == folder / "cells"
    capture = read_run(end.span)
    assert capture.frames.index == [(p, 0, z) for p in range(2) for z in range(3)]
    for name in recording.files():
        original = (recording.root / "files" / name).read_bytes()
        assert hashlib.sha256((folder / name).read_bytes()).digest() == hashlib.sha256(original).digest()
    assert sum(planes_on_disk(one) for one in datasets_written_to(folder / "cells.ome.tiff")) == 6


def test_a_player_that_stops_is_a_process_that_died(recording, tmp_path):
    spool, folder, clock = tmp_path / "spool", tmp_path / "data", HeldClock()
    source, steps = JournalSource(spool, {}, clock), recording.steps(spool, folder)
    for _ in range(8):
        path = next(steps)
    assert [type(one) for one in source.poll()] == [RunStarted, RunProgress]
    assert writer_lives(path)
    steps.close()
    events = source.poll()
    clock.pass_(3)
    (end,) = events + source.poll()
    assert (end.reason, end.frames) == (FinishReason.ABORTED, 3)
    whole = [(recording.root / "files" / name).stat().st_size for name in recording.files()]
    assert [(folder / name).stat().st_size < size for name, size in zip(recording.files(), whole, strict=True)]


STUDIO = RECORDINGS / "micro-manager-studio"


def _heard(name: str, spool: Path) -> tuple[list, list]:
    shutil.copy(STUDIO / name, spool)
    clock = HeldClock()
    source = JournalSource(spool, {}, clock)
    events = source.poll()
    for _ in range(2):
        clock.pass_(3)
        events += source.poll()
    return [one for one in events if isinstance(one, RunStarted)], [
        one for one in events if isinstance(one, RunFinished)
    ]


def test_the_tap_of_micro_manager_studio(tmp_path):
    starts, ends = _heard("three-acquisitions.jsonl", tmp_path)
    assert [one.name for one in starts] == ["cells_1", "cells_2", "cells_3"]
    assert {one.plan for one in starts} == {Plan(6, (3, 1, 2, 1), ("t", "p", "c", "z"))}
    assert starts[0].software["application"] == "Micro-Manager Studio"
    # Fewer images than planned may have been the user's wish: Studio does not say.
    reasons = [FinishReason.COMPLETED, FinishReason.UNKNOWN, FinishReason.UNKNOWN]
    assert [(one.reason, one.frames) for one in ends] == list(zip(reasons, (6, 3, 1), strict=True))
    capture = read_run(ends[0].span)
    assert capture.frames.index == [(t, 0, c, 0) for t in range(3) for c in range(2)]
    emission = next(one for one in capture.summary["devices"] if one["label"] == "Emission")
    assert emission["properties"] == [{"name": "Label", "value": 'Chroma "HQ535" C:\\xµ'}]
    assert any("cache, not live: Camera" in note for note in capture.notes)


def test_a_studio_that_was_killed(tmp_path):
    starts, ends = _heard("killed.jsonl", tmp_path)
    assert len(starts) == len(ends) == 3
    assert (ends[-1].reason, ends[-1].frames) == (FinishReason.ABORTED, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="there Java has the same kind of lock")
def test_java_holds_another_kind_of_lock(tmp_path):
    journal = tmp_path / "a.jsonl"
    journal.touch()
    code = f"""
import fcntl, sys
file = open({str(journal)!r}, "r+b")
fcntl.lockf(file, fcntl.LOCK_EX, 1, {LOCK_OFFSET})
print("held", flush=True)
sys.stdin.readline()
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as process:
        process.stdout.readline()
        assert writer_lives(journal)
        process.communicate("\n")
    assert not writer_lives(journal)
