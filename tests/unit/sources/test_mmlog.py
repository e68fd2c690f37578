"""Runs found in the log of pymmcore-plus: of a real process without the hook, and of lines that it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from agent.sources.events import FinishReason, RunFinished, RunProgress, RunStarted
from agent.sources.mmlog import FOUND_BY, GRACE_S, PROBE_S, LogSource, default_folder
from agent.testing.clock import HeldClock

SCRIPT = """
import sys, time, useq
from pymmcore_plus import CMMCorePlus
core = CMMCorePlus()
core.loadSystemConfiguration()
core.setExposure(1)
names = {"pymmcore_widgets": {"save_name": "cells"}}
core.mda.run(useq.MDASequence(channels=["DAPI", "FITC"], time_plan={"interval": 0, "loops": 3}, metadata=names))
core.mda.run(useq.MDASequence(time_plan={"interval": 0, "loops": 20}))
core.mda.events.frameReady.connect(lambda *_: core.mda.cancel())
core.mda.run(useq.MDASequence(time_plan={"interval": 0.1, "loops": 5}))
core.mda.events.frameReady.disconnect()
print("next comes the last", flush=True)
core.mda.run(useq.MDASequence(time_plan={"interval": 0.05, "loops": 5000}))
"""


def _line(text: str, second: float = 0, thread: str = "0x7f") -> bytes:
    return f"2026-11-22T17:26:{second:06.3f}    tid{thread} [INFO,pymmcore-plus] {text}\n".encode()


def _run(second: float, thread: str = "0x7f", frames: int = 2, *, end: bool = True) -> bytes:
    lines = [_line("MDA Started: time_plan=...", second, thread)]
    lines += [_line(f"index={{'t': {t}}} min_start_time=0.0", second, thread) for t in range(frames)]
    lines += [_line("MDA Finished: time_plan=...", second, thread)] if end else []
    return b"".join(lines)


class Bench:
    """A log in a folder of its own, with a clock in the hand."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pymmcore-plus.log"
        self.clock, self.asked, self.hooked = HeldClock(), [], lambda _at: False
        self.source = self.again({})

    def again(self, offsets: dict[str, int]) -> LogSource:
        """As after a restart."""

        def hooked(at_ns: int) -> bool | None:
            self.asked.append(at_ns)
            return self.hooked(at_ns)

        self.source = LogSource((self.path.parent,), hooked, offsets, self.clock)
        self.source.start()
        return self.source

    def write(self, *lines: bytes) -> None:
        with self.path.open("ab") as file:
            file.writelines(lines)

    def told(self) -> list:
        """What is told once the hook had its time."""
        events = list(self.source.poll())
        self.clock.pass_(max(GRACE_S, PROBE_S) + 0.1)
        return events + self.source.poll()

    def ends(self) -> list[tuple[FinishReason, int]]:
        return [(one.reason, one.frames) for one in self.told() if isinstance(one, RunFinished)]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_the_runs_of_a_process_without_the_hook(bench):
    environment = os.environ | {"PYMM_LOG_FILE": str(bench.path), "PYMM_LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline()
        told = bench.told()
        starts = [one for one in told if isinstance(one, RunStarted)]
        assert [one.name for one in starts][:3] == ["cells", "mda", "mda"]
        assert all(one.software == {"found_by": FOUND_BY} and one.span is None for one in starts)
        assert abs(starts[0].at_ns - bench.path.stat().st_mtime_ns) < 20e9
        ends = [(one.reason, one.frames) for one in told if isinstance(one, RunFinished)]
        # The burst does not say how many frames it has; the log does not say whether a run failed.
        assert ends == [(FinishReason.UNKNOWN, 6), (FinishReason.UNKNOWN, 0), (FinishReason.CANCELED, 1)]
        while bench.path.read_text().count("MDA Started") < 4:
            time.sleep(0.01)
        bench.told()
        process.kill()
        process.wait()
    assert bench.ends()[0][0] is FinishReason.ABORTED


def test_what_was_there_before_the_agent_is_not_told(bench):
    bench.write(_run(1))
    assert bench.again({}).poll() == []
    assert bench.told() == []
    bench.write(_run(2))
    assert [type(one) for one in bench.told()] == [RunStarted, RunProgress, RunFinished]


def test_a_run_that_the_hook_told_of_is_not_told_again(bench):
    bench.write(_run(1), _run(5))
    second = datetime.fromisoformat("2026-11-22T17:26:05").astimezone().timestamp()
    bench.hooked = lambda at: at == int(second * 1e9)
    (start, *_) = bench.told()
    assert start.at_ns == int((second - 4) * 1e9)
    assert len(bench.asked) == 2
    assert bench.told() == []


def test_while_the_journals_are_not_read_nothing_is_told(bench):
    bench.write(_run(1))
    bench.hooked = lambda _: None
    assert bench.told() == bench.told() == []
    bench.hooked = lambda _: False
    assert len(bench.told()) == 3


def test_runs_of_two_threads_at_once(bench):
    bench.write(_run(1, "0xa", 1, end=False), _run(2, "0xb", 3), _line("MDA Finished: x", 3, "0xa"))
    assert bench.ends() == [(FinishReason.UNKNOWN, 3), (FinishReason.UNKNOWN, 1)]


def test_a_thread_that_starts_again_left_a_run_behind(bench):
    bench.write(_run(1, end=False), _run(9))
    assert bench.ends() == [(FinishReason.ABORTED, 2), (FinishReason.UNKNOWN, 2)]


def test_a_log_that_nobody_writes_any_more_ends_its_run(bench):
    with bench.path.open("ab") as writer:
        writer.write(_run(1, end=False))
        writer.flush()
        assert bench.ends() == []
    assert bench.ends() == [(FinishReason.ABORTED, 2)]


def test_rotation_loses_no_line(bench):
    with bench.path.open("ab") as writer:
        writer.write(_run(1, frames=4, end=False))
        writer.flush()
        assert bench.ends() == []
        writer.write(_line("index={'t': 4}", 1))
    bench.path.rename(f"{bench.path}.2")
    Path(f"{bench.path}.1").write_bytes(_line("index={'t': 5}", 1) * 2)
    bench.write(_line("MDA Finished: x", 2))
    assert bench.ends() == [(FinishReason.UNKNOWN, 7)]


def test_a_restart_in_the_middle_of_a_run_tells_the_same_run(bench):
    with bench.path.open("ab") as writer:
        writer.write(_run(1) + _run(2, frames=1, end=False))
        writer.flush()
        first = [one for one in bench.told() if isinstance(one, RunStarted)]
        offsets = bench.source.durable_offsets()
        bench.again(offsets)
        writer.write(_line("MDA Finished: x", 3))
        writer.flush()
        told = bench.told()
    assert told[0] == first[1]
    assert (told[-1].origin, told[-1].frames) == (first[1].origin, 1)
    bench.again(bench.source.durable_offsets())
    assert bench.told() == []


def test_lines_of_all_kinds_and_torn_ones_do_no_harm(bench):
    bench.write(b"\x00\xff garbage\n", _line("MDA Finished: never began"), b"2026-99-99T99:99:99.000    tid0x7f ")
    assert bench.told() == []
    bench.write(b"[INFO,pymmcore-plus] MDA Started: no such month\n", _run(3)[:-3])
    assert [type(one) for one in bench.told()][:2] == [RunStarted, RunProgress]


def test_no_log_at_all_is_nothing_to_tell(tmp_path):
    source = LogSource((tmp_path / "none",), lambda _: False)
    source.start()
    assert source.poll() == []
    assert source.durable_offsets() == {}
    source.stop()
    assert default_folder().name == "logs"
