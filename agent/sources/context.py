"""What is known around an acquisition: room sensors, and who is at the instrument. Time series in files.

    room-{day}.jsonl         readings                      late-{day}.jsonl        readings that came late
    sessions-{month}.jsonl   who began and ended when      amended-{month}.jsonl   sessions told late, and corrections,
                                                                                   by the month they were told in

Lines of JSON that are only ever added, each written whole: a crash loses at most the line that was being written,
and what was known before an amendment stays readable.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.clock import iso, utc
from agent.contract.record import Captured, Session

log = logging.getLogger(__name__)

SENSORS = {"Temperature": ("degC", -100.0, 200.0), "Humidity": ("%", 0.0, 100.0), "CO2Percent": ("%", 0.0, 100.0)}
"""OME names of ImagingEnvironment with unit and range."""
ROLES = ("user", "project", "sample")
CORRECTED = 0.95
"""Confidence of what a human corrected."""
_HOUR_NS = 3600 * 1_000_000_000
_DAY_NS = 24 * _HOUR_NS
_LATE_NS = 5 * 1_000_000_000
_STALE_NS = 12 * _HOUR_NS
"""A session that nobody ended is half as sure after this time."""
_LONGEST_TEXT = 200
_LAST_NS = 2**63 - 1

Said = Mapping[str, str | float | None]
"""By role or OME name of a sensor; None: it is not known after all."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value with its age in seconds at the time that was asked about."""

    captured: Captured
    age_s: float


@dataclass(frozen=True, slots=True)
class Late:
    """Something was said of a time that is over: acquisitions that began in it may be known better now."""

    since_ns: int
    until_ns: int
    by: str
    reason: str | None
    acquisition: str | None
    """Only this one, where it is named."""
    place: tuple[str, int]
    """File, and offset behind the line."""


