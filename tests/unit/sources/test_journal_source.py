"""The daemon's side of the journal, against the real writer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agent.errors import Damaged
from agent.hook.journal import Journal
from agent.sources.events import FinishReason, Plan, RunFinished, RunProgress, RunStarted, Span, WatchLost
from agent.sources.journal import JournalSource, prune, read_run
from agent.sources.liveness import writer_lives

SEQUENCE = {"channels": [{"config": "DAPI"}], "time_plan": {"interval": 0, "loops": 50}}


class HandClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def now_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now


class Writer:
    """Writes a journal as the hook does; `die` leaves it as a killed process would."""

    def __init__(self, spool: Path) -> None:
        self.journal = Journal(spool)

    def start(self, run: int = 1, core: int = 1, **more: object) -> None:
        entry = {"run": run, "core": core, "sequence": SEQUENCE, "sizes": {"t": 50, "c": 1}, **more}
        self.journal.put("started", entry)

    def frames(self, *indices: int, run: int = 1) -> None:
        for t in indices:
            self.journal.put("frame", {"run": run, "i": {"t": t, "c": 0}, "ch": ["Channel", "DAPI"]})

    def finish(self, frames: int, run: int = 1, reason: str = "completed", lost: int = 0) -> None:
        self.journal.put("finished", {"run": run, "reason": reason, "frames": frames, "lost": lost})

    def flush(self) -> Path:
        while not self.journal._flush():
            pass
        return self.journal._file.path

    def die(self) -> Path:
        path = self.flush()
        self.journal.close()
        return path


@pytest.fixture
def writer(tmp_path):
    writer = Writer(tmp_path)
    yield writer
    writer.journal.close()


def test_progress_is_told_once_a_poll_and_the_end_once(writer, tmp_path):
    source = JournalSource(tmp_path)
    writer.start(outputs=[str(tmp_path / "a.ome.tiff")])
    writer.frames(*range(10))
    path = writer.flush()
    started, progress = source.poll()
    assert isinstance(started, RunStarted)
    assert (started.origin, started.name) == (f"hook:{path.name}:1", "a")
    assert started.plan == Plan(50, (50, 1), ("t", "c"))
    assert progress == RunProgress(started.origin, progress.at_ns, 10)
    assert source.poll() == []
    assert source.durable_offsets() == {path.name: started.span.start}
    writer.frames(10)
    writer.finish(11)
    writer.flush()
    (end,) = source.poll()
    assert (end.origin, end.reason, end.frames) == (started.origin, FinishReason.COMPLETED, 11)
    assert end.span == Span(str(path), started.span.start, path.stat().st_size)
    assert source.durable_offsets() == {path.name: end.span.end}
    assert source.poll() == []


def test_after_a_restart_only_the_unfinished_run_is_told_again(writer, tmp_path):
    source = JournalSource(tmp_path)
    writer.start()
    writer.finish(0)
    writer.start(run=2)
    writer.frames(0, 1, run=2)
    writer.flush()
    before = source.poll()
    again = JournalSource(tmp_path, source.durable_offsets())
    told = again.poll()
    assert [type(one).__name__ for one in told] == ["RunStarted", "RunProgress"]
    assert told[0] == before[2]
    by_call = JournalSource(tmp_path, source.durable_offsets().__getitem__)
    assert by_call.poll() == told


def test_a_torn_last_line_waits_for_its_end(writer, tmp_path):
    source = JournalSource(tmp_path)
    writer.start()
    path = writer.flush()
    source.poll()
    line = json.dumps({"n": 2, "t": 5, "k": "frame", "d": {"run": 1, "i": {"t": 0}}}) + "\n"
    with path.open("a") as file:
        file.write(line[:20])
        file.flush()
        assert source.poll() == []
        file.write(line[20:])
    assert [one.frames for one in source.poll()] == [1]


def test_a_dead_writers_run_is_aborted_with_what_was_written(writer, tmp_path):
    clock = HandClock()
    source = JournalSource(tmp_path, {}, clock)
    writer.start()
    writer.frames(0, 1, 2)
    path = writer.flush()
    source.poll()
    clock.now += 5
    assert source.poll() == []  # quiet, but alive
    assert writer_lives(path)
    writer.die()
    with path.open("ab") as file:
        file.write(b'{"n":5,"t":')  # torn by the death
    clock.now += 1.1
    assert source.poll() == []  # a lock may be free for a moment
    clock.now += 2
    (end,) = source.poll()
    assert (end.reason, end.frames) == (FinishReason.ABORTED, 3)
    assert source.durable_offsets() == {path.name: path.stat().st_size}
    capture = read_run(end.span)
    assert (capture.reason, len(capture.frames), capture.finished_ns) == (FinishReason.ABORTED, 3, None)
    assert "ended without finishing" in capture.notes[0]
    clock.now += 5
    assert source.poll() == []


def test_damaged_lines_are_counted_as_lost_and_the_rest_is_read(writer, tmp_path):
    writer.start()
    writer.frames(0)
    path = writer.flush()
    with path.open("ab") as file:
        file.write(b"\0\0\0 not a line\n")
        file.write(b'{"n":9,"t":1,"k":"frame","d":{"run":"one"}}\n')
    writer.frames(1)
    writer.finish(3, lost=1)
    writer.flush()
    end = JournalSource(tmp_path).poll()[-1]
    assert (end.frames, end.lost) == (3, 2)
    capture = read_run(end.span)
    assert len(capture.frames) == 2
    assert "2 journal lines are damaged" in capture.notes


def test_two_cores_in_one_process_are_two_runs(writer, tmp_path):
    writer.start(run=1, core=1)
    writer.start(run=2, core=2)
    for t in range(3):
        writer.frames(t, run=1)
        writer.frames(t, t, run=2)
    writer.journal.put("property", {"core": 2, "dev": "Laser", "prop": "Power", "val": "5"})
    writer.finish(3, run=1)
    writer.finish(6, run=2)
    writer.flush()
    ends = [one for one in JournalSource(tmp_path).poll() if isinstance(one, RunFinished)]
    first, second = (read_run(one.span) for one in ends)
    assert [one.frames for one in ends] == [len(first.frames), len(second.frames)] == [3, 6]
    assert (first.changes, [one.value for one in second.changes]) == ([], ["5"])


def test_what_happens_outside_a_run_does_not_disturb(writer, tmp_path):
    for kind in ("attached", "loaded", "snapped", "live", "burst", "stopped", "lost", "a-kind-of-the-future"):
        writer.journal.put(kind, {"core": 1})
    writer.flush()
    assert JournalSource(tmp_path).poll() == []


def test_a_poll_is_bounded_and_the_next_goes_on(writer, tmp_path, monkeypatch):
    monkeypatch.setattr("agent.sources.journal.POLL_BYTES", 10_000)
    monkeypatch.setattr("agent.sources.journal_tail.CHUNK", 1_000)
    writer.start(notes=["a line longer than a chunk " * 100])
    writer.frames(*range(1000))
    writer.finish(1000)
    path = writer.flush()
    source, polls = JournalSource(tmp_path), []
    while not (polls and isinstance(polls[-1][-1], RunFinished)):
        polls.append(source.poll())
        assert polls[-1]
    assert len(polls) >= path.stat().st_size // 11_000
    assert polls[-1][-1].frames == 1000


def test_a_spool_that_is_away_is_said_once_and_recovers(writer, tmp_path):
    writer.start()
    writer.flush()
    away = tmp_path.with_name(tmp_path.name + "-away")
    source = JournalSource(tmp_path)
    assert len(source.poll()) == 1
    tmp_path.rename(away)
    (lost,) = source.poll()
    assert isinstance(lost, WatchLost)
    assert lost.root == str(tmp_path)
    assert source.poll() == []
    away.rename(tmp_path)
    writer.frames(0)
    writer.flush()
    assert [one.frames for one in source.poll()] == [1]


def test_a_journal_that_stays_away_ends_its_run(writer, tmp_path):
    clock = HandClock()
    source = JournalSource(tmp_path, {}, clock)
    writer.start()
    path = writer.flush()
    source.poll()
    path.unlink()
    assert source.poll() == []
    clock.now += 31
    (end,) = source.poll()
    assert end.reason is FinishReason.ABORTED


def test_the_spool_is_made_at_the_start(tmp_path):
    source = JournalSource(tmp_path / "a" / "b")
    source.start()
    assert source.poll() == []
    assert source.spool.is_dir()
    source.stop()


def test_no_run_at_an_offset_is_damaged(writer, tmp_path):
    writer.start()
    path = writer.flush()
    with pytest.raises(Damaged, match="no run starts at byte 3"):
        read_run(Span(str(path), 3))


def test_prune_takes_the_oldest_that_are_done_and_left(tmp_path):
    paths = []
    for _ in range(4):
        old = Writer(tmp_path)
        old.start()
        old.frames(*range(100))
        paths.append(old.flush() if len(paths) == 1 else old.die())
        time.sleep(0.002)  # names are milliseconds
    done = {path.name: path.stat().st_size for path in paths}
    done[paths[2].name] -= 1
    keep = sum(path.stat().st_size for path in paths)
    assert prune(tmp_path, keep, lambda name: done[name]) == []
    # The second is being written, the third is not done.
    assert prune(tmp_path, 0, lambda name: done[name]) == [paths[0].name, paths[3].name]
    assert sorted(path.name for path in tmp_path.iterdir()) == [paths[1].name, paths[2].name]


@pytest.mark.parametrize(
    "odd",
    [
        {"summary": {"image_infos": 7, "devices": "none"}},
        {"sequence": {"stage_positions": {"plate": 96}, "channels": ["DAPI"], "metadata": [1]}},
        {"sizes": {}, "sequence": {"stage_positions": [{"sequence": {"no": "such"}}]}},
    ],
)
def test_a_start_of_another_shape_is_still_a_run(writer, tmp_path, odd):
    writer.start(**odd)
    writer.frames(0)
    writer.finish(1)
    writer.flush()
    started, end = JournalSource(tmp_path).poll()
    assert isinstance(started, RunStarted)
    assert len(read_run(end.span).frames) == 1


def test_a_writer_that_takes_its_lock_late_is_heard(tmp_path):
    """The file exists a moment before its lock does: a probe in between must not silence it for good."""
    elsewhere = Writer(tmp_path / "elsewhere")
    elsewhere.start()
    lines = elsewhere.flush().read_bytes()
    elsewhere.journal.close()
    clock, path = HandClock(), tmp_path / "1-2-late.jsonl"
    path.touch()
    source = JournalSource(tmp_path, {}, clock)
    for _ in range(10):
        assert source.poll() == []
        clock.now += 1
    path.write_bytes(lines)
    clock.now += 1
    assert [type(event).__name__ for event in source.poll()] == ["RunStarted"]


def test_a_lock_that_is_free_for_a_moment_aborts_nothing(writer, tmp_path):
    clock = HandClock()
    source = JournalSource(tmp_path, {}, clock)
    writer.start()
    path = writer.flush()
    source.poll()
    fcntl = pytest.importorskip("fcntl", reason="flock is how the lock is held on POSIX")
    clock.now += 1.5
    fcntl.flock(writer.journal._file._fd, fcntl.LOCK_UN)
    assert source.poll() == []
    fcntl.flock(writer.journal._file._fd, fcntl.LOCK_EX)
    clock.now += 1.5
    assert source.poll() == []
    assert writer_lives(path)
