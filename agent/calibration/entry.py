"""An entry of the registry: a result, what it holds for, its limits, and how long it holds."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field

from agent.calibration.result import Analysis, Frozen, Kind, Measurement, Quality
from agent.calibration.settings import CalibrationSettings
from agent.clock import iso
from agent.contract.ids import uuid7

Sense = Literal["at most", "at least"]
Verdict = Literal["pass", "fail", "none"]

_DEFAULTS = {
    "fwhm_ratio_xy": "MetroloJ_QC; Faklaris et al. 2022",
    "fwhm_ratio_z": "MetroloJ_QC",
    "uniformity_percent": "MetroloJ_QC; Faklaris et al. 2022",
    "centring_accuracy_percent": "MetroloJ_QC",
    "coregistration_ratio": "MetroloJ_QC",
}
_AT_LEAST = frozenset(
    [
        "uniformity_percent",
        "centring_accuracy_percent",
        "short_term_power_stability_percent",
        "long_term_power_stability_percent",
        "power_linearity_coefficient_of_determination",
    ]
)
# One limit of the policy may hold for several metrics.
_SAME_LIMIT = {
    "fwhm_ratio_x": "fwhm_ratio_xy",
    "fwhm_ratio_y": "fwhm_ratio_xy",
    "x_repeatability_micron": "repeatability_micron",
    "y_repeatability_micron": "repeatability_micron",
    "z_repeatability_micron": "repeatability_micron",
    "z_drift_velocity_micron_per_minute": "drift_velocity_micron_per_minute",
}


class Limit(Frozen):
    """What a value must reach, and who says so."""

    value: float
    sense: Sense
    source: str


class Judged(Measurement):
    """A measurement held against its limit."""

    limit: Limit | None = None
    status: Verdict = "none"


class Holds(Frozen):
    """The state of the microscope that a result holds for; what is None or empty makes no difference to it."""

    objective: str | None = None
    camera: str | None = None
    mode: dict[str, str] = Field(default_factory=dict)
    """Settings of the camera that matter: Binning, Gain, ReadoutMode."""
    channels: tuple[str, ...] = ()
    """Names of the channels; for a co-registration the pair."""


class Input(Frozen):
    """A file that was analysed."""

    name: str
    size: int
    sha256: str


class Entry(Frozen):
    """One line of the registry. Never changed: a correction is a new entry that names the old one."""

    id: str
    instrument: str
    kind: Kind
    series: str | None = None
    measured_at: str
    """RFC 3339, when the data were taken."""
    recorded_at: str
    recorded_by: str
    holds_for: Holds = Holds()
    metrics: dict[str, Judged] = Field(default_factory=dict)
    quality: Quality = "good"
    reasons: tuple[str, ...] = ()
    fit: dict[str, float] = Field(default_factory=dict)
    sources: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    acquisition: str | None = None
    """Id of the acquisition that was analysed by itself."""
    due_at: str
    """RFC 3339, when it must be measured again."""
    due_source: str
    corrects: str | None = None
    """Id of the entry that this one replaces; without metrics it takes that one back."""
    comment: str | None = None
    software: str

    @property
    def slot(self) -> tuple[object, ...]:
        """Entries of one slot follow each other: the newest is in force."""
        held = self.holds_for
        mode = tuple(sorted(held.mode.items()))
        return (self.kind, self.series, held.objective, held.camera, mode, held.channels)

    @property
    def values(self) -> dict[str, float]:
        """What was measured, without what it was held against."""
        return {name: found.value for name, found in self.metrics.items()}

    @property
    def failed(self) -> list[str]:
        """Metrics that crossed their limit, one line each."""
        return [
            f"{name} is {m.value:.4g}{' ' + m.unit if m.unit else ''}, must be {m.limit.sense} {m.limit.value:g}"
            for name, m in self.metrics.items()
            if m.limit and m.status == "fail"
        ]


def judged(name: str, found: Measurement, policy: CalibrationSettings) -> Judged:
    """The measurement held against the policy's limit. A crossed limit fails even where the interval touches it."""
    key = _SAME_LIMIT.get(name, name)
    value = getattr(policy.limits, key, 0.0) if key != "stabilisation_threshold_um" else 0.0
    if not value:
        return Judged(**found.model_dump())
    default = type(policy.limits).model_fields[key].default
    source = _DEFAULTS.get(key, "facility policy") if value == default else "facility policy"
    sense: Sense = "at least" if key in _AT_LEAST else "at most"
    reached = abs(found.value) if key == "drift_velocity_micron_per_minute" else found.value
    good = reached >= value if sense == "at least" else reached <= value
    limit = Limit(value=value, sense=sense, source=source)
    return Judged(**found.model_dump(), limit=limit, status="pass" if good else "fail")


def entry_of(
    analysis: Analysis,
    policy: CalibrationSettings,
    *,
    instrument: str,
    by: str,
    software: str,
    holds_for: Holds,
    measured_ns: int,
    now_ns: int,
    inputs: tuple[Input, ...] = (),
    acquisition: str | None = None,
    corrects: str | None = None,
    comment: str | None = None,
) -> Entry:
    """The entry of an analysis under a policy. `measured_ns` and `now_ns`: UTC nanoseconds."""
    days, source = policy.days_of(analysis.kind)
    return Entry(
        id=str(uuid7(now_ns)),
        instrument=instrument,
        kind=analysis.kind,
        series=analysis.series,
        measured_at=iso(measured_ns),
        recorded_at=iso(now_ns),
        recorded_by=by,
        holds_for=holds_for,
        metrics={name: judged(name, found, policy) for name, found in analysis.metrics.items()},
        quality=analysis.quality,
        reasons=analysis.reasons,
        fit=dict(analysis.fit),
        sources=analysis.sources,
        inputs=inputs,
        acquisition=acquisition,
        due_at=iso(measured_ns + days * 86_400 * 1_000_000_000),
        due_source=source,
        corrects=corrects,
        comment=comment,
        software=software,
    )


def input_of(path: Path) -> Input:
    """Name, size and SHA-256 of a file; OSError when it cannot be read."""
    import hashlib

    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Input(name=path.name, size=path.stat().st_size, sha256=digest)


def time_of(text: str) -> datetime:
    """The aware datetime of an RFC 3339 text."""
    return datetime.fromisoformat(text)


def days_between(earlier: str, later: datetime) -> float:
    """Days from a time of an entry to `later`."""
    return (later - time_of(earlier)) / timedelta(days=1)
