"""Does a delivery disturb the camera? `python benchmarks/quiet.py [--pairs 5] [--frames 3000] [--policy slow]`.

The demo camera streams at full speed, alone and beside a delivery at full speed, in turns. The delivery is the real
worker with the daemon's priorities, to a store that discards; `--policy` is what `while_acquiring` says, with the
hook's word that a run is on. Reported: the 99th percentile of the intervals between frames, as the core stamped them,
and frames that were dropped.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ.setdefault("PYMM_LOG_LEVEL", "ERROR")

import delivery  # noqa: E402

PIXELS, EXPOSURE_MS = 512, 5


def camera():
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    core.loadSystemConfiguration()
    core.setProperty("Camera", "OnCameraCCDXSize", PIXELS)
    core.setProperty("Camera", "OnCameraCCDYSize", PIXELS)
    core.setProperty("Camera", "FastImage", 1)
    core.setExposure(EXPOSURE_MS)
    core.setCircularBufferMemoryFootprint(64)
    return core


def stream(core, frames: int) -> tuple[float, int]:
    """99th percentile of the intervals in ms, and how many frames are missing."""
    times: list[float] = []
    core.startSequenceAcquisition(frames, 0, True)
    while core.isSequenceRunning() or core.getRemainingImageCount():
        if not core.getRemainingImageCount():
            time.sleep(0.001)
            continue
        _, told = core.popNextImageAndMD()
        times.append(float(told["ElapsedTime-ms"]))
    lost = frames - len(times) + int(core.isBufferOverflowed())
    intervals = sorted(later - former for former, later in pairwise(times))
    return intervals[int(len(intervals) * 0.99)], lost


@contextmanager
def delivering(folder: Path, source: Path, policy: str) -> Iterator[None]:
    """One delivery after another, until the end of the block."""
    port = delivery.free_port()
    with delivery.server([sys.executable, str(HERE / "null_s3.py"), str(port)], port) as address:
        command = [sys.executable, __file__, "--deliver", address, str(source), policy]
        environment = {**os.environ, "FOLDER": str(folder), "PYTHONPATH": str(HERE.parent)}
        with (folder / "delivery.log").open("wb") as log:
            running = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            time.sleep(3)
            assert running.poll() is None, (folder / "delivery.log").read_text()
            yield
        finally:
            running.kill()
            running.wait()


def deliver(address: str, source: str, policy: str) -> None:
    from agent.clock import SystemClock
    from agent.daemon import lower_priority
    from agent.delivery import worker
    from agent.delivery.pace import Pace
    from agent.delivery.settings import LimitSettings
    from agent.delivery.worker import Interrupted

    lower_priority()
    pace = Pace(LimitSettings(while_acquiring=policy), SystemClock(), lambda: True)
    plain = worker.Worker.__init__

    def paced(self, outbox, target, seal, _interrupted, parallel=1, _pace=None) -> None:
        plain(self, outbox, target, seal, lambda: pace.mode() == "pause", parallel, pace)

    worker.Worker.__init__ = paced
    number = int(time.time()) % 100_000
    while True:
        number += 1
        try:
            delivery.ours("s3", address, source, str(number), "4")()
        except Interrupted:
            # As Dispatch does: nothing until the microscope is free again.
            time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--policy", default="slow", choices=["off", "slow", "pause"])
    told = parser.parse_args()
    core = camera()
    stream(core, 200)
    ratios, dropped = [], 0
    with tempfile.TemporaryDirectory() as folder:
        delivery.SHAPES["quiet"] = (20, 64 << 20)
        source = delivery.make(Path(folder), "quiet")
        for _ in range(told.pairs):
            alone, lost = stream(core, told.frames)
            with delivering(Path(folder), source, told.policy):
                beside, more = stream(core, told.frames)
            dropped += lost + more
            ratios.append(beside / alone)
            print(f"p99 of the intervals: alone {alone:.3f} ms, beside a delivery {beside:.3f} ms", flush=True)
    print(f"{told.policy}: ratio {statistics.median(ratios):.3f} [{min(ratios):.3f}-{max(ratios):.3f}]")
    print(f"dropped frames: {dropped}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--deliver"]:
        deliver(*sys.argv[2:])
    else:
        main()
