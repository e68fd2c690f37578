"""The clock was set back: what was postponed by the old time must not wait for it to come again."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from agent.steps.station import Station

log = logging.getLogger(__name__)

_SET_NS = 5 * 10**9
"""Smaller steps are time synchronisation at work."""
_LONGEST_NS = 7 * 3600 * 10**9
"""Nothing is ever postponed for so long: it was by a clock that was wrong, before this start."""


@dataclass(slots=True)
class Backwards:
    """Owned by one thread."""

    station: Station
    _ahead_ns: int | None = None
    """Wall clock minus the clock that never goes back, when last looked at."""

    def step(self) -> None:
        """Compare the clocks."""
        now = self.station.clock.now_ns()
        ahead, before = now - int(self.station.clock.monotonic() * 1e9), self._ahead_ns
        self._ahead_ns = ahead
        if before is None:
            self._bring_forward(now, now, now + _LONGEST_NS)
        elif before - ahead > _SET_NS:
            self._bring_forward(now, before - ahead, now)

    def _bring_forward(self, now_ns: int, by_ns: int, after_ns: int) -> None:
        count = self.station.outbox.bring_forward(now_ns, by_ns, after_ns)
        if count:
            log.warning(
                "the clock went back: %d acquisitions that were postponed by it come sooner", count,
                extra={"action": "clock"},
            )  # fmt: skip
