"""Each metric over time with its limits, for figures and dashboards."""

from __future__ import annotations

from collections.abc import Iterable

from agent.calibration.entry import Entry, Verdict
from agent.calibration.registry import about
from agent.calibration.result import Frozen, Kind


class Point(Frozen):
    """One result."""

    measured_at: str
    value: float
    low: float | None = None
    high: float | None = None
    status: Verdict = "none"
    result: str


class Trend(Frozen):
    """A metric of one state of the microscope, oldest first; the limit is the one of the newest result."""

    kind: Kind
    metric: str
    holds_for: str
    unit: str | None
    limit: float | None = None
    sense: str | None = None
    points: list[Point]


def trends(
    entries: Iterable[Entry], kind: str | None = None, metric: str | None = None, every_metric: bool = False
) -> list[Trend]:
    """Of all entries but the corrected ones; without `metric` those that have a limit, or any where none has.

    `every_metric`: those without a limit too.
    """
    every = list(entries)
    corrected = {entry.corrects for entry in every if entry.corrects}
    kept = [entry for entry in every if entry.id not in corrected and kind in (None, entry.kind)]
    slots: dict[tuple[object, ...], list[Entry]] = {}
    for entry in sorted(kept, key=lambda one: one.measured_at):
        slots.setdefault(entry.slot, []).append(entry)
    found = [
        _trend(name, held) for held in slots.values() for name in dict.fromkeys(n for e in held for n in e.metrics)
    ]
    if metric is not None:
        return [trend for trend in found if trend.metric == metric]
    if every_metric:
        return found
    return [trend for trend in found if trend.limit is not None] or found


def _trend(name: str, held: list[Entry]) -> Trend:
    newest = next(entry for entry in reversed(held) if name in entry.metrics)
    last = newest.metrics[name]
    points = [
        Point(measured_at=e.measured_at, value=m.value, low=m.low, high=m.high, status=m.status, result=e.id)
        for e in held
        if (m := e.metrics.get(name)) is not None
    ]
    return Trend(
        kind=newest.kind,
        metric=name,
        holds_for=about(newest),
        unit=last.unit,
        limit=last.limit.value if last.limit else None,
        sense=last.limit.sense if last.limit else None,
        points=points,
    )
