"""Dates as the PC's language writes them: day and month change places, and what could be two days is none."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from agent.formats.parts import date

_TWELVE = 12
_QUARTER = timedelta(minutes=15)


def day_and_time(day: str, clock: str, month_first: bool | None = None) -> tuple[datetime | None, tuple[str, ...]]:
    """A date in the language of the PC. What could be two days is none.

    `month_first` says what AM or PM prove: nothing (False), an American PC (None, for makers who write so).
    """
    numbers = [int(part) for part in re.findall(r"\d+", day)]
    twelve = clock.strip().upper().endswith(("AM", "PM"))
    american = twelve if month_first is None else month_first
    if len(numbers) != 3 or max(numbers) > 9999:
        return None, ()
    first, second, third = numbers
    if first > 31:
        year, month, at = first, second, third
    elif first > _TWELVE or first == second or "." in day:
        at, month, year = first, second, third
    elif second > _TWELVE or american:
        month, at, year = first, second, third
    else:
        return None, (f"the date {day!r} is day first or month first, the file does not say which",)
    form = "%I:%M:%S %p" if twelve else "%H:%M:%S"
    return date(f"{year:04d}-{month:02d}-{at:02d} {clock.strip()}", f"%Y-%m-%d {form}"), ()


def with_zone(local: datetime | None, utc: datetime) -> datetime | None:
    """The local date with the zone that lies between it and `utc`; None when no zone does."""
    if local is None or local.tzinfo is not None:
        return None
    ahead = local.replace(tzinfo=UTC) - utc
    zone = round(ahead / _QUARTER) * _QUARTER
    if abs(ahead - zone) < timedelta(minutes=2) and abs(zone) <= timedelta(hours=14):
        return utc.astimezone(timezone(zone))
    return None
