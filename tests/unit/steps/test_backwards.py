"""A clock that is set while deliveries are postponed."""

from __future__ import annotations

import pytest

from agent.acquisition import State
from agent.errors import Unreachable
from tests.unit.steps.test_steps import Bench, bench, image  # noqa: F401

_YEAR_NS = 365 * 86_400 * 10**9


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("by_ns", [3600 * 10**9 * 8, _YEAR_NS])
def test_what_was_postponed_does_not_wait_for_the_old_time(bench: Bench, by_ns: int, restarted: bool) -> None:  # noqa: F811
    plain = bench.target.send

    def away(*_: object) -> str:
        raise Unreachable("away")

    bench.clock.set_back(-by_ns / 1e9)
    bench.target.send = away
    bench.see(image(bench.watched / "a.tif"))
    bench.turn(10)
    assert bench.outbox.counts() == {State.DELIVERING: 1}
    bench.target.send = plain
    bench.clock.set_back(by_ns / 1e9)
    if restarted:
        bench.pipeline.__post_init__()
    bench.turn(30)
    assert bench.outbox.counts() == {State.VERIFIED: 1}
