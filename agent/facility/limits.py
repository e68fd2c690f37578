"""How often somebody may ask: a bucket of tokens each, refilled at a steady rate. Each replica counts for itself."""

from __future__ import annotations

import threading
from collections import OrderedDict
from http import HTTPStatus

from agent.clock import Clock, SystemClock
from agent.facility.refusal import Refusal

_MAX_KNOWN = 20_000


class Limit:
    """At most `burst` at once and `per_s` in the long run, for each name."""

    def __init__(self, per_s: float, burst: float, clock: Clock | None = None) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Count one. Raises Refusal (429) where nothing is left."""
        if not self._count(name, 1):
            raise Refusal("too many requests: wait a moment", HTTPStatus.TOO_MANY_REQUESTS)

    def check(self, name: str) -> None:
        """Raises Refusal (429) where nothing is left; counts nothing."""
        if not self._count(name, 0):
            raise Refusal("too many failed attempts: wait a minute", HTTPStatus.TOO_MANY_REQUESTS)

    def _count(self, name: str, cost: int) -> bool:
        now = self._clock.monotonic()
        with self._lock:
            left, at = self._left.pop(name, (self._burst, now))
            left = min(self._burst, left + (now - at) * self._per_s)
            allowed = left >= 1
            self._left[name] = (left - cost if allowed else left, now)
            while len(self._left) > _MAX_KNOWN:
                self._left.popitem(last=False)
        return allowed
