"""The result of an analysis: values with units, 95 % intervals and where their formula comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from agent.errors import Rejected

Kind = Literal["detector", "field", "psf", "coregistration", "stage", "power", "pixel-size"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Quality = Literal["good", "low"]
SHORT_STEP_S = 5.0
"""Power readings at most so far apart are of the short series, others of the long one."""


class Frozen(BaseModel):
    """Base of everything that the registry keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Measurement(Frozen):
    """A value; `low` and `high` bound its 95 % interval, None where one measurement cannot tell."""

    value: FiniteFloat
    unit: str | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None


class Analysis(Frozen):
    """What one analysis found. Names of metrics follow microscope-metrics where it has one."""

    kind: Kind
    series: str | None = None
    """Which of several procedures of a kind: `hold` or `return` of the stage."""
    metrics: dict[str, Measurement]
    quality: Quality
    reasons: tuple[str, ...] = ()
    """Why the quality is low, and what was left out, one line each."""
    fit: dict[str, FiniteFloat] = {}
    """How well the model describes the data: R2, reduced chi-square, counts."""
    sources: tuple[str, ...] = ()
    """Where the formulas come from."""
    arrays: dict[str, Any] = Field(default={}, exclude=True, repr=False)
    """numpy arrays for the figure; not kept in the registry."""


@dataclass(slots=True)
class Findings:
    """Collects what an analysis finds; `done` freezes it."""

    kind: Kind
    sources: tuple[str, ...]
    series: str | None = None
    metrics: dict[str, Measurement] = field(default_factory=dict)
    fit: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)
    _doubts: list[str] = field(default_factory=list)
    _remarks: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str | None, half: float | None = None) -> None:
        """A value with the half-width of its 95 % interval. Rejected when the data gave no number."""
        self.between(name, value, unit, None if half is None else (value - half, value + half))

    def between(self, name: str, value: float, unit: str | None, interval: tuple[float, float] | None) -> None:
        """A value with the ends of its 95 % interval."""
        numbers = [float(value), *(map(float, interval) if interval else ())]
        if not all(map(math.isfinite, numbers)):
            raise Rejected(f"{self.kind}: {name} could not be determined from these data")
        low, high = (numbers[1], numbers[2]) if interval else (None, None)
        self.metrics[name] = Measurement(value=numbers[0], unit=unit, low=low, high=high)

    def doubt(self, reason: str) -> None:
        """The result stands, but its quality is low."""
        self._doubts.append(reason)

    def remark(self, text: str) -> None:
        """Worth knowing; the quality stays what it is."""
        self._remarks.append(text)

    def done(self) -> Analysis:
        fit = {name: float(value) for name, value in self.fit.items() if math.isfinite(value)}
        return Analysis(
            kind=self.kind,
            series=self.series,
            metrics=self.metrics,
            quality="low" if self._doubts else "good",
            reasons=(*self._doubts, *self._remarks),
            fit=fit,
            sources=self.sources,
            arrays=self.arrays,
        )
