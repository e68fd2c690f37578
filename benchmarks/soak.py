"""The demo acquires for an hour while its facility and its broker freeze now and then: does the daemon grow?

    python benchmarks/soak.py [--minutes 60] [--dir FOLDER]

`scope-agent demo` runs with its microscope (hooked, every half minute); beside it a file is written into the watched
folder every two seconds. Facility and broker are stopped (SIGSTOP) for up to 20 s, the daemon for 3 s. Every five
seconds: memory, threads, open files of the daemon, and files below its state. Prints a table; exit 1 when something
grew: memory by more than its noise and 3 MB an hour, anything else by more than it swings. Linux, macOS.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile

from agent.config import Config, load
from agent.operate.status import status_of

ROOT = Path(__file__).resolve().parent.parent
EVERY_S = 5.0
MB_AN_HOUR = 3.0


def sample(daemon: psutil.Process, state: Path) -> dict[str, float]:
    with daemon.oneshot():
        memory, threads, files = daemon.memory_info().rss / 1e6, daemon.num_threads(), daemon.num_fds()
    logs = state / "log"
    held = sum(1 for path in state.rglob("*") if path.is_file() and logs not in path.parents)
    return {"memory, MB": memory, "threads": threads, "open files": files, "files below state": held}


def wait_for(seen, what: str, seconds: float = 180):
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come in time")
        time.sleep(0.5)
    return found


def fault(chance: random.Random, daemon: psutil.Process, others: list[psutil.Process]) -> tuple[psutil.Process, float]:
    """Freeze one of the processes; which, and for how long."""
    hit = chance.choice([*others, *others, daemon])
    hit.send_signal(signal.SIGSTOP)
    return hit, 3.0 if hit == daemon else chance.uniform(2, 20)


def soak(folder: Path, minutes: float, config: Config, demo: subprocess.Popen) -> list[dict[str, float]]:
    daemon = psutil.Process(status_of(config)["heartbeat"]["pid"])
    others = [child for child in psutil.Process(demo.pid).children(recursive=True) if child != daemon]
    others = [one for one in others if "facility" in " ".join(one.cmdline()) or "nats" in one.name()]
    chance, frozen, samples, number = random.Random(1), None, [], 0
    began = drop = measure = time.monotonic()
    harm = began + 20
    try:
        while (now := time.monotonic()) < began + minutes * 60:
            if now >= drop:
                number, drop = number + 1, now + 2
                noise = np.random.default_rng(number).integers(0, 4096, (4, 256, 256), np.uint16)
                tifffile.imwrite(config.watch[-1].path / f"soak-{number:05}.tif", noise, photometric="minisblack")
            if frozen and now >= frozen[1]:
                frozen[0].send_signal(signal.SIGCONT)
                frozen = None
            elif not frozen and now >= harm:
                hit, seconds = fault(chance, daemon, others)
                frozen, harm = (hit, now + seconds), now + seconds + 20
            if now >= measure:
                measure = now + EVERY_S
                samples.append({"at": now - began} | sample(daemon, config.state))
            time.sleep(0.1)
    finally:
        if frozen:
            frozen[0].send_signal(signal.SIGCONT)
    wait_for(lambda: status_of(config)["heartbeat"]["queue"] <= 2, "an empty queue", 300)
    print(f"{number} files dropped, {status_of(config)['acquisitions']}, {folder}")
    return samples


def slope(samples: list[dict[str, float]], name: str) -> tuple[float, float]:
    """Growth an hour and its standard error, by a straight line through the last three quarters."""
    used = samples[len(samples) // 4 :]
    hours = np.array([one["at"] for one in used]) / 3600
    values = np.array([one[name] for one in used])
    (growth, _), covariance = np.polyfit(hours, values, 1, cov=True)
    # Neighbours look alike: the error of independent samples would be too small.
    return float(growth), 3 * float(np.sqrt(covariance[0, 0]))


def report(samples: list[dict[str, float]]) -> int:
    grew = 0
    print(f"  {'':20} {'first':>9} {'last':>9} {'most':>9} {'an hour':>10}   noise")
    for name in [key for key in samples[0] if key != "at"]:
        growth, noise = slope(samples, name)
        values = [one[name] for one in samples[len(samples) // 4 :]]
        third = max(1, len(values) // 3)
        early, late = statistics.median(values[:third]), statistics.median(values[-third:])
        swing = max(values[:third]) - min(values[:third])
        bad = growth > max(noise, MB_AN_HOUR) if name.startswith("memory") else late - early > max(swing, 2)
        grew += bad
        figures = f"{values[0]:9.1f} {values[-1]:9.1f} {max(values):9.1f} {growth:10.2f} {noise:7.2f}"
        print(f"  {name:20} {figures}   {'GREW' if bad else 'ok'}")
    tenths = np.array_split([one["memory, MB"] for one in samples], min(10, len(samples)))
    print("  memory by tenths:", *(f"{statistics.median(tenth):.1f}" for tenth in tenths))
    return int(grew > 0)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=60)
    asked.add_argument("--dir", type=Path)
    options = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=options.dir)) / "demo"
    command = [sys.executable, "-m", "agent", "demo", "--dir", str(folder)]
    demo = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        path = wait_for(lambda: next(iter(folder.glob("config.toml")), None), "the demo's configuration")
        config = load(path)
        wait_for(lambda: status_of(config)["acquisitions"].get("verified"), "the first verified acquisition")
        return report(soak(folder, options.minutes, config, demo))
    finally:
        demo.send_signal(signal.SIGINT)
        try:
            demo.wait(60)
        except subprocess.TimeoutExpired:
            demo.kill()


if __name__ == "__main__":
    sys.exit(main())
