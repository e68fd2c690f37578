"""What was seen on a disk."""

from __future__ import annotations

import hashlib
import os
import random
import tracemalloc
from pathlib import Path

import pytest

from agent.delivery.seen import Seen


@pytest.fixture
def status(tmp_path: Path) -> os.stat_result:
    (tmp_path / "a").write_bytes(b"abc")
    return (tmp_path / "a").stat()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_file_is_found_again(status: os.stat_result, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"abcd")
    other = (tmp_path / "b").stat()
    names = [f"/x.zarr/{number}" for number in range(20_000)]
    random.Random(1).shuffle(names)
    seen = Seen()
    for name in names:
        seen.note(name, other, digest("earlier"))
        seen.note(name, status, digest(name))
    assert all(seen.digest(name, status) == digest(name) for name in names)
    assert seen.digest(names[0], other) is None, "another size: it is no longer what was seen"
    assert seen.digest("/elsewhere", status) is None
    seen.forget(names[:10_000])
    assert [seen.digest(name, status) for name in names[9_999:10_001]] == [None, digest(names[10_000])]
    seen.forget([*names, "/elsewhere"])
    assert len(seen) == 0


def test_a_file_costs_sixty_bytes(status: os.stat_result) -> None:
    tracemalloc.start()
    seen = Seen()
    for number in range(50_000):
        seen.note(f"/a/rather/long/path/of/a/chunk/{number}", status, digest(str(number)))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 50_000 * 80


def test_the_key_of_one_in_the_middle_of_another(status: os.stat_result) -> None:
    seen, path = Seen(), "/a"
    key = hash(path).to_bytes(8, "little", signed=True)
    shelf = seen._shelves[hash(path) % len(seen._shelves)]
    shelf.extend(bytes(24) + key * 4)
    assert seen.digest(path, status) is None
    seen.note(path, status, digest("a"))
    shelf.extend(bytes(20) + key * 4 + bytes(4))
    assert seen.digest(path, status) == digest("a")
