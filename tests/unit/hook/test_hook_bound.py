"""The journals stay within their size while nobody reads them, and what went is written down."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agent.hook import bound
from agent.hook.gaps import TELL_NS
from agent.hook.journal import Journal
from agent.hook.spool import default_limit
from agent.sources.events import FinishReason, RunFinished, RunProgress, RunStarted, WatchLost
from agent.sources.journal import JournalSource, read_run

FRAMES = 200


def _run(journal: Journal, run: int = 1, frames: int = FRAMES, at_ns: int = 0, step_ns: int = 1) -> None:
    entry = {"run": run, "core": 1, "sequence": {"time_plan": {"interval": 0, "loops": frames}}, "sizes": {"t": frames}}
    journal.put("started", entry)
    for t in range(frames):
        journal.put(
            "frame", {"run": run, "i": {"t": t}, "ch": ["Channel", "DAPI"]}, at_ns + t * step_ns if at_ns else 0
        )
    journal.put("finished", {"run": run, "reason": "completed", "frames": frames})


def _old(spool: Path, runs: int = 1) -> Path:
    """A journal that nobody writes any more."""
    time.sleep(0.002)  # names are milliseconds
    journal = Journal(spool)
    for run in range(1, runs + 1):
        _run(journal, run)
    while not journal._flush():
        pass
    path = journal._file.path
    journal.close()
    return path


def _told(spool: Path, offsets: dict[str, int] | None = None) -> list[object]:
    return JournalSource(spool, offsets or {}).poll()


def _ends(spool: Path, offsets: dict[str, int] | None = None) -> list[RunFinished]:
    return [one for one in _told(spool, offsets) if isinstance(one, RunFinished)]


def test_the_oldest_details_go_first_and_the_gap_is_told(tmp_path):
    paths = [_old(tmp_path, runs=2) for _ in range(3)]
    before = _ends(tmp_path)
    sizes = [path.stat().st_size for path in paths]
    assert bound.shrink(tmp_path, sum(sizes)) == []
    assert [path.stat().st_size for path in paths] == sizes

    assert bound.shrink(tmp_path, sum(sizes) - 1000) == []
    after = [path.stat().st_size for path in paths]
    assert after[0] < sizes[0] // 10
    assert after[1:] == sizes[1:]
    # The same runs, with the same frames, at the same offsets.
    ends = _ends(tmp_path)
    assert ends == before
    bare = read_run(ends[1].span)
    assert (len(bare.frames), bare.bare, bare.reason) == (0, FRAMES, FinishReason.COMPLETED)
    assert any(f"the details of {FRAMES} frames are gone" in note for note in bare.notes)
    whole = read_run(ends[2].span)
    assert (len(whole.frames), whole.bare, whole.notes) == (FRAMES, 0, [])


def test_a_daemon_that_knows_offsets_from_before_goes_on_at_the_same_run(tmp_path):
    path = _old(tmp_path, runs=3)
    source = JournalSource(tmp_path)
    starts = [one for one in source.poll() if isinstance(one, RunStarted)]
    bound.compact(path)
    again = _told(tmp_path, {path.name: starts[1].span.start})
    assert [one.origin for one in again if isinstance(one, RunStarted)] == [one.origin for one in starts[1:]]
    in_the_frames = starts[1].span.start + 3000
    assert [type(one).__name__ for one in _told(tmp_path, {path.name: in_the_frames})] == ["RunStarted", "RunFinished"]
    assert _told(tmp_path, source.durable_offsets()) == []


def test_a_tail_survives_that_its_journal_is_compacted_under_it(tmp_path, monkeypatch):
    path = _old(tmp_path)
    monkeypatch.setattr("agent.sources.journal.POLL_BYTES", 4000)
    monkeypatch.setattr("agent.sources.journal_tail.CHUNK", 1000)
    source = JournalSource(tmp_path)
    first = source.poll()
    assert isinstance(first[-1], RunProgress)
    assert first[-1].frames < FRAMES
    bound.compact(path)
    (end,) = (one for one in source.poll() if isinstance(one, RunFinished))
    assert (end.reason, end.frames) == (FinishReason.COMPLETED, FRAMES)
    assert read_run(end.span).bare == FRAMES


def test_compacting_twice_changes_nothing_more(tmp_path):
    path = _old(tmp_path)
    size = bound.compact(path)
    content = path.read_bytes()
    assert bound.compact(path) == size
    assert path.read_bytes() == content


def test_a_journal_that_is_being_written_is_left_alone(tmp_path):
    journal = Journal(tmp_path)
    _run(journal)
    while not journal._flush():
        pass
    size = journal._file.path.stat().st_size
    assert bound.shrink(tmp_path, 100) == []
    assert journal._file.path.stat().st_size == size
    journal.close()


def test_when_details_are_not_enough_whole_journals_go_and_the_daemon_is_told(tmp_path):
    old = [_old(tmp_path) for _ in range(4)]
    limit = sum(bound.compact(path) for path in old) - 10
    journal = Journal(tmp_path, limit)
    _run(journal, 1, 2)
    deadline = time.monotonic() + 10
    while old[0].exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    journal.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) <= limit + 300
    lost = [one for one in _told(tmp_path) if isinstance(one, WatchLost)]
    assert len(lost) == 1
    assert "journals went unread" in lost[0].reason
    assert not list(tmp_path.glob("*.making"))


def test_one_run_beyond_the_limit_is_counted_frame_by_frame_without_details(tmp_path):
    journal = Journal(tmp_path, limit=20_000)
    now = time.time_ns()
    _run(journal, frames=2000, at_ns=now, step_ns=TELL_NS // 200)
    journal.close()
    (path,) = tmp_path.glob("*.jsonl")
    # What is left out is written down on the way, too: the process may be killed.
    assert path.read_text().count('"k":"gap"') > 5
    assert path.stat().st_size < 40_000
    (end,) = _ends(tmp_path)
    assert (end.reason, end.frames, end.lost) == (FinishReason.COMPLETED, 2000, 0)
    capture = read_run(end.span)
    assert 0 < len(capture.frames) < 1000
    assert len(capture.frames) + capture.bare == 2000


@pytest.mark.parametrize(("said", "mib"), [("3", 3), ("", 1024), ("much", 1024), ("0", 1)])
def test_the_limit_is_the_environments(monkeypatch, said, mib):
    monkeypatch.setenv("SCOPE_AGENT_SPOOL_MIB", said)
    assert default_limit() == mib << 20
