"""Free disk that is left to the acquisition: below the reserve the agent writes nothing, only hooks their journals.

What is not written then is not lost: journals and files stay where they are and are heard when there is room again.
"""

from __future__ import annotations

import logging
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import ScopeAgentError
from agent.steps.calibrate import announce_alerts
from agent.steps.station import Station

log = logging.getLogger(__name__)

ALERT = "disk-low"
_LOOK_S = 2.0
_WARN = 2.0
"""The alert is up below so many times the reserve: before it is too late to write one."""
_EASE = 1.1
"""So much more than a limit must be free before it counts as kept again."""


@dataclass(slots=True)
class Reserve:
    """Shared by the threads of the pipeline; looks every two seconds, whoever asks."""

    station: Station
    folder: Path
    """On the disk that is looked at."""
    mib: int
    """The reserve; 0: none."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looked: float = float("-inf")
    _short: bool = False
    _low: bool = False

    def short(self) -> bool:
        """True while nothing may be written."""
        if not self.mib:
            return False
        with self._lock:
            now = self.station.clock.monotonic()
            if now - self._looked >= _LOOK_S:
                self._looked = now
                self._look()
            return self._short

    def _look(self) -> None:
        try:
            free = shutil.disk_usage(self.folder).free >> 20
        except OSError:
            return  # a disk that does not answer says nothing; whoever writes to it will hear
        low, short = self._below(free, self.mib * _WARN, self._low), self._below(free, self.mib, self._short)
        if short is not self._short:
            said = f"below {self.mib} MiB nothing is written, make room" if short else "going on"
            log.warning("%d MiB free at %s: %s", free, self.folder, said, extra={"action": "reserve"})
        self._short = short
        if low is not self._low and not short:
            self._low = low
            self._alert(free if low else None)

    def _below(self, free: int, limit: float, before: bool) -> bool:
        return free < limit * (_EASE if before else 1.0)

    def _alert(self, free: int | None) -> None:
        text = f"{free} MiB free at {self.folder}: below {self.mib} MiB nothing is written, make room"
        try:
            announce_alerts(self.station, {ALERT: None if free is None else text})
        except ScopeAgentError as error:
            log.warning("the alert of little disk space was not written: %s", error, extra={"action": "reserve"})
