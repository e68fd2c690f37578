"""Numbers to the coordinates of small charts; the templates draw them as SVG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from agent.facility.catalogue import Measurement, Usage

WIDTH, HEIGHT = 320, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 10, 10
_MAX_BARS = 24
_MAX_DRAWN = 300
_STRETCH = 2
"""Width of what shares two dots, where there are more measurements than can be told apart."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A measurement in the chart; `top` and `bottom` are the ends of its interval."""

    x: float
    y: float
    top: float
    bottom: float
    said: Measurement


@dataclass(frozen=True, slots=True)
class Trend:
    """A metric of an instrument over time."""

    instrument: str
    metric: str
    unit: str
    dots: list[Dot]
    drawn: list[Dot]
    """All of them; of thousands, of each stretch the lowest, the highest, and one that failed."""
    limit_y: float | None
    lowest: float
    highest: float

    @property
    def last(self) -> Measurement:
        return self.dots[-1].said

    @property
    def line(self) -> str:
        """Points of the polyline."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.drawn)


@dataclass(frozen=True, slots=True)
class Bar:
    """A month of an instrument; `share` is its bytes in percent of the largest month."""

    said: Usage
    share: float


def trends(measurements: Iterable[Measurement]) -> list[Trend]:
    """A chart for each instrument and metric; measurements come sorted by instrument, metric and time."""
    found = []
    for (site, instrument, metric), group in groupby(measurements, lambda one: (one.site, one.instrument, one.metric)):
        dated = [(when, one) for one in group if (when := _seconds(one.measured_at)) is not None]
        if dated:
            found.append(_trend(f"{site}/{instrument}", metric, sorted(dated, key=lambda pair: pair[0])))
    return found


def usage_table(usage: list[Usage]) -> dict[str, list[Bar]]:
    """By instrument, the newest month first."""
    largest = max((one.bytes for one in usage), default=0) or 1
    table: dict[str, list[Bar]] = {}
    for one in usage:
        table.setdefault(f"{one.site}/{one.instrument}", []).append(Bar(one, 100 * one.bytes / largest))
    return {key: bars[:_MAX_BARS] for key, bars in sorted(table.items())}


def _trend(instrument: str, metric: str, dated: list[tuple[float, Measurement]]) -> Trend:
    last = dated[-1][1]
    values = [value for _, one in dated for value in (one.value, one.low, one.high) if value is not None]
    values += [last.bound] if last.bound is not None else []
    lowest, highest = min(values), max(values)
    first, newest = dated[0][0], dated[-1][0]

    def across(when: float) -> float:
        share = (when - first) / (newest - first) if newest > first else 0.5
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def up(value: float) -> float:
        share = (value - lowest) / (highest - lowest) if highest > lowest else 0.5
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    dots = [
        Dot(across(when), up(one.value), up(_or(one.high, one.value)), up(_or(one.low, one.value)), one)
        for when, one in dated
    ]
    limit_y = up(last.bound) if last.bound is not None else None
    return Trend(instrument, metric, last.unit or "", dots, _drawn(dots), limit_y, lowest, highest)


def _drawn(dots: list[Dot]) -> list[Dot]:
    if len(dots) <= _MAX_DRAWN:
        return dots
    found: list[Dot] = []
    for _, stretch in groupby(dots, lambda dot: dot.x // _STRETCH):
        here = list(stretch)
        kept = [max(here, key=lambda dot: dot.y), min(here, key=lambda dot: dot.y)]
        kept += [dot for dot in here if dot.said.status == "fail"][:1]
        found += sorted({id(dot): dot for dot in kept}.values(), key=lambda dot: dot.x)
    return found


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
