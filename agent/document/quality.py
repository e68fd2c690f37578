"""Quality control in the RO-Crate: each result an action of its own on the instrument, each metric a property value."""

from __future__ import annotations

import re
from typing import Any

from agent.contract.record import Metric
from agent.snapshot import Snapshot


def actions(snapshot: Snapshot, instrument: str) -> list[dict[str, Any]]:
    """Entities of the results that hold for the images: an action first, then its values."""
    results: dict[str, dict[str, Metric]] = {}
    for name, metric in snapshot.calibration.metrics.items():
        if metric.result is not None and metric.value is not None:
            results.setdefault(metric.result, {})[name] = metric
    found = []
    for result, metrics in results.items():
        values = [_value(result, name, metric) for name, metric in metrics.items()]
        first = next(iter(metrics.values()))
        action = {
            "@id": f"#qc-{result}",
            "@type": "CreateAction",
            "name": f"Quality control: {first.kind}",
            "identifier": result,
            "endTime": first.measured_at,
            "instrument": {"@id": instrument},
            "object": {"@id": instrument},
            "result": [{"@id": value["@id"]} for value in values],
        }
        found += [action, *values]
    return found


def _value(result: str, name: str, metric: Metric) -> dict[str, Any]:
    limit = "" if metric.limit is None else f", {metric.limit_sense} {metric.limit:g} ({metric.limit_source})"
    status = "no limit" if metric.status == "none" else metric.status
    return {
        "@id": f"#qc-{result}-{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}",
        "@type": "PropertyValue",
        "name": name,
        "value": metric.value,
        **({"unitText": metric.unit} if metric.unit else {}),
        **({"minValue": metric.low, "maxValue": metric.high} if metric.low is not None else {}),
        "description": f"{status}{limit}; measured {metric.age_days:g} days before the acquisition",
    }
