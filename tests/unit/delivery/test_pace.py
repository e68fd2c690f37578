"""How fast a delivery may go, by a clock that is held."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from agent.delivery.pace import Pace, machine_busy, within
from agent.delivery.settings import LimitSettings
from agent.testing.clock import HeldClock


def never() -> bool:
    return False


def pace(clock: HeldClock, acquiring=never, busy=lambda _: False, **limits) -> Pace:
    return Pace(LimitSettings(**limits), clock, acquiring, busy)


def seconds_for(made: Pace, clock: HeldClock, mib: int) -> float:
    began = clock.monotonic()
    for _ in range(mib):
        made.spend(1 << 20, never)
    return clock.monotonic() - began


def test_without_limits_nothing_waits() -> None:
    clock = HeldClock()
    assert seconds_for(pace(clock, while_acquiring="off"), clock, 100) == 0


def test_a_limit_is_kept_and_idle_time_is_not_saved_up() -> None:
    clock = HeldClock()
    made = pace(clock, mib_per_s=10)
    assert seconds_for(made, clock, 50) == pytest.approx(5, rel=0.01)
    clock.pass_(60)
    assert seconds_for(made, clock, 50) == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize(("policy", "mode", "takes"), [("off", "full", 0), ("slow", "slow", 5), ("pause", "pause", 0)])
def test_it_gives_way_while_a_run_is_on(policy: str, mode: str, takes: float) -> None:
    clock, on = HeldClock(), [True]
    made = pace(clock, lambda: on[0], while_acquiring=policy, slow_mib_per_s=10)
    assert made.mode() == mode
    assert seconds_for(made, clock, 50) == pytest.approx(takes, rel=0.01)
    on[0] = False
    clock.pass_(1.1)
    assert made.mode() == "full"


def test_a_stop_is_heard_while_it_waits() -> None:
    clock = HeldClock()
    made = pace(clock, mib_per_s=0.001)
    made.spend(1 << 20, lambda: True)
    assert clock.monotonic() == 1000


def test_hours_of_the_day() -> None:
    assert within("08:00-18:00", 8 * 60)
    assert not within("08:00-18:00", 18 * 60)
    assert within("22:00-06:00", 23 * 60)
    assert within("22:00-06:00", 5 * 60)
    assert not within("22:00-06:00", 12 * 60)
    assert not within("", 0)


def test_busy_hours_have_a_limit_of_their_own(monkeypatch) -> None:
    clock = HeldClock()
    made = pace(clock, busy_hours="00:00-12:00", busy_mib_per_s=5, mib_per_s=50)
    monkeypatch.setattr(Pace, "_minute", lambda _: 60)
    assert made.mib_per_s() == 5
    monkeypatch.setattr(Pace, "_minute", lambda _: 13 * 60)
    assert made.mib_per_s() == 50


def test_what_the_machine_says() -> None:
    me = Path(sys.executable).name if os.name == "nt" else Path("/proc/self/comm").read_text().strip()
    assert machine_busy(LimitSettings(busy_processes=(me.upper() + ".exe",)))
    assert not machine_busy(LimitSettings(busy_processes=("no-such-program",)))
    assert machine_busy(LimitSettings(low_memory_mib=1 << 30))
    assert not machine_busy(LimitSettings())
    machine_busy(LimitSettings(busy_disk_percent=100))
