"""Journals whose runs are documented are removed, the oldest first, so that the spool stays bounded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from agent.acquisition import State
from agent.sources.journal import prune
from agent.steps.station import Station

log = logging.getLogger(__name__)

_EVERY_S = 600.0
_NEEDING = (State.ACQUIRING, State.ABORTED, State.SETTLING, State.COMPLETE, State.CAPTURED, State.REJECTED)
"""In these states an acquisition may still be read from its journal."""
_FOREVER_NS = 1 << 62


@dataclass(slots=True)
class Journals:
    """Owned by the thread that listens."""

    station: Station
    spool: Path
    keep_bytes: int
    _due: float = 0.0

    def step(self) -> None:
        """Prune every ten minutes."""
        now = self.station.clock.monotonic()
        if now < self._due:
            return
        self._due = now + _EVERY_S
        needed = self._needed()
        offsets = self.station.outbox.offsets()
        removed = prune(self.spool, self.keep_bytes, lambda name: min(offsets.get(name, 0), needed.get(name, 1 << 62)))
        if removed:
            log.info("%d old journals removed", len(removed), extra={"action": "journals.pruned"})

    def _needed(self) -> dict[str, int]:
        """The first byte of each journal that an acquisition may still need."""
        first: dict[str, int] = {}
        for state in _NEEDING:
            for entry in self.station.outbox.due(state, _FOREVER_NS, limit=100_000):
                span = entry.acquisition.span
                if span is not None:
                    name = Path(span.path).name
                    first[name] = min(span.start, first.get(name, span.start))
        return first
