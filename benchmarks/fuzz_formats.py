"""Fuzz the readers: `python benchmarks/fuzz_formats.py [SECONDS] [SUBJECT ...] [--corpus FOLDER] [--results FILE]`.

A subject is a simulated writer (`sem`, `ndpi`, ...) or, with a corpus, one of its formats (`czi`, `nd2`, ...).
Each round damages one file of a small dataset among its own and inspects it. A round fails when inspect raises,
needs more than 10 seconds of processor time, or takes more than 500 MB. SECONDS are processor time of this process,
so that a busy machine tests as much as an idle one; ten minutes a reader is the long run.

A name that is both stands for both in turn. POSIX only: it limits itself with signals.

`--results FILE` keeps seconds, rounds and the failing seeds of each subject, and the next run goes on from there
until a subject has had its SECONDS (`--slice S`: at most S of them in this run). `--seed N` with one subject
repeats one round.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agent.formats.inspection import inspect
from tests.writers import WRITERS

MAX_S, MAX_MB, HARD_MB = 10, 500, 4000
"""The last one ends what would otherwise take the machine's memory before anybody can say which round it was."""
NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40,
           (1 << 63) - 1]  # fmt: skip
WORDS = (b"9" * 30, b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"[" * 3000, b"<A>" * 3000, b"1e999", b"-1", b"nan", b"\xc3\x28")
MAX_ITEM = 5_500_000
"""Larger items of a corpus would spend the time in copying."""
SAME_FILES = 40
"""Rounds with one set of good files before the next set is made."""

Files = dict[str, bytes]


class TooLongError(BaseException):
    """No part of a reader may catch it."""


@dataclass
class Score:
    """What a subject has been through."""

    cpu_s: float = 0.0
    rounds: int = 0
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)


def simulated(name: str, dice: random.Random) -> Files:
    """What a simulated writer leaves, by file name."""
    files: dict[str, bytearray] = {}
    for op in WRITERS[name](dice).ops:
        content = files.setdefault(op.name, bytearray())
        at = len(content) if op.at is None else op.at
        content[at : at + len(op.data)] = op.data
        if op.size is not None:
            content[op.size :] = bytes(max(0, op.size - len(content)))
    return {key: bytes(value) for key, value in files.items()}


def real(folder: Path, items: list[dict[str, object]], dice: random.Random) -> Files:
    """One of the items of a corpus, by file name."""
    item = dice.choice(items)
    top = folder / str(item["path"])
    paths = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
    root = top.parent if top.is_file() else top
    return dict(_unpacked(path.relative_to(root).as_posix(), path.read_bytes()) for path in paths)


def _unpacked(name: str, content: bytes) -> tuple[str, bytes]:
    """A corpus keeps some files compressed that their software writes plain."""
    return (name.removesuffix(".gz"), gzip.decompress(content)) if name.endswith(".gz") else (name, content)


def spoil(data: bytes, dice: random.Random) -> bytes:
    """One to four kinds of damage."""
    made = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        if not made:
            return bytes(made)
        at = dice.randrange(len(made))
        # Headers and footers are where damage hurts.
        if (edge := dice.random()) < 0.6:
            at = dice.randrange(min(len(made), 2000))
            at = len(made) - 1 - at if edge < 0.15 else at
        _damage(made, at, dice)
    return bytes(made)


def _damage(made: bytearray, at: int, dice: random.Random) -> None:
    how = dice.randrange(8)
    if how == 0:
        made[at] ^= 1 << dice.randrange(8)
    elif how == 1:
        number = dice.choice(NUMBERS) + dice.randint(-1, 1)
        form = dice.choice("<>") + dice.choice("HIQ")
        width = struct.calcsize(form)
        made[at : at + width] = struct.pack(form, number & ((1 << 8 * width) - 1))
    elif how == 2 and dice.random() < 0.3:
        del made[at:]
    elif how == 3:
        del made[at : at + dice.randint(1, 64)]
    elif how == 4:
        made[at:at] = dice.randbytes(dice.randint(1, 64))
    elif how == 5:
        other = dice.randrange(len(made))
        made[at : at + 32] = made[other : other + 32]
    elif how == 6:
        width = dice.randint(1, 32)
        made[at : at + width] = dice.choice((b"\0", b"\xff")) * width
    else:
        made[at:at] = dice.choice(WORDS)


