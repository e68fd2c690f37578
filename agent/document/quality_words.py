"""What the quality control in force says, in words."""

from __future__ import annotations

from agent.contract.record import Metric
from agent.document.english import figure, listed

_KINDS = {
    "psf": "resolution (beads)",
    "field": "evenness of the illumination",
    "coregistration": "registration of the channels",
    "detector": "camera noise and gain",
    "stage": "stage repeatability",
    "power": "illumination power",
    "pixel-size": "pixel size",
}


def quality(metrics: dict[str, Metric]) -> str:
    """What is known of the state of the instrument, kind by kind."""
    known = [metric for metric in metrics.values() if metric.value is not None]
    if not known:
        return "Quality-control measurements of this instrument were not available."
    kinds = dict.fromkeys(metric.kind or "" for metric in known)
    parts = [_kind(kind, [m for m in known if (m.kind or "") == kind]) for kind in kinds]
    failed = [_failure(name, metric) for name, metric in metrics.items() if metric.status == "fail"]
    never = sorted({_KINDS.get(m.kind or "", m.kind or "") for m in metrics.values() if m.value is None} - {""})
    said = f"Quality control in force at the time: {'; '.join(parts)}."
    beyond = f" Outside of its limits: {listed(failed)}." if failed else ""
    return said + beyond + (f" Never measured: {listed(never)}." if never else "")


def _kind(kind: str, metrics: list[Metric]) -> str:
    latest = max(metrics, key=lambda metric: metric.measured_at or "")
    states = {metric.status for metric in metrics}
    state = next((words for status, words in _STATES if status in states), "no limits set")
    day = f"measured on {(latest.measured_at or '')[:10]}" if latest.measured_at else "date not known"
    return f"{_KINDS.get(kind, kind)} {day}, {state}"


_STATES = (("fail", "not within its limits"), ("overdue", "overdue"), ("pass", "within its limits"))


def _failure(name: str, metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    limit = f" ({metric.limit_sense or 'limit'} {figure(metric.limit)}{unit})" if metric.limit is not None else ""
    return f"{name.replace('_', ' ')} {figure(metric.value or 0.0)}{unit}{limit}"
