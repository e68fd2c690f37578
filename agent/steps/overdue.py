"""Says what calibration is overdue: a retained alert a kind, cleared when it was measured again."""

from __future__ import annotations

from dataclasses import dataclass

from agent.calibration import KINDS
from agent.steps.calibrate import announce_alerts, limits
from agent.steps.station import Station

_EVERY_S = 60.0


@dataclass(slots=True)
class Overdue:
    """Owned by one thread."""

    station: Station
    _at: float = float("-inf")

    def step(self) -> bool:
        """Look once a minute, at what `scope-agent calibrate` recorded in the meantime too. Never asks to go on."""
        now = self.station.clock.monotonic()
        if self.station.registry is None or now - self._at < _EVERY_S:
            return False
        self._at = now
        late: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for due in self.station.registry.due(self.station.clock.now_ns(), self.station.calibration):
            if due.days is None:
                late[due.kind].append(due.what)
            elif due.days > 0:
                late[due.kind].append(f"{due.what} was due {(due.since or '')[:10]}")
        wanted = {f"calibration-{kind}-overdue": "; ".join(lines) or None for kind, lines in late.items()}
        none: dict[str, str | None] = {f"calibration-{kind}-limit": None for kind in KINDS}
        announce_alerts(self.station, {**wanted, **none, **limits(self.station.registry)})
        return False
