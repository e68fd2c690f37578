"""Peak memory of a delivery: at most 200 MB, whatever dataset and workers.

    python benchmarks/memory.py [FOLDER]                         the worker alone, to a store that discards
    python benchmarks/memory.py --daemon [FOLDER] [--files N ..] the whole daemon, from found to verified

The first: the real worker and outbox in a process of their own; the files are holes, they cost no disk. The second:
`scope-agent run` as a process with an OME-Zarr of so many chunk files (100,000) in a watched folder, to a folder and
to the project's own facility, with 4 workers and with 64: everything that is done with the files is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import delivery  # noqa: E402

BAR_MB = 200
SHAPES = {
    "1 x 4 GiB": (1, 4 << 30),
    "400 x 16 MiB": (400, 16 << 20),
    "2,000 x 1 MiB": (2_000, 1 << 20),
    "100,000 x 1 KiB": (100_000, 1 << 10),
}
PATIENCE_S = 1800.0


def holes(folder: Path, count: int, size: int) -> Path:
    folder.mkdir()
    for number in range(count):
        with (folder / f"{number:06}.bin").open("wb") as file:
            file.truncate(size)
    return folder


def peak(folder: Path, shape: tuple[int, int], workers: int) -> float:
    """MiB, of a delivery of so many files of so many bytes."""
    source = holes(Path(tempfile.mkdtemp(dir=folder)) / "source", *shape)
    port = delivery.free_port()
    with delivery.server([sys.executable, str(HERE / "null_s3.py"), str(port)], port) as address:
        number = str(int(time.time()) % 100_000)
        return delivery.child("ours", "s3", address, str(source), number, str(workers))[2]


# The whole daemon


def zarr(top: Path, count: int) -> Path:
    """An OME-Zarr 0.5 with `count` chunk files of 512 bytes (a multiple of 100), a hundred in each plane."""
    axes = [{"name": "t", "type": "time"}, *({"name": name, "type": "space", "unit": "micrometer"} for name in "yx")]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 0.1, 0.1]}]}
    array = {
        "shape": [count // 100, 160, 160],
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 16, 16]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }
    named = {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}}
    for row in (f"{t}/{y}" for t in range(count // 100) for y in range(10)):
        folder = top / "0" / "c" / row
        folder.mkdir(parents=True)
        for x in range(10):
            (folder / str(x)).write_bytes(f"{row}/{x}".encode().ljust(512))
    common = {"zarr_format": 3, "attributes": {}}
    (top / "0" / "zarr.json").write_text(json.dumps(common | {"node_type": "array"} | array))
    (top / "zarr.json").write_text(json.dumps(common | {"node_type": "group", "attributes": named}))
    return top


@contextmanager
def far_side(kind: str, folder: Path) -> Iterator[str]:
    """What the configuration says of a new place to deliver to."""
    place = folder / kind
    place.mkdir()
    if kind == "folder":
        yield f'target = "folder"\nfolder.path = "{place.as_posix()}"'
        return
    from agent.facility.serve import create_token

    (place / "token").write_text(create_token(place / "data", "lab/scope"))
    port = delivery.free_port()
    command = [sys.executable, "-m", "agent", "facility", "serve", "--data", str(place / "data"), "--port", str(port)]
    with delivery.server([*command, "--mqtt-port", "0"], port, cwd=HERE.parent) as address:
        yield f'url = "{address}"\ntoken_file = "{(place / "token").as_posix()}"'


def peak_of_daemon(folder: Path, count: int, kind: str, workers: int) -> float:
    """MB (1e6 bytes), of a daemon that finds a Zarr of so many chunks and delivers it until it is verified."""
    folder.mkdir(exist_ok=True)
    try:
        with far_side(kind, folder) as place:
            (folder / "images").mkdir()
            config = folder / "config.toml"
            config.write_text(
                'site = "lab"\ninstrument = "scope"\nstate = "state"\n[hook]\nspool = "spool"\nlogs = []\n'
                f'[[watch]]\npath = "images"\nquiet_s = 1\n[delivery]\nparallel = {workers}\n{place}\n'
            )
            zarr(folder / "made", count).rename(folder / "images" / "run.ome.zarr")
            command = [sys.executable, "-m", "agent", "run", "-c", str(config)]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            with subprocess.Popen(command, cwd=HERE.parent, **quiet) as daemon:
                try:
                    return _most(daemon, folder / "state" / "outbox.sqlite")
                finally:
                    daemon.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _most(daemon: subprocess.Popen, state: Path) -> float:
    """The most memory (resident, MB) that the daemon had when its only acquisition is verified."""
    import psutil

    from agent.acquisition import State
    from agent.errors import ScopeAgentError
    from agent.outbox import Outbox

    process, most, deadline, asked = psutil.Process(daemon.pid), 0.0, time.monotonic() + PATIENCE_S, 0.0
    while (now := time.monotonic()) < deadline and daemon.poll() is None:
        most = max(most, process.memory_info().rss / 1e6, _high_water(daemon.pid))
        if now > asked + 1 and state.exists():
            asked = now
            try:
                outbox = Outbox.view(state)
            except ScopeAgentError:
                continue  # not made yet
            counts = outbox.counts()
            outbox.close()
            if counts.get(State.VERIFIED):
                return max(most, _high_water(daemon.pid))
        time.sleep(0.02)
    raise SystemExit(f"nothing was verified (the daemon ended with {daemon.poll()})")


def _high_water(pid: int) -> float:
    """What Linux kept of the peak, MB; 0 elsewhere, where the peak is that of what was sampled."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), 0.0)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", nargs="?", help="on a disk, for some GB of holes")
    asked.add_argument("--daemon", action="store_true")
    asked.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    asked.add_argument("--targets", nargs="+", default=["folder", "facility"])
    asked.add_argument("--workers", type=int, nargs="+", default=[4, 64])
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        os.environ["FOLDER"] = folder
        if not options.daemon:
            for name, shape in SHAPES.items():
                for workers in (1, 64):
                    print(f"{name:18} {workers:3} workers {peak(Path(folder), shape, workers):6.0f} MiB", flush=True)
            return
        for count in options.files:
            for kind in options.targets:
                for workers in options.workers:
                    most = peak_of_daemon(Path(folder) / "daemon", count, kind, workers)
                    said = "ok" if most <= BAR_MB else "OVER"
                    shown = f"{count:7,} chunks to {kind:8} {workers:3} workers {most:6.0f} MB"
                    print(f"{shown}   at most {BAR_MB} MB: {said}", flush=True)


if __name__ == "__main__":
    main()
