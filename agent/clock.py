"""The only place that reads the wall clock, so that a test can hold it.

All times are UTC nanoseconds since the Unix epoch (int) or aware datetimes.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the stages need of time."""

    def now_ns(self) -> int:
        """UTC nanoseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for intervals."""
        ...

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Sleep up to `seconds`, woken by `stop`. True when stopped."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The clock of this machine."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        return stop.wait(seconds)


def utc(ns: int) -> datetime:
    """Aware UTC datetime of a time in nanoseconds (microsecond resolution)."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=rest // 1000)


def iso(ns: int) -> str:
    """RFC 3339 text in UTC with microseconds, ending in `Z`."""
    return utc(ns).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
