"""A disk that fills up: an alert first, then nothing is written, then everything goes on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.acquisition import State
from agent.steps.reserve import ALERT, Reserve
from tests.unit.steps.test_steps import Bench, bench, image  # noqa: F401


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Free space as told by the system; the steps, files and outbox are real."""
    told = SimpleNamespace(free=5000 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: told)
    return told


def with_reserve(bench: Bench) -> None:  # noqa: F811
    bench.pipeline = replace(bench.pipeline, reserve=Reserve(bench.station, bench.folder, 500))


def alerts(bench: Bench) -> list[str]:  # noqa: F811
    topic = bench.station.topics.alert(ALERT)
    rows = bench.outbox.unpublished(0, 100)
    return [(row.data or {}).get("text", "cleared") for row in rows if row.topic == topic]


def test_an_alert_then_silence_then_everything_goes_on(bench: Bench, disk: SimpleNamespace) -> None:  # noqa: F811
    with_reserve(bench)
    bench.turn(3)
    assert alerts(bench) == []
    disk.free = 900 << 20
    bench.turn(3)
    (said,) = alerts(bench)
    assert "900 MiB free" in said
    disk.free = 499 << 20
    bench.turn(3)
    bench.see(image(bench.watched / "a.tif"))
    before = written(bench.folder)
    bench.turn(60)
    assert written(bench.folder) == before
    assert bench.all() == []
    disk.free = 520 << 20
    bench.turn(10)
    assert bench.all() == [], "a little more than the limit is not yet enough"
    disk.free = 3000 << 20
    bench.turn(10)
    assert [run.state for run in bench.all()] == [State.VERIFIED]
    assert alerts(bench)[-1] == "cleared"


def test_what_is_queued_waits(bench: Bench, disk: SimpleNamespace) -> None:  # noqa: F811
    with_reserve(bench)
    bench.see(image(bench.watched / "a.tif"))
    while not bench.outbox.due(State.QUEUED, bench.clock.now_ns()):
        bench.clock.pass_(0.5)
        bench.pipeline.hear()
        bench.pipeline.work()
    disk.free = 1 << 20
    bench.clock.pass_(3)
    bench.turn(20)
    assert bench.outbox.counts() == {State.QUEUED: 1}
    disk.free = 5000 << 20
    bench.turn(5)
    assert bench.outbox.counts() == {State.VERIFIED: 1}


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything that the agent keeps."""
    kept = [path for path in folder.rglob("*") if path.is_file() and "watched" not in path.parts]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in kept}
