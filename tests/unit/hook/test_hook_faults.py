"""Whatever fails in the hook, the acquisition goes on untouched and the loss is counted."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import useq

import agent.hook.journal as journal_module
import agent.hook.journal_file as file_module
from agent.hook import attach, wiring
from agent.hook.journal import Journal
from agent.hook.recorder import Recorder
from agent.sources.events import FinishReason, RunFinished
from agent.sources.journal import JournalSource, read_run

SEQUENCE = useq.MDASequence(channels=["DAPI", "FITC"], time_plan={"interval": 0, "loops": 10})
FRAMES = 20


@pytest.fixture
def core():
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    core.loadSystemConfiguration()
    core.setProperty("Camera", "OnCameraCCDXSize", 64)
    core.setProperty("Camera", "OnCameraCCDYSize", 64)
    core.setExposure(1)
    core.mda.engine.use_hardware_sequencing = False
    yield core
    core.unloadAllDevices()


def _attached(core, spool) -> Journal:
    attach(core, spool)
    return wiring._recorders[core.mda].journal


def _run(core, sequence=SEQUENCE) -> int:
    """How many frames the user's own listener saw."""
    seen = []
    core.mda.events.frameReady.connect(lambda *_: seen.append(1))
    core.mda.run(sequence)
    assert str(core.mda.status.phase) == "idle"
    return len(seen)


def _told(spool: Path) -> RunFinished:
    events = JournalSource(spool).poll()
    return next(one for one in events if isinstance(one, RunFinished))


def _kinds(spool: Path) -> list[str]:
    return [line["k"] for line in _lines(spool)]


def _lines(spool: Path) -> list[dict]:
    return [json.loads(line) for path in sorted(spool.iterdir()) for line in path.read_text().splitlines()]


