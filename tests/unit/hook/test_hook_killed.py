"""kill -9 at random instants: the journal is gap-free to its last flush.

Ten times by default; SCOPE_AGENT_KILLS=200 for the long campaign (about four minutes).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.sources.events import FinishReason, RunFinished
from agent.sources.journal import JournalSource, read_run
from agent.testing.clock import HeldClock

KILLS = int(os.environ.get("SCOPE_AGENT_KILLS", "10"))
SCRIPT = """
import sys, useq
from pymmcore_plus import CMMCorePlus
from agent.hook import attach
core = CMMCorePlus()
core.loadSystemConfiguration()
for axis in "XY":
    core.setProperty("Camera", f"OnCameraCCD{axis}Size", 16)
core.setProperty("Camera", "FastImage", 1)
core.setExposure(0.1)
core.mda.engine.use_hardware_sequencing = False
for folder in sys.stdin:
    spool = folder.strip()
    attach(core, spool)
    seen = []
    core.mda.events.frameReady.connect(lambda *_: (seen.append(1), seen[10:] or print("frame", flush=True)))
    core.mda.run(useq.MDASequence(channels=["DAPI", "FITC"], time_plan={"interval": 0, "loops": 100_000}))
"""


def _start() -> subprocess.Popen[str]:
    environment = os.environ | {"PYMM_LOG_FILE": "0", "PYMM_LOG_LEVEL": "ERROR"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], env=environment, stdin=pipe, stdout=pipe, text=True
    )


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
@pytest.mark.slow
@pytest.mark.timeout(60 + 5 * KILLS)
def test_whatever_instant_it_is_killed_at_the_journal_has_no_gap(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    counts, waiting = [], _start()
    for number in range(KILLS):
        # The next one starts while this one runs: importing takes most of the time.
        process, waiting = waiting, _start()
        spool = tmp_path / str(number)
        process.stdin.write(f"{spool}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "frame\n"
        time.sleep(chance.uniform(0, 0.8))
        process.kill()
        process.communicate()
        counts.append(_check(spool))
    waiting.kill()
    waiting.communicate()
    assert len(counts) == KILLS
    assert max(counts) > 20


def _check(spool: Path) -> int:
    """How many frames the journal holds, after looking at every line."""
    (journal,) = spool.glob("*.jsonl")
    whole, _, torn = journal.read_bytes().rpartition(b"\n")
    lines = [json.loads(line) for line in whole.splitlines()]
    assert len(torn) < 1 << 16
    assert [line["n"] for line in lines] == list(range(len(lines)))
    clock = HeldClock()
    source = JournalSource(spool, {}, clock)
    events = list(source.poll())
    for _ in range(3):
        clock.pass_(3)
        events += source.poll()
    if not any(line["k"] == "started" for line in lines):
        return 0  # killed before the first flush
    (end,) = (one for one in events if isinstance(one, RunFinished))
    frames = read_run(end.span).frames
    assert end.reason is FinishReason.ABORTED
    assert frames.index == [(t, c) for t in range(50_001) for c in range(2)][: len(frames)]
    assert len(frames) == end.frames == sum(line["k"] == "frame" for line in lines)
    return len(frames)
