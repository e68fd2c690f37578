"""Fuzz the pure readers: `python benchmarks/fuzz_formats.py [SECONDS] [FORMAT ...] [--seed N] [--corpus FOLDER]`.

Each round takes a small file of a simulated writer (or a real one of the corpus), damages it and inspects it.
A round fails when inspect raises, takes more than 10 seconds, or when memory grows past 500 MB. The seed of
every failure is printed: `--seed N` with one format and 1 second repeats it. Ten minutes a reader is the long run.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agent.formats.inspection import inspect
from tests.writers import WRITERS

NUMBERS = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
]


def base(name: str, dice: random.Random) -> dict[str, bytes]:
    """What a simulated writer leaves, by file name."""
    files: dict[str, bytearray] = {}
    for op in WRITERS[name](dice).ops:
        content = files.setdefault(op.name, bytearray())
        at = len(content) if op.at is None else op.at
        content[at : at + len(op.data)] = op.data
    return {key: bytes(value) for key, value in files.items()}


def spoil(data: bytes, dice: random.Random) -> bytes:
    """One to four kinds of damage."""
    made = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        if not made:
            return bytes(made)
        at = dice.randrange(len(made))
        if dice.random() < 0.5:
            at = dice.randrange(min(len(made), 600))
        how = dice.randrange(8)
        if how == 0:
            made[at] ^= 1 << dice.randrange(8)
        elif how == 1:
            number = dice.choice(NUMBERS) + dice.randint(-1, 1)
            form = dice.choice("<>") + dice.choice("HIQ")
            width = struct.calcsize(form)
            made[at : at + width] = struct.pack(form, number & ((1 << 8 * width) - 1))
        elif how == 2:
            del made[at:]
        elif how == 3:
            del made[at : at + dice.randint(1, 64)]
        elif how == 4:
            made[at:at] = dice.randbytes(dice.randint(1, 64))
        elif how == 5:
            other = dice.randrange(len(made))
            made[at : at + 32] = made[other : other + 32]
        elif how == 6:
            made[at : at + dice.randint(1, 32)] = dice.choice((b"\0", b"\xff")) * dice.randint(1, 32)
        else:
            made[at:at] = dice.choice(
                (b"9" * 30, b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"[" * 3000, b"1e999", b"-1", b"nan")
            )
    return bytes(made)


def one(name: str, seed: int, folder: Path, real: dict[str, list[Path]]) -> str:
    """A round; the state that inspect gave. Raises what inspect raises."""
    dice = random.Random(f"{name} {seed}")
    files = base(name, dice)
    if real.get(name) and dice.random() < 0.3:
        path = dice.choice(real[name])
        files = {path.name: path.read_bytes()}
    victim = dice.choice(sorted(files))
    files[victim] = spoil(files[victim], dice)
    for key, content in files.items():
        target = folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    found = inspect(folder / victim)
    json.loads(found.to_json())
    found.to_ome_xml()
    for key in files:
        (folder / key).unlink()
    return f"{found.format} {found.verdict.state}"


def memory_mb() -> float:
    """Largest resident size of this process so far."""
    import psutil

    return psutil.Process().memory_info().rss / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=20.0, help="for each reader")
    parser.add_argument("formats", nargs="*", choices=[*sorted(WRITERS), []])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    real = _corpus(options.corpus)
    failures = 0
    for name in options.formats or sorted(WRITERS):
        failures += campaign(name, options.seconds, options.seed, real)
    return 1 if failures else 0


def _corpus(folder: Path | None) -> dict[str, list[Path]]:
    """Small real files by writer."""
    if folder is None:
        return {}
    items = json.loads((folder / "MANIFEST.json").read_text())
    formats: dict[str, list[Path]] = {}
    for item in items:
        paths = [folder / one["path"] for one in item["files"] if one["bytes"] < 3_000_000]
        formats.setdefault(item["format"], []).extend(paths)
    return {name: formats.get(WRITERS[name](random.Random(1)).format, []) for name in WRITERS}


def campaign(name: str, seconds: float, seed: int | None, real: dict[str, list[Path]]) -> int:
    """Rounds for a time; the number of failures."""
    states: Counter[str] = Counter()
    failures = 0
    slowest = 0.0
    start = time.monotonic()
    number = seed if seed is not None else 0
    while time.monotonic() - start < seconds:
        with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
            began = time.monotonic()
            try:
                states[one(name, number, Path(folder), real)] += 1
            except Exception:  # noqa: BLE001 - that is what it looks for
                failures += 1
                print(f"FAILED {name} --seed {number}\n{traceback.format_exc(limit=-4)}", flush=True)
            took = time.monotonic() - began
        slowest = max(slowest, took)
        if took > 10 or memory_mb() > 500:
            failures += 1
            print(f"FAILED {name} --seed {number}: {took:.1f} s, {memory_mb():.0f} MB", flush=True)
        if seed is not None or failures > 20:
            break
        number += 1
    print(f"{name:12} {number + 1:7} rounds, seeds 0 to {number}, {failures} failures, slowest {slowest:.2f} s, "
          f"{memory_mb():.0f} MB; {dict(states.most_common(4))}", flush=True)  # fmt: skip
    return failures


if __name__ == "__main__":
    sys.exit(main())