class Subject:
    """A folder with a good dataset in which one file is spoilt each round. The same seed spoils the same way."""

    def __init__(self, name: str, folder: Path, corpus: Path | None, items: list[dict[str, object]]) -> None:
        self.name, self.folder, self.corpus, self.items = name, folder, corpus, items
        self.base = -1
        self.files: Files = {}

    def spoilt(self, seed: int) -> tuple[str, bytes]:
        """The name and content of the file that this seed damages, with its good neighbours in place."""
        base = seed // SAME_FILES
        if base != self.base:
            self._make(base)
        dice = random.Random(f"{self.name} {seed}")
        victim = dice.choice(sorted(self.files))
        return victim, spoil(self.files[victim], dice)

    def _make(self, base: int) -> None:
        dice = random.Random(f"{self.name} base {base}")
        self.base = base
        made_up = self.name in WRITERS and (not self.items or base % 2)
        self.files = simulated(self.name, dice) if made_up else real(self.corpus or Path(), self.items, dice)
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, content in self.files.items():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def round(self, seed: int) -> str:
        """The state that inspect gave. Raises what inspect raises."""
        victim, content = self.spoilt(seed)
        path = self.folder / victim
        path.write_bytes(content)
        try:
            found = inspect(path)
            json.loads(found.to_json())
            found.to_ome_xml()
            if refused := next((one for one in found.metadata.errors if "MemoryError" in one), None):
                raise MemoryError(refused)
        finally:
            path.write_bytes(self.files[victim])
        return f"{found.format} {found.verdict.state}"


@contextmanager
def limited() -> Iterator[None]:
    """At most `MAX_S` seconds of processor time; TooLongError then."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError(f"more than {MAX_S} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MAX_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def forget_peak() -> None:
    """The peak of memory starts anew (Linux)."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak_mb() -> float:
    """The most memory since `forget_peak`."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def campaign(subject: Subject, score: Score, until_s: float, only: int | None) -> None:
    """Rounds until the subject has had its time; failures are printed as they come."""
    states = Counter(score.states)
    began, had = time.process_time(), score.cpu_s
    while score.cpu_s < until_s and len(score.failed) < 20:
        seed = score.rounds if only is None else only
        _try(subject, score, seed, states)
        score.rounds += 1
        score.cpu_s = had + time.process_time() - began
        if only is not None:
            break
    score.states = dict(states.most_common(8))


def _try(subject: Subject, score: Score, seed: int, states: Counter[str]) -> None:
    forget_peak()
    began = time.process_time()
    try:
        with limited():
            states[subject.round(seed)] += 1
    except (Exception, TooLongError) as error:  # noqa: BLE001 - that is what it looks for
        _fail(subject, score, seed, f"{type(error).__name__}: {error}"[:300])
        traceback.print_exc(limit=-6, file=sys.stdout)
    score.slowest_s = max(score.slowest_s, time.process_time() - began)
    score.peak_mb = max(score.peak_mb, peak_mb())
    if peak_mb() > MAX_MB:
        _fail(subject, score, seed, f"{peak_mb():.0f} MB")


def _fail(subject: Subject, score: Score, seed: int, reason: str) -> None:
    score.failed[str(seed)] = reason
    print(f"FAILED {subject.name} --seed {seed}: {reason}", flush=True)


def _items(corpus: Path | None) -> dict[str, list[dict[str, object]]]:
    """Items of the corpus that are small enough, by format."""
    if corpus is None:
        return {}
    found: dict[str, list[dict[str, object]]] = {}
    for item in json.loads((corpus / "MANIFEST.json").read_text()):
        if item["bytes"] <= MAX_ITEM:
            found.setdefault(item["format"], []).append(item)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=20.0, help="processor time for each subject")
    parser.add_argument("subjects", nargs="*")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--slice", type=float, default=1e9)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (HARD_MB << 20, HARD_MB << 20))
    items = _items(options.corpus)
    subjects = options.subjects or [*WRITERS, *items]
    if unknown := set(subjects) - set(WRITERS) - set(items):
        parser.error(f"no such subjects: {', '.join(sorted(unknown))}; there are {', '.join([*WRITERS, *items])}")
    failures = 0
    for name in subjects:
        score = _load(options.results, name)
        with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
            subject = Subject(name, Path(folder) / "set", options.corpus, items.get(name, []))
            campaign(subject, score, min(options.seconds, score.cpu_s + options.slice), options.seed)
        failures += len(score.failed)
        _save(options.results, name, score)
        print(f"{name:22} {score.cpu_s:6.0f} s {score.rounds:7} rounds, {len(score.failed)} failures, slowest "
              f"{score.slowest_s:.2f} s, {score.peak_mb:.0f} MB; {score.states}", flush=True)  # fmt: skip
    return 1 if failures else 0


def _load(path: Path | None, name: str) -> Score:
    known = json.loads(path.read_text()) if path is not None and path.exists() else {}
    return Score(**known.get(name, {}))


def _save(path: Path | None, name: str, score: Score) -> None:
    if path is not None:
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | {name: asdict(score)}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
