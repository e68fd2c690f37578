"""All state is lost: what is found anew becomes the same acquisition, at the same place."""

from __future__ import annotations

import os
from pathlib import Path

from agent.acquisition import State
from tests.unit.steps.test_steps import Bench, image


def test_a_file_that_was_first_seen_growing_has_the_same_dataset_when_it_is_found_anew(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    path = image(bench.watched / "a.tif")
    hour_ns, now = 3600 * 10**9, bench.clock.now_ns()
    os.utime(path, ns=(now - 2 * hour_ns, now - 2 * hour_ns))
    bench.see(path)
    bench.turn(1)
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=(now - hour_ns, now - hour_ns))
    bench.see(path)
    bench.turn(80)
    (entry,) = bench.outbox.newest()
    bench.outbox.close()
    for left in tmp_path.glob("outbox.sqlite*"):
        left.unlink()
    again = Bench(tmp_path)
    again.see(path)
    again.turn(80)
    (found,) = again.outbox.newest()
    assert (found.acquisition.id, found.dataset) == (entry.acquisition.id, entry.dataset)
    assert found.acquisition.state is entry.acquisition.state is State.VERIFIED
    again.outbox.close()
