"""What the hook costs an acquisition: ratios within one run, interleaved pairs with and without it.

    python benchmarks/hook.py [--pairs 30] [--frames 300] [--start 40]

Frame loop: the demo camera, software-timed and hardware-sequenced, on two cores of one process of which one has
the hook. Per frame: the frame callback timed inside of such runs. Memory: 200,000 frames. Start: `python -c pass`
in an environment with and without the installed hook.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from array import array
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("PYMM_LOG_LEVEL", "ERROR")


def _core():
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    core.loadSystemConfiguration()
    core.setProperty("Camera", "OnCameraCCDXSize", 64)
    core.setProperty("Camera", "OnCameraCCDYSize", 64)
    core.setProperty("Camera", "FastImage", 1)
    core.setExposure(1)
    return core


def _loop(core, sequence) -> float:
    """Median seconds from frame to frame, measured by a listener of its own; other programs only touch some."""
    times: list[float] = []

    def note(*_: object) -> None:
        times.append(time.perf_counter())

    core.mda.events.frameReady.connect(note)
    core.mda.run(sequence)
    core.mda.events.frameReady.disconnect(note)
    return statistics.median(later - former for former, later in pairwise(times))


def frame_loop(pairs: int, frames: int, spool: Path, *, triggered: bool, control: bool = False) -> list[float]:
    """Ratios with : without the hook, one a pair; the order within a pair alternates. The control has none."""
    import useq

    from agent.hook import attach

    plain, hooked = _core(), _core()
    if not control:
        attach(hooked, spool)
    for core in (plain, hooked):
        core.mda.engine.use_hardware_sequencing = triggered
    channels = [] if triggered else ["DAPI", "FITC"]
    loops = frames if triggered else frames // 2
    sequence = useq.MDASequence(channels=channels, time_plan={"interval": 0, "loops": loops})
    ratios = []
    for pair in range(pairs + 1):
        first, second = (plain, hooked) if pair % 2 else (hooked, plain)
        took = {id(core): _loop(core, sequence) for core in (first, second)}
        if pair:  # the first warms up
            ratios.append(took[id(hooked)] / took[id(plain)])
    return ratios


def per_frame(count: int, spool: Path, *, triggered: bool) -> array[float]:
    """Microseconds of each frame callback inside of real runs, where the camera empties the processor's caches."""
    import useq

    from agent.hook import attach, wiring

    took, clock, guarded = array("d"), time.perf_counter_ns, wiring.guarded

    def timed(callback, journal):
        call = guarded(callback, journal)
        if callback.__name__ != "frame":
            return call

        def measured(*args: object) -> None:
            begin = clock()
            call(*args)
            took.append((clock() - begin) / 1000)

        return measured

    wiring.guarded = timed
    core = _core()
    attach(core, spool)
    wiring.guarded = guarded
    core.mda.engine.use_hardware_sequencing = triggered
    channels = [] if triggered else ["DAPI", "FITC"]
    loops = count if triggered else count // 2
    core.mda.run(useq.MDASequence(channels=channels, time_plan={"interval": 0, "loops": loops}))
    return took


def memory(count: int, spool: Path) -> int:
    """Bytes that the process grew from half-way to the end of `count` frames of one run."""
    import psutil
    import useq

    from agent.hook import attach, wiring

    core = _core()
    core.mda.engine.use_hardware_sequencing = False
    given: list[tuple] = []
    core.mda.events.frameReady.connect(lambda *args: given.append(args))
    core.mda.run(useq.MDASequence(channels=["DAPI", "FITC"], z_plan={"range": 4, "step": 1}))
    attach(core, spool)
    recorder = wiring._recorders[core.mda]
    recorder.started(useq.MDASequence(channels=["DAPI"]), None)
    call = wiring.guarded(recorder.frame, recorder.journal)
    process, half = psutil.Process(), 0
    for number in range(count):
        call(*given[number % len(given)])
        if number % 100 == 0:
            time.sleep(0.002)  # a camera of 50 kHz at most, or the queue would fill
        if number == count // 2:
            gc.collect()
            half = process.memory_info().rss
    gc.collect()
    grown = process.memory_info().rss - half
    recorder.journal.close()
    assert recorder.journal.lost == 0, recorder.journal.last_error
    return grown


def python_start(pairs: int, folder: Path) -> list[float]:
    """Ratios of `python -c pass` with : without the hook."""
    from agent.hook.install import install

    pythons = []
    for name in ("without", "with"):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / name], check=True)
        python = folder / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        site = next((folder / name).rglob("site-packages"))
        (site / "lab.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        pythons.append(python)
    install(pythons[1], folder / "spool")

    def start(python: Path) -> float:
        begin = time.perf_counter()
        subprocess.run([python, "-c", "pass"], check=True)
        return time.perf_counter() - begin

    ratios = []
    for pair in range(pairs + 1):
        order = pythons if pair % 2 else pythons[::-1]
        took = {python: start(python) for python in order}
        if pair:
            ratios.append(took[pythons[1]] / took[pythons[0]])
    return ratios


def _ratio(name: str, ratios: list[float]) -> None:
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{name:32} median {middle:.3f}   quartiles {low:.3f} to {high:.3f}   {len(ratios)} pairs", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--start", type=int, default=40)
    parser.add_argument("--count", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for triggered in (False, True):
            kind = "hardware-sequenced" if triggered else "software-timed"
            for control in (True, False):
                ratios = frame_loop(
                    options.pairs, options.frames, folder / "loop", triggered=triggered, control=control
                )
                _ratio(f"{'no hook at all' if control else 'frame loop'}, {kind}", ratios)
        for triggered in (False, True):
            kind = "hardware-sequenced" if triggered else "software-timed"
            took = per_frame(5000, folder / "frames", triggered=triggered)
            percentiles = statistics.quantiles(took, n=100)
            print(
                f"per frame, {kind:20} p50 {percentiles[49]:.1f} us, p99 {percentiles[98]:.1f} us, {len(took)} frames"
            )
        grown = memory(options.count, folder / "memory")
        print(f"memory: {grown / 1e6:+.1f} MB from half-way to the end of {options.count} frames")
        _ratio("python -c pass", python_start(options.start, folder))


if __name__ == "__main__":
    main()
