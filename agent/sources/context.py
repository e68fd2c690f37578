"""What is known around an acquisition: room sensors, and who is at the instrument. Time series, a file a month.

Lines of JSON that are only ever added, each written whole: a crash loses at most the line that was being written.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.clock import iso, utc
from agent.contract.record import Captured, Session

log = logging.getLogger(__name__)

SENSORS = {"Temperature": ("degC", -100.0, 200.0), "Humidity": ("%", 0.0, 100.0), "CO2Percent": ("%", 0.0, 100.0)}
"""OME names of ImagingEnvironment with unit and range."""
ROLES = ("user", "project", "sample")
_HOUR_NS = 3600 * 1_000_000_000
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Reading:
    """A value with its age in seconds at the time that was asked about."""

    captured: Captured
    age_s: float


class ContextLog:
    """Written by the daemon's connection and by `session start` and `stop`; any thread, any process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def note_sensor(self, name: str, value: float, at_ns: int) -> None:
        """Keep a reading. ValueError for what is no number in the sensor's range."""
        _, low, high = SENSORS[name]
        if not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"{value} is not between {low:g} and {high:g}")
        self._append({"at": at_ns, "sensor": name, "value": value})

    def note_session(self, at_ns: int, said: dict[str, str], confidence: float) -> None:
        """Somebody is at the instrument: `said` by role (user, project, sample); empty when the session ended."""
        kept = {role: said[role][:_LONGEST_TEXT] for role in ROLES if said.get(role, "").strip()}
        self._append({"at": at_ns, "session": kept, "confidence": confidence})

    def environment(self, at_ns: int, most_age_ns: int = _HOUR_NS) -> dict[str, Reading]:
        """The last reading of each sensor before a time, by OME name; none that is too old."""
        found: dict[str, Reading] = {}
        for line in self._before(at_ns):
            name = line.get("sensor")
            age = at_ns - line["at"]
            if name in SENSORS and age <= most_age_ns:
                value = Captured(
                    value=line["value"], unit=SENSORS[name][0], source="measured", taken_at=iso(line["at"])
                )
                found[name] = Reading(value, age / 1e9)
        return found

    def session(self, at_ns: int) -> Session | None:
        """Who was at the instrument at a time, and how sure that is; None when nobody said."""
        newest: dict[str, Any] | None = None
        for line in self._before(at_ns):
            if "session" in line:
                newest = line
        if newest is None or not newest["session"]:
            return None
        at = iso(newest["at"])
        said = {role: Captured(value=v, source="session", taken_at=at) for role, v in newest["session"].items()}
        return Session(**said, confidence=newest["confidence"])

    def _append(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            # One write, at the end whoever else writes; the newline before it ends a line that a crash left open.
            descriptor = os.open(self._path(line["at"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, f"\n{json.dumps(line)}\n".encode())
            finally:
                os.close(descriptor)

    def _path(self, at_ns: int) -> Path:
        return self._folder / f"{utc(at_ns):%Y-%m}.jsonl"

    def _before(self, at_ns: int) -> Iterator[dict[str, Any]]:
        """Lines up to a time in the order of their times, from this month and the one before it."""
        last = self._path(at_ns)
        names = sorted(path for path in self._folder.glob("*.jsonl") if path <= last)[-2:]
        lines = [line for path in names for line in _lines(path) if line["at"] <= at_ns]
        yield from sorted(lines, key=lambda line: line["at"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # the line that a crash left open
        if isinstance(line, dict) and isinstance(line.get("at"), int):
            yield line