class ContextLog:
    """Written by the daemon's connection and by the commands `session` and `amend`; any thread, any process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def note_sensor(self, name: str, value: float, at_ns: int, noted_ns: int | None = None) -> None:
        """Keep a reading; `noted_ns` is now, where it was taken earlier. ValueError for what is not in its range."""
        line = {"at": at_ns, "sensor": name, "value": _in_range(name, value)}
        late = noted_ns is not None and noted_ns - at_ns > _LATE_NS
        self._append(f"{'late' if late else 'room'}-{_day(at_ns)}", line | ({"noted": noted_ns} if late else {}))

    def note_session(
        self,
        at_ns: int,
        said: Mapping[str, str],
        confidence: float,
        noted_ns: int | None = None,
        until_ns: int | None = None,
        marks: Mapping[str, str] | None = None,
    ) -> None:
        """Somebody is at the instrument: `said` by role (user, project, sample); empty when the session ended.

        `noted_ns` is now, where the session began earlier; `until_ns` its end, where that is known. `marks`: what
        its runs are for, such as calibration; with marks alone the people stay who they are.
        """
        line: dict[str, Any] = {"at": at_ns, "session": _roles(said), "confidence": confidence}
        if marks:
            line["marks"] = {key: _legible(value) for key, value in marks.items()}
            before = self._in_force(at_ns)
            if not line["session"] and before is not None:
                line |= {"session": before["session"], "confidence": before["confidence"]}
        line |= {"until": until_ns} if until_ns is not None else {}
        if noted_ns is not None and noted_ns - at_ns > _LATE_NS:
            self._append(f"amended-{_month(noted_ns)}", line | {"noted": noted_ns})
        else:
            self._append(f"sessions-{_month(at_ns)}", line)

    def correct(
        self,
        said: Said,
        noted_ns: int,
        *,
        by: str,
        reason: str | None = None,
        since_ns: int = 0,
        until_ns: int | None = None,
        acquisition: str | None = None,
    ) -> None:
        """A human knows better: of one acquisition, or of all that began in a time. ValueError for a bad value."""
        kept = {key: _value(key, value) for key, value in said.items()}
        line: dict[str, Any] = {"at": since_ns, "until": noted_ns if until_ns is None else until_ns, "correct": kept}
        line |= {"by": by, "reason": reason, "acquisition": acquisition, "noted": noted_ns}
        self._append(f"amended-{_month(noted_ns)}", line)

    def environment(self, at_ns: int, most_age_ns: int = _HOUR_NS) -> dict[str, Reading]:
        """The last reading of each sensor before a time, by OME name; none that is too old."""
        found: dict[str, Reading] = {}
        for line in self._readings(at_ns, most_age_ns):
            found[line["sensor"]] = Reading(_reading(line), (at_ns - line["at"]) / 1e9)
        return found

    def session(self, at_ns: int) -> Session | None:
        """Who was at the instrument at a time, and how sure that is; None when nobody said."""
        newest = self._in_force(at_ns)
        if newest is None or not newest["session"]:
            return None
        stale = "until" not in newest and at_ns - newest["at"] > _STALE_NS
        return Session(**_people(newest), confidence=newest["confidence"] / (2 if stale else 1))

    def marks(self, at_ns: int) -> dict[str, str]:
        """What the runs of the session at a time are marked with; empty when nobody said."""
        newest = self._in_force(at_ns)
        return dict(newest.get("marks", {})) if newest is not None else {}

    def corrections(self, acquisition: str, started_ns: int) -> dict[str, Captured | None]:
        """What humans corrected of an acquisition, by role or OME name of a sensor; the last word of each."""
        found: dict[str, Captured | None] = {}
        for line in self._amended(0):
            of = line.get("acquisition")
            meant = of == acquisition if of else line["at"] <= started_ns < line.get("until", 0)
            if meant and "correct" in line:
                found |= {key: _corrected(key, value, line["noted"]) for key, value in line["correct"].items()}
        return found

    def knows(self, key: str, captured: Captured, started_ns: int) -> bool:
        """True for a value of a record that came from here; what a run or a file says for itself did not."""
        if key in SENSORS:
            known = any(_reading(line) == captured for line in self._readings(started_ns) if line["sensor"] == key)
        else:
            known = any(_people(line).get(key) == captured for line in self._sessions(started_ns))
        return known or any(
            _corrected(key, line["correct"].get(key), line["noted"]) == captured
            for line in self._amended(0)
            if "correct" in line
        )

    def late(self, offsets: Mapping[str, int]) -> Iterator[Late]:
        """What was said of times that are over, behind an offset in each file."""
        for path in sorted([*self._folder.glob("amended-*.jsonl"), *self._folder.glob("late-*.jsonl")]):
            offset = offsets.get(path.name, 0)
            if path.stat().st_size <= offset:
                continue
            with path.open("rb") as file:
                file.seek(offset)
                for text in file:
                    if not text.endswith(b"\n"):
                        break  # being written
                    offset += len(text)
                    line = _line(text)
                    if line is not None:
                        yield _late(line, (path.name, offset))

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            # One write, at the end whoever else writes; the newline before it ends a line that a crash left open.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            descriptor = os.open(self._folder / f"{name}.jsonl", flags, 0o600)
            try:
                os.write(descriptor, f"\n{json.dumps(line)}\n".encode())
            finally:
                os.close(descriptor)

    def _in_force(self, at_ns: int) -> dict[str, Any] | None:
        """The session that began last before a time and was not over by then."""
        return next((line for line in reversed(self._sessions(at_ns)) if at_ns < line.get("until", at_ns + 1)), None)

    def _readings(self, at_ns: int, most_age_ns: int = _HOUR_NS) -> list[dict[str, Any]]:
        """Readings of the time before, in the order of their times."""
        first = at_ns - most_age_ns
        days = {_day(at) for at in (*range(first, at_ns, _DAY_NS), at_ns)}
        paths = [path for kind in ("room", "late") for day in days for path in self._folder.glob(f"{kind}-{day}.jsonl")]
        lines = [line for path in paths for line in _lines(path)]
        known = [line for line in lines if line.get("sensor") in SENSORS and first <= line["at"] <= at_ns]
        return sorted(known, key=lambda line: line["at"])

    def _sessions(self, at_ns: int) -> list[dict[str, Any]]:
        """Sessions that began before, in the order of their times: those of two months, and what was told late."""
        last = self._folder / f"sessions-{_month(at_ns)}.jsonl"
        paths = sorted(path for path in self._folder.glob("sessions-*.jsonl") if path <= last)[-2:]
        lines = [*(line for path in paths for line in _lines(path)), *self._amended(at_ns)]
        return sorted(
            (line for line in lines if "session" in line and line["at"] <= at_ns), key=lambda line: line["at"]
        )

    def _amended(self, at_ns: int) -> Iterator[dict[str, Any]]:
        """What was told late of a time, so never before it."""
        first = self._folder / f"amended-{_month(at_ns)}.jsonl"
        for path in sorted(path for path in self._folder.glob("amended-*.jsonl") if path >= first):
            yield from (line for line in _lines(path) if "noted" in line)


def _day(at_ns: int) -> str:
    return f"{utc(at_ns):%Y-%m-%d}"


def _month(at_ns: int) -> str:
    return f"{utc(at_ns):%Y-%m}"


def _value(key: str, value: str | float | None) -> str | float | None:
    if value is None:
        return None
    if key in SENSORS:
        return _in_range(key, float(value))
    if key not in ROLES:
        raise ValueError(f"{key!r} is none of {', '.join((*ROLES, *SENSORS))}")
    return _legible(str(value)) or None


def _in_range(name: str, value: float) -> float:
    _, low, high = SENSORS[name]
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{value} is not between {low:g} and {high:g}")
    return value


def _roles(said: Mapping[str, str]) -> dict[str, str]:
    return {role: text for role in ROLES if (text := _legible(said.get(role, "")))}


def _legible(text: str) -> str:
    """What every document takes: no control characters, no halves of characters, and not too long."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:_LONGEST_TEXT]


def _reading(line: dict[str, Any]) -> Captured:
    name = line["sensor"]
    return Captured(value=line["value"], unit=SENSORS[name][0], source="measured", taken_at=iso(line["at"]))


def _people(line: dict[str, Any]) -> dict[str, Captured]:
    at = iso(line["at"])
    return {role: Captured(value=v, source="session", taken_at=at) for role, v in _roles(line["session"]).items()}


def _corrected(key: str, value: str | float | None, noted_ns: int) -> Captured | None:
    if value is None:
        return None
    unit = SENSORS[key][0] if key in SENSORS else None
    return Captured(value=value, unit=unit, source="session", taken_at=iso(noted_ns))


def _late(line: dict[str, Any], place: tuple[str, int]) -> Late:
    since, noted = line["at"], line.get("noted", line["at"])
    if "sensor" in line:
        return Late(since, min(since + _HOUR_NS, noted), "sensor", None, None, place)
    by = str(line.get("by") or "session")
    return Late(since, min(line.get("until", noted), noted), by, line.get("reason"), line.get("acquisition"), place)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_bytes().splitlines():
        line = _line(text)
        if line is not None:
            yield line


def _line(text: bytes) -> dict[str, Any] | None:
    """None for a line that a crash left open, or of a time that was none."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    at = line.get("at") if isinstance(line, dict) else None
    return line if isinstance(at, int) and 0 <= at <= _LAST_NS else None
