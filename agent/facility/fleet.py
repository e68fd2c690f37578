"""The fleet: what the instruments say now, beside what they delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agent.clock import Clock, SystemClock
from agent.contract.event import AcquisitionData
from agent.facility.catalogue import Catalogue, InstrumentCount
from agent.facility.live import Alert, Live, Mirror
from agent.facility.measured import Light
from agent.facility.search import Entry, Query

_RECENT = 200
_LAST = 3
_FRESH_S = 30.0


class Microscope(BaseModel):
    """An instrument at a glance; None is unknown."""

    model_config = ConfigDict(frozen=True)

    key: str
    site: str
    instrument: str
    power: Literal["online", "offline", "degraded", "unknown"]
    reasons: list[str] = []
    agent: str | None = None
    status_at: str | None = None
    acquisition: AcquisitionData | None = None
    frames: int | None = None
    planned: int | None = None
    frames_per_s: float | None = None
    queue: int | None = None
    bytes_left: int | None = None
    disk_free: int | None = None
    alerts: list[Alert] = []
    lights: list[Light] = []
    events_missing: int = 0
    """Events that are known to have got lost so far; they are asked for again."""
    datasets: int = 0
    bytes: int = 0
    last: list[Entry] = []

    @property
    def seconds_left(self) -> float | None:
        """Until the planned frames are there, at the rate of now."""
        if not self.frames_per_s or self.planned is None or self.frames is None or self.planned <= self.frames:
            return None
        return (self.planned - self.frames) / self.frames_per_s


class Fleet(BaseModel):
    """Every instrument that was ever heard of, by name; `broker` is None where none is configured."""

    model_config = ConfigDict(frozen=True)

    broker: bool | None
    microscopes: list[Microscope]
    recent: list[Entry]


class FleetView:
    """Joins mirror and catalogue; asks the catalogue only when something was delivered, or half a minute passed."""

    def __init__(self, mirror: Mirror, catalogue: Catalogue, clock: Clock | None = None) -> None:
        self._mirror = mirror
        self._catalogue = catalogue
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._asked: tuple[int, float] | None = None
        self.missing: Callable[[], Mapping[str, int]] = dict
        self._counts: dict[str, InstrumentCount] = {}
        self._recent: list[Entry] = []

    def now(self) -> Fleet:
        """The fleet at this moment. Raises Retryable."""
        with self._lock:
            self._refresh()
            counts, recent = self._counts, self._recent
        live = self._mirror.all()
        last: dict[str, list[Entry]] = {}
        for entry in recent:
            last.setdefault(f"{entry.site}/{entry.instrument}", []).append(entry)
        keys = sorted(live.keys() | counts.keys())
        missing = self.missing()
        scopes = [
            _microscope(key, live.get(key), counts.get(key), last.get(key, [])[:_LAST], missing.get(key, 0))
            for key in keys
        ]
        return Fleet(broker=self._mirror.connected, microscopes=scopes, recent=recent[:20])

    def _refresh(self) -> None:
        # Another replica may have taken the dataset that an instrument announces.
        changes, at = self._catalogue.changes + self._mirror.deliveries, self._clock.monotonic()
        if self._asked and self._asked[0] == changes and at - self._asked[1] < _FRESH_S:
            return
        self._counts = {f"{row.site}/{row.instrument}": row for row in self._catalogue.instruments()}
        self._recent = self._catalogue.find(Query(limit=_RECENT)).items
        self._asked = (changes, at)


def _microscope(
    key: str, live: Live | None, count: InstrumentCount | None, last: list[Entry], missing: int
) -> Microscope:
    site, _, instrument = key.partition("/")
    live = live or Live(site=site, instrument=instrument)
    status, progress = live.status, live.progress
    current = live.current if not status or status.state != "offline" else None
    of_current = progress if progress and current and progress.acquisition == current.id else None
    return Microscope(
        key=key,
        site=site,
        instrument=instrument,
        power=status.state if status else "unknown",
        reasons=status.reasons if status else [],
        agent=status.agent if status else None,
        status_at=live.status_at,
        acquisition=current,
        frames=of_current.frames if of_current else current.frames_actual if current else None,
        planned=(of_current.planned if of_current else None) or (current.frames_planned if current else None),
        frames_per_s=live.frames_per_s if of_current else None,
        queue=progress.queue if progress else status.queue if status else None,
        bytes_left=progress.bytes_left if progress else None,
        disk_free=progress.disk_free if progress else None,
        alerts=list(live.alerts.values()),
        lights=list(live.lights.values()),
        events_missing=missing,
        datasets=count.datasets if count else 0,
        bytes=count.bytes if count else 0,
        last=last,
    )
