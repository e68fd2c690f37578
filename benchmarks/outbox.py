"""The outbox under load: what a file and an acquisition cost with 1,000 and with 100,000 pending, and with a million
finished rows beside them. Prints one table; run it on a disk, not in memory: `python benchmarks/outbox.py [FOLDER]`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.acquisition import Acquisition, FoundBy, State
from agent.outbox import Announcement, NewFile, Outbox, Sent

HASH = "a" * 64
ROUNDS = 5
BATCH = 500


def run(number: int, state: State = State.DELIVERING) -> Acquisition:
    return Acquisition(f"id-{number:09}", f"watch:{number}", FoundBy.WATCH, "cells", state, number)


def event(number: int) -> Announcement:
    kind = "org.scope-agent.acquisition.verified.v1"
    return Announcement(f"e-{number}", "t", kind, f"id-{number:09}", number, {"id": str(number)})


def files(number: int, count: int) -> list[NewFile]:
    return [NewFile(f"data/{n:06}.tif", f"/images/{number}/{n}.tif", "data", 1000, n, "1:1") for n in range(count)]


def one_dataset(outbox: Outbox, number: int, count: int) -> float:
    """Seconds a file to queue, page through and mark a dataset of `count` files as sent."""
    began = time.perf_counter()
    outbox.save(run(number), dataset=f"d/{number}", files=files(number, count))
    while rows := outbox.files_left(f"id-{number:09}", BATCH):
        outbox.sent([Sent(row, HASH, HASH, row.size, 1) for row in rows])
    outbox.verified(replace(run(number), state=State.VERIFIED), [event(number)], 1)
    return (time.perf_counter() - began) / count


def many_acquisitions(outbox: Outbox, first: int, pending: int, count: int) -> float:
    """Seconds an acquisition of one file to find, send and verify, with `pending` of them queued."""
    fill(outbox, first, pending, State.DELIVERING)
    began = time.perf_counter()
    for _ in range(count):
        entry = outbox.next_delivery(1 << 62)
        rows = outbox.files_left(entry.acquisition.id, BATCH)
        outbox.sent([Sent(row, HASH, HASH, row.size, 1) for row in rows])
        number = entry.acquisition.started_ns
        outbox.verified(replace(entry.acquisition, state=State.VERIFIED), [event(number)], 1)
    return (time.perf_counter() - began) / count


def fill(outbox: Outbox, first: int, count: int, state: State) -> None:
    """Acquisitions of one file each, many in a transaction."""
    for begin in range(first, first + count, 5000):
        with outbox._transaction():
            for number in range(begin, min(begin + 5000, first + count)):
                outbox.save(run(number, state), dataset=f"d/{number}", files=files(number, 1))
                if state is State.VERIFIED:
                    outbox.sent([Sent(row, HASH, HASH, 1000, 1) for row in outbox.files(f"id-{number:09}")])
                    outbox.verified(run(number, state), [event(number)], 1)
    outbox.published(range(1, outbox.last_sequence() + 1), 1)


def measured(what: str, measure: Callable[[int], float]) -> float:
    times = [measure(n) for n in range(ROUNDS)]
    middle = statistics.median(times)
    print(f"{what:58} {middle * 1e6:9.1f} us  [{min(times) * 1e6:.1f}-{max(times) * 1e6:.1f}]", flush=True)
    return middle


def main() -> None:
    place = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        outbox = Outbox.open(Path(folder) / "outbox.sqlite")
        few = measured("a file, 1,000 in the dataset", lambda n: one_dataset(outbox, n, 1000))
        many = measured("a file, 100,000 in the dataset", lambda n: one_dataset(outbox, 10 + n, 100_000))
        print(f"{'':58} {many / few:9.2f} times\n")
        outbox.close()
    with tempfile.TemporaryDirectory(dir=place) as folder:
        outbox = Outbox.open(Path(folder) / "outbox.sqlite")
        one = measured(
            "an acquisition, 1,000 pending", lambda n: many_acquisitions(outbox, n * 2000, 200 if n else 1000, 200)
        )
        fill(outbox, 1_000_000, 100_000, State.DELIVERING)
        lots = measured(
            "an acquisition, 100,000 pending", lambda n: many_acquisitions(outbox, 2_000_000 + n * 2000, 200, 200)
        )
        print(f"{'':58} {lots / one:9.2f} times\n")
        outbox.close()
    with tempfile.TemporaryDirectory(dir=place) as folder:
        outbox = Outbox.open(Path(folder) / "outbox.sqlite")
        empty = measured("an acquisition, nothing finished", lambda n: many_acquisitions(outbox, n * 2000, 1000, 1000))
        began = time.perf_counter()
        fill(outbox, 10_000_000, 1_000_000, State.VERIFIED)
        print(f"(a million finished in {time.perf_counter() - began:.0f} s)")
        full = measured(
            "an acquisition, a million finished", lambda n: many_acquisitions(outbox, 20_000_000 + n * 2000, 1000, 1000)
        )
        print(f"{'':58} {full / empty:9.2f} times")
        for name, ask in {
            "queue()": outbox.queue,
            "bytes_left()": outbox.bytes_left,
            "next_delivery()": lambda: outbox.next_delivery(1 << 62),
            "unpublished()": lambda: outbox.unpublished(0, 100),
            "retained()": outbox.retained,
            "counts(), for status only": outbox.counts,
            "newest()": outbox.newest,
        }.items():
            measured(f"{name}, a million finished", lambda _, ask=ask: timed(ask))
        began = time.perf_counter()
        found = outbox.check()
        print(f"check: {found or 'all invariants hold'}, {time.perf_counter() - began:.1f} s")
        outbox.close()


def timed(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
