"""Files of an acquisition, when they are many."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace

import pytest

from agent.acquisition import Acquisition, FoundBy, SourceFile, State, compact
from agent.acquisition.files import ManyFiles
from agent.outbox.codec import decode, encode

RUN = Acquisition("id", "watch:x", FoundBy.WATCH, "x", State.COMPLETE, 1)


def files(count: int, root: str = os.path.join(os.sep, "data", "")) -> list[SourceFile]:  # noqa: PTH118
    names = [f"run.zarr/0/c/{n // 10}/µ {n % 10}" for n in range(count)]
    return [SourceFile(root + name.replace("/", os.sep), name, n, -n, f"7:{n}") for n, name in enumerate(names)]


def test_few_stay_as_they_are() -> None:
    assert compact(files(1000)) == tuple(files(1000))
    assert isinstance(compact(files(1000)), tuple)


@pytest.mark.parametrize(
    "odd",
    [
        SourceFile("/data/one", "another", 1, 2, "7:1"),
        SourceFile("", "", 0, 0, ""),
        SourceFile("/data/a//b", "a//b", 1, 2, "7:1"),
        SourceFile("/data//b", "/b", 1, 2, "7:1"),
        SourceFile("/data/b", "b", 1, 2, "7\n1"),
        SourceFile("/data/b\udcff", "b%FF", 1, 2, "7:1"),
        SourceFile("/data/b\udcff", "b\udcff", 1, 2, ""),
        SourceFile("/elsewhere/b", "b", -(1 << 62), 1 << 62, "7:340282366920938463463374607431768211455"),
    ],
)
@pytest.mark.parametrize("place", [0, 700, 1499, 1500])
def test_every_file_comes_back(odd: SourceFile, place: int) -> None:
    plain = files(1500)
    plain.insert(place, odd)
    many = compact(iter(plain))
    assert isinstance(many, ManyFiles)
    assert list(many) == plain
    assert len(many) == 1501
    assert (many[0], many[place], many[-1], many[3:5]) == (plain[0], odd, plain[-1], tuple(plain[3:5]))
    assert many == tuple(plain)
    assert tuple(plain) == many
    assert hash(many) == hash(tuple(plain))
    assert many != tuple(reversed(plain))
    run = replace(RUN, files=many)
    assert decode(encode(run)) == run
    assert decode(encode(replace(run, files=tuple(plain)))) == run
    for outside in (1501, -1502):
        with pytest.raises(IndexError):
            many[outside]


def test_a_file_costs_little() -> None:
    run = replace(RUN, files=compact(files(20_000)))
    tracemalloc.start()
    read = decode(encode(run))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read == run
    assert most < 20_000 * 150