def test_every_callback_fails(core, tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise SystemExit("a bug")

    for method in (*wiring.RUN_SIGNALS.values(), *wiring.CORE_SIGNALS.values(), "ended"):
        monkeypatch.setattr(Recorder, method, broken)
    journal = _attached(core, tmp_path)
    assert _run(core) == FRAMES
    assert str(core.mda.status.finish_reason) == "completed"
    assert journal.lost >= FRAMES
    journal.close()
    assert set(_kinds(tmp_path)) == {"journal", "attached", "lost"}


def test_frames_that_cannot_be_encoded_are_counted(core, tmp_path, monkeypatch):
    encode = journal_module.encode

    def only_others(data):
        if isinstance(data, dict) and "ms" in data:
            raise ValueError("cannot encode")
        return encode(data)

    monkeypatch.setattr(journal_module, "encode", only_others)
    journal = _attached(core, tmp_path)
    assert _run(core) == FRAMES
    journal.close()
    end = _told(tmp_path)
    assert (end.reason, end.frames, end.lost) == (FinishReason.COMPLETED, FRAMES, FRAMES)
    assert f"{FRAMES} frames were acquired but not journaled" in read_run(end.span).notes


def test_a_start_that_cannot_be_encoded_still_begins_the_run(core, tmp_path, monkeypatch):
    encode = journal_module.encode

    def only_bare(data):
        if isinstance(data, dict) and "summary" in data:
            raise ValueError("cannot encode")
        return encode(data)

    monkeypatch.setattr(journal_module, "encode", only_bare)
    journal = _attached(core, tmp_path)
    assert _run(core) == FRAMES
    journal.close()
    capture = read_run(_told(tmp_path).span)
    assert len(capture.frames) == FRAMES
    assert capture.notes[0].startswith("start cannot be encoded")


def test_a_descriptor_closed_by_others_never_writes_into_their_file(core, tmp_path):
    spool, user_file = tmp_path / "spool", tmp_path / "user.raw"
    journal = _attached(core, spool)
    core.mda.run(SEQUENCE)
    _written(spool, "finished")
    stolen = journal._file._fd
    taken = os.open(user_file, os.O_WRONLY | os.O_CREAT)
    os.dup2(taken, stolen)
    core.mda.run(SEQUENCE)
    journal.close()
    os.close(taken)
    os.close(stolen)
    assert user_file.read_bytes() == b""
    ends = [one for one in JournalSource(spool).poll() if isinstance(one, RunFinished)]
    assert [(one.frames, one.lost) for one in ends] == [(FRAMES, 0)] * 2


def _written(spool: Path, kind: str) -> None:
    until = time.monotonic() + 5
    while kind not in _kinds(spool):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_full_disk_loses_nothing_that_fits_the_queue(core, tmp_path, monkeypatch):
    write, full = os.write, True
    monkeypatch.setattr(journal_module, "RETRY_S", 0.05)
    journal = _attached(core, tmp_path)
    _written(tmp_path, "attached")
    monkeypatch.setattr(file_module.os, "write", lambda fd, data: _partly(write, fd, data) if full else write(fd, data))
    assert _run(core) == FRAMES
    time.sleep(0.2)
    full = False
    journal.close()
    end = _told(tmp_path)
    assert (end.reason, end.frames, end.lost) == (FinishReason.COMPLETED, FRAMES, 0)
    numbers = [line["n"] for line in _lines(tmp_path)]
    assert numbers == list(range(len(numbers)))


def _partly(write, fd: int, data: bytes) -> int:
    """A disk that takes a byte, then nothing."""
    if len(data) % 2:
        return write(fd, data[:1])
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_spool_that_cannot_be_made_costs_entries_only_beyond_the_queue(core, tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "QUEUE_LIMIT", 15)
    monkeypatch.setattr(journal_module, "RETRY_S", 0.05)
    blocked = tmp_path / "spool"
    blocked.write_text("a file is in the way")
    journal = _attached(core, blocked)
    assert _run(core) == FRAMES
    assert journal.lost > FRAMES - 15
    blocked.unlink()
    journal.close()
    lost = [line["d"]["lost"] for line in _lines(blocked) if line["k"] == "lost"]
    assert lost[-1] == journal.lost


def test_a_spool_that_vanishes_in_a_run_leaves_the_rest_of_it_and_the_loss(core, tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "RETRY_S", 0.05)
    spool = tmp_path / "spool"
    journal = _attached(core, spool)
    seen = []

    def vanish(*_: object) -> None:
        seen.append(1)
        if len(seen) == 10:
            _written(spool, "frame")
            shutil.rmtree(spool)

    core.mda.events.frameReady.connect(vanish)
    core.mda.run(SEQUENCE)
    assert (len(seen), str(core.mda.status.finish_reason)) == (FRAMES, "completed")
    journal.close()
    end = _told(spool)
    assert (end.reason, end.frames) == (FinishReason.COMPLETED, FRAMES)
    capture = read_run(end.span)
    assert 10 <= len(capture.frames) < FRAMES
    assert len(capture.frames) + capture.bare == FRAMES
    assert any("were acquired but not journaled" in note for note in capture.notes)


def test_a_run_that_fails_before_its_start_is_told(core, tmp_path):
    journal = _attached(core, tmp_path)

    class Broken(type(core.mda.engine)):
        def setup_sequence(self, sequence):
            raise RuntimeError("no light")

    core.mda.set_engine(Broken(core))
    with pytest.raises(RuntimeError, match="no light"):
        core.mda.run(SEQUENCE)
    journal.close()
    end = _told(tmp_path)
    assert (end.reason, end.frames) == (FinishReason.ERRORED, 0)
    assert "the acquisition software reported: RuntimeError('no light')" in read_run(end.span).notes


def test_a_run_that_breaks_off_says_why(core, tmp_path):
    journal = _attached(core, tmp_path)
    seen = []

    class Broken(type(core.mda.engine)):
        def setup_event(self, event):
            super().setup_event(event)
            seen.append(1)
            if len(seen) == 5:
                raise RuntimeError("the stage does not answer")

    core.mda.set_engine(Broken(core))
    with pytest.raises(RuntimeError, match="does not answer"):
        core.mda.run(SEQUENCE)
    journal.close()
    end = _told(tmp_path)
    assert (end.reason, end.frames) == (FinishReason.ERRORED, 4)
    assert any("the stage does not answer" in note for note in read_run(end.span).notes)
    # And the next run is a run like any other.
    core.mda.set_engine(type(core.mda.engine).__mro__[1](core))
    assert _run(core) == FRAMES
    journal.close()
    ends = [one for one in JournalSource(tmp_path).poll() if isinstance(one, RunFinished)]
    assert ends[-1].reason is FinishReason.COMPLETED


def test_a_run_whose_finish_signal_is_lost_is_told(core, tmp_path):
    journal = _attached(core, tmp_path)

    class Broken(type(core.mda.engine)):
        def teardown_sequence(self, sequence):
            raise RuntimeError("stage stuck")

    core.mda.set_engine(Broken(core))
    core.mda.run(SEQUENCE)
    journal.close()
    end = _told(tmp_path)
    assert (end.reason, end.frames) == (FinishReason.COMPLETED, FRAMES)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_neither_holds_the_lock_nor_writes_the_parents_lines(tmp_path):
    code = f"""
import os, sys, time
from pathlib import Path
from agent.hook.journal import Journal
journal = Journal(Path({str(tmp_path)!r}))
journal.put("a", {{}}, urgent=True)
time.sleep(0.5)
child = os.fork()
journal.put("child" if child == 0 else "parent", {{}})
if child:
    os.kill(os.getpid(), 9)
print(os.getpid(), flush=True)
time.sleep(0.5)
journal.close()
"""
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        first = min(tmp_path.iterdir())
        from agent.sources.liveness import writer_lives

        process.wait()
        assert not writer_lives(first)
        assert str(child) not in first.name
        process.stdout.read()
    assert _kinds(tmp_path) == ["journal", "a", "journal", "child"]


def test_a_core_dropped_while_its_thread_calls_back_does_not_end_the_process(tmp_path):
    code = f"""
from pymmcore_plus import CMMCorePlus
from agent.hook import attach
for _ in range(60):
    core = CMMCorePlus()
    attach(core, {str(tmp_path)!r})
    core.loadSystemConfiguration()
    del core
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "loaded" in _kinds(tmp_path)
