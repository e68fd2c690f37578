"""Peak memory of a delivery: `python benchmarks/memory.py [FOLDER]`. At most 200 MiB, whatever dataset and workers.

The real worker and outbox in a process of their own, to a store that discards. The files are holes: they cost no disk.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import delivery  # noqa: E402

SHAPES = {
    "1 x 4 GiB": (1, 4 << 30),
    "400 x 16 MiB": (400, 16 << 20),
    "2,000 x 1 MiB": (2_000, 1 << 20),
    "100,000 x 1 KiB": (100_000, 1 << 10),
}


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


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        os.environ["FOLDER"] = folder
        for name, shape in SHAPES.items():
            for workers in (1, 64):
                print(f"{name:18} {workers:3} workers {peak(Path(folder), shape, workers):6.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
