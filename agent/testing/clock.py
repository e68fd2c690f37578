"""A clock that a test holds."""

from __future__ import annotations

import threading


class HeldClock:
    """Stands still until `pass_` is called; `wait` returns at once and lets that time pass."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._monotonic = 1000.0

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic(self) -> float:
        return self._monotonic

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.pass_(seconds)
        return stop.is_set()

    def pass_(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._monotonic += seconds
        self._now_ns += int(seconds * 1e9)

    def set_back(self, seconds: float) -> None:
        """Somebody corrected the wall clock; intervals go on."""
        self._now_ns -= int(seconds * 1e9)
