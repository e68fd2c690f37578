"""Reads the log of a power meter, however its program spells the columns, units and numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from itertools import pairwise
from pathlib import Path

import numpy as np

from agent.calibration.frames import Floats
from agent.calibration.result import SHORT_STEP_S
from agent.errors import Rejected

RUN = 30
"""Readings of a series, at least."""
_MILLIWATTS = {"nw": 1e-6, "uw": 1e-3, "µw": 1e-3, "μw": 1e-3, "mw": 1.0, "w": 1e3}
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}
_NAMES = {
    "power": ("power", "optical power", "measured power"),
    "time": ("timestamp", "time", "seconds", "elapsed", "elapsed time", "datetime", "date time", "time of day"),
    "date": ("date",),
    "set point": ("set point fraction", "power set point", "set point", "setpoint"),
    "series": ("series",),
}
_PREAMBLE = 60
"""Lines that a meter's program may write above the names of the columns."""
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class PowerLog:
    """A meter's log: seconds since its start, set point (0 to 1), power in mW; `series` short, long or linearity."""

    times_s: Floats
    set_points: Floats
    power_mw: Floats
    series: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    place: int
    unit: str


def read_log(path: Path) -> PowerLog:
    """A CSV log with columns of time (ISO 8601, or seconds), power with its unit, and where known set point, series.

    Rejected when a column or the unit is missing, a value is no number, or time runs backwards.
    """
    lines = _text(path).splitlines()
    if not any(line.strip() for line in lines):
        raise Rejected(f"{path} holds no readings")
    number, separator, columns = _header(lines, path)
    rows = [row for row in csv.reader(lines[number + 1 :], delimiter=separator) if any(cell.strip() for cell in row)]
    if not rows:
        raise Rejected(f"{path} holds no readings")
    factor = _power_factor(columns["power"], path)
    try:
        values = np.array([_number(row[columns["power"].place], separator) for row in rows]) * factor
        times = _times(rows, columns, separator)
        points = _set_points(rows, columns.get("set point"), separator)
        named = tuple(row[columns["series"].place].strip() for row in rows) if "series" in columns else None
    except (IndexError, ValueError) as error:
        raise Rejected(f"{path}: a reading cannot be understood ({error})") from error
    if not (np.isfinite(values).all() and np.isfinite(times).all() and np.isfinite(points).all()):
        raise Rejected(f"{path}: some readings are not numbers; take them out of the log")
    if np.any(np.diff(times) < 0):
        raise Rejected(f"{path}: time runs backwards; sort the log by time")
    return PowerLog(times - times[0], points, values, named or parts_of(times, points))


def _text(path: Path) -> str:
    """Meters' programs on Windows write UTF-8, UTF-16 or the local code page."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Rejected(f"{path} cannot be read as a power log: {error.strerror or error}") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data[:4096]:
        raise Rejected(f"{path} cannot be read as a power log: it is no text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _header(lines: Sequence[str], path: Path) -> tuple[int, str, dict[str, _Column]]:
    """(line, separator, columns) of the first line that names a time and a power."""
    for number, line in enumerate(lines[:_PREAMBLE]):
        separator = max(";\t,", key=line.count)
        columns: dict[str, _Column] = {}
        for place, cell in enumerate(next(csv.reader([line], delimiter=separator), [])):
            name, unit = _said(cell)
            for kind, spellings in _NAMES.items():
                if name in spellings:
                    columns.setdefault(kind, _Column(place, unit))
        if "power" in columns and ("time" in columns or "date" in columns):
            return number, separator, columns
    raise Rejected(
        f"{path}: a power log has columns timestamp or seconds, power_mw, and where known set_point_fraction, series"
    )


def _said(cell: str) -> tuple[str, str]:
    """Name and unit of a column: `Power (W)`, `power_mw`, `Time [s]`, `Power, µW`."""
    words = re.sub(r"[\s_,()\[\]/]+", " ", cell).strip().split(" ")
    units = _MILLIWATTS.keys() | _SECONDS.keys() | {"%", "dbm"}
    unit = words.pop().lower() if len(words) > 1 and words[-1].lower() in units else ""
    return " ".join(words).lower(), unit


def _power_factor(column: _Column, path: Path) -> float:
    factor = _MILLIWATTS.get(column.unit)
    if factor is None:
        raise Rejected(f"{path}: the unit of the power is {column.unit or 'not said'}; name the column power_mw")
    return factor


def _number(text: str, separator: str) -> float:
    return float(text.strip().replace(",", ".") if separator != "," else text)


def _set_points(rows: list[list[str]], column: _Column | None, separator: str) -> Floats:
    if column is None:
        return np.ones(len(rows))
    scale = 0.01 if column.unit == "%" else 1.0
    return np.array([_number(row[column.place].strip() or "1", separator) for row in rows]) * scale


def _times(rows: list[list[str]], columns: dict[str, _Column], separator: str) -> Floats:
    """Seconds: numbers in the unit of the column, or dates, or times of a day."""
    clock, day = columns.get("time"), columns.get("date")
    if clock is not None and day is None:
        try:
            return np.array([_number(row[clock.place], separator) for row in rows]) * _SECONDS.get(clock.unit, 1.0)
        except ValueError:
            pass  # no numbers: dates
    texts = [" ".join(row[c.place].strip() for c in (day, clock) if c is not None) for row in rows]
    try:
        return np.array([datetime.fromisoformat(text).timestamp() for text in texts])
    except ValueError:
        if day is not None:
            raise
    hours = [time.fromisoformat(text) for text in texts]
    seconds = np.array([t.hour * 3600 + t.minute * 60 + t.second + t.microsecond / 1e6 for t in hours])
    midnights = np.cumsum(np.diff(seconds, prepend=seconds[0]) < -_DAY_S / 2)
    return np.asarray(seconds + _DAY_S * midnights, dtype=np.float64)


def parts_of(times_s: Floats, set_points: Floats) -> tuple[str, ...]:
    """Which reading belongs to which series, where the log does not say: long runs at one set point are stability."""
    labels = ["linearity"] * len(times_s)
    starts = [0, *(np.flatnonzero(np.diff(set_points) != 0) + 1).tolist(), len(set_points)]
    for begin, end in pairwise(starts):
        for first, last in _runs(times_s, begin, end):
            if last - first >= RUN:
                step = float(np.median(np.diff(times_s[first:last])))
                labels[first:last] = ["short" if step <= SHORT_STEP_S else "long"] * (last - first)
    return tuple(labels)


def _runs(times_s: Floats, begin: int, end: int) -> list[tuple[int, int]]:
    """Cut where the pace of the readings changes by more than five times."""
    cuts = [begin]
    pace: float | None = None
    for number in range(begin + 1, end):
        step = float(times_s[number] - times_s[number - 1])
        if pace is not None and not pace / 5 <= step <= pace * 5:
            # A long pause belongs to neither side; a shorter pace begins with the reading before it.
            cuts.append(number if step > pace else number - 1)
            pace = None if step > pace else step
        else:
            pace = step
    cuts = sorted(set(cuts))
    return [(first, last) for first, last in pairwise([*cuts, end]) if last > first]
