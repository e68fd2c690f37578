"""Notices that somebody set the clock: times before and after do not compare, and a human should know."""

from __future__ import annotations

import logging

from agent.clock import Clock, iso

log = logging.getLogger(__name__)

LARGEST_S = 5.0
"""Time synchronisation that works moves a clock by less."""
_TOLD_S = 600.0


class Jumps:
    """Asked about once a second by its owner; a computer that slept wakes with a jump too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = self._offset()
        self._text: str | None = None
        self._until = 0.0

    def problem(self) -> str | None:
        """What happened in the last ten minutes, in one line; logged once."""
        ahead = self._offset()
        moved = ahead - self._ahead
        now = self._clock.monotonic()
        # Slow correction adds up to nothing: each look compares with the one before.
        self._ahead = ahead
        if abs(moved) > LARGEST_S:
            way = "ahead" if moved > 0 else "back"
            at = iso(self._clock.now_ns())[:19]
            self._text = (
                f"the clock jumped {abs(moved):.0f} s {way} at {at}Z: check this machine's time synchronisation"
            )
            self._until = now + _TOLD_S
            log.warning("%s", self._text, extra={"action": "clock.jumped"})
        return self._text if self._text is not None and now < self._until else None

    def _offset(self) -> float:
        return self._clock.now_ns() / 1e9 - self._clock.monotonic()
