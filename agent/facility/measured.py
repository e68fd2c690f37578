"""What an instrument announces of its quality control: a light a kind, and its measurements."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.clock import Clock, SystemClock, iso
from agent.contract.event import CalibrationData
from agent.facility.catalogue import Measurement


class Light(BaseModel):
    """How a kind of quality control stands."""

    model_config = ConfigDict(frozen=True)

    kind: str
    status: Literal["pass", "fail"]
    next_due: str | None = None

    @classmethod
    def of(cls, kind: str, said: CalibrationData) -> Light:
        return cls(kind=kind, status=said.status, next_due=said.next_due[:40] if said.next_due else None)

    def now(self, clock: Clock | None = None) -> Literal["pass", "fail", "overdue"]:
        """`overdue` once the day has passed; text in RFC 3339 UTC sorts like time."""
        due = self.next_due
        if self.status == "pass" and due and due < iso((clock or SystemClock()).now_ns()):
            return "overdue"
        return self.status


def measurements(site: str, instrument: str, said: CalibrationData) -> list[Measurement]:
    """Every metric of every result that was announced; what cannot be understood is left out."""
    found = []
    for result in said.results:
        metrics = result.get("metrics")
        for name, metric in metrics.items() if isinstance(metrics, dict) else ():
            one = _measurement(metric, {"site": site, "instrument": instrument, "metric": name, "kind": said.kind,
                                        "measured_at": result.get("measured_at")})  # fmt: skip
            if one is not None:
                found.append(one)
    return found


def _measurement(metric: Any, where: dict[str, Any]) -> Measurement | None:
    if not isinstance(metric, dict):
        return None
    try:
        told = {key: metric[key] for key in ("value", "unit", "low", "high", "sense", "status") if key in metric}
        one = Measurement.model_validate(where | told | {"bound": metric.get("limit")})
    except ValidationError:
        return None
    return one if math.isfinite(one.value) and math.isfinite(one.bound or 0.0) else None
