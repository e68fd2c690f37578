"""What is in force for an acquisition: the latest result of each metric that holds for its optics and camera."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.calibration.entry import Entry, Holds, Judged, days_between, time_of
from agent.calibration.registry import Registry
from agent.calibration.result import KINDS
from agent.clock import utc
from agent.contract.record import CalibrationState, Captured, Channel, Component, Metric

# Settings of a camera that change what was measured. The rest, such as exposure, may differ.
_MODE = {
    "detector": ("Binning", "Gain", "AmplificationGain", "ReadoutMode", "ReadOutRate", "BitDepth"),
    "pixel-size": ("Binning",),
}


def mode_for(kind: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Of a camera's settings those that a result of this kind depends on."""
    return {name: settings[name] for name in _MODE.get(kind, ()) if name in settings}


def relevant(kind: str, held: Holds) -> Holds:
    """The state without what makes no difference to a kind: a camera's noise is the same behind any objective."""
    if kind == "detector":
        return held.model_copy(update={"objective": None, "channels": ()})
    if kind == "stage":
        return Holds()
    if kind == "power":
        return Holds(channels=held.channels)
    if kind == "pixel-size":
        return held.model_copy(update={"channels": ()})
    return held.model_copy(update={"mode": {}})


def holding(
    entries: Iterable[Entry],
    objective: Collection[str],
    camera: Collection[str],
    channels: Collection[str],
    mode: Mapping[str, str],
) -> list[Entry]:
    """The entries whose state is that of an acquisition.

    `objective` and `camera` are the names that each is known by (device, label, model, serial number). What an
    entry does not name makes no difference to it; what it names must be known of the acquisition, and be the same.
    """

    def holds(held: Holds) -> bool:
        same_mode = all(mode.get(name, value) == value for name, value in held.mode.items())
        return (
            same_mode
            and (held.objective is None or held.objective in objective)
            and (held.camera is None or held.camera in camera)
            and set(held.channels) <= set(channels)
        )

    return [entry for entry in entries if holds(entry.holds_for)]


@dataclass(frozen=True, slots=True)
class Setup:
    """The state of an acquisition: every name that its objective and camera are known by, channels and mode."""

    objective: tuple[str, ...] = ()
    camera: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    mode: tuple[tuple[str, str], ...] = ()

    def holds(self, kind: str, channels: tuple[str, ...]) -> Holds:
        """What a result of this kind, measured in this state, holds for."""
        mode = mode_for(kind, dict(self.mode))
        held = Holds(
            objective=next(iter(self.objective), None),
            camera=next(iter(self.camera), None),
            mode=mode,
            channels=channels,
        )
        return relevant(kind, held)


def setup_of(components: Iterable[Component], in_use: Collection[str], channels: Sequence[Channel]) -> Setup:
    """The state that a snapshot or record describes. Of several objectives or cameras in use none is chosen."""
    used = [component for component in components if component.id in in_use]
    modes: dict[str, set[str]] = {}
    for channel in channels:
        for name, captured in channel.settings.items():
            modes.setdefault(name, set()).add(str(captured.value))
    known = {name for names in _MODE.values() for name in names}
    mode = tuple((name, next(iter(values))) for name, values in modes.items() if len(values) == 1 and name in known)
    names = tuple(dict.fromkeys(channel.name for channel in channels))
    return Setup(_names(used, "Objective"), _names(used, "Detector"), names, mode)


def _names(used: list[Component], kind: str) -> tuple[str, ...]:
    """The name that people use first."""
    found = [component for component in used if component.kind == kind]
    if len(found) != 1:
        return ()
    one = found[0]
    told = [one.attributes[name].value for name in ("Model", "SerialNumber") if name in one.attributes]
    names = [one.label, one.device, *(str(name) for name in told if name), one.id]
    # Positions of a turret share the device: its name says nothing about which objective it is.
    if one.label is not None:
        names.remove(one.device)
    return tuple(dict.fromkeys(name for name in names if name))


def state_for(
    registry: Registry,
    objective: Collection[str],
    camera: Collection[str],
    channels: Collection[str],
    at_ns: int,
    mode: Mapping[str, str] | None = None,
) -> CalibrationState:
    """Latest result of each metric at a time (UTC ns), with its age; kinds without one are named with status `none`.

    Without any result `metrics` is empty. The pixel size comes with method and date where it was measured.
    """
    return state_of(holding(registry.in_force(at_ns), objective, camera, channels, mode or {}), at_ns)


def state_at(results: Iterable[Entry], setup: Setup, at_ns: int) -> CalibrationState:
    """The same from results that are in force and the state of an acquisition; pure."""
    found = holding(results, setup.objective, setup.camera, setup.channels, dict(setup.mode))
    return state_of(found, at_ns)


def state_of(found: Sequence[Entry], at_ns: int) -> CalibrationState:
    """The state that these entries make; a later one of a metric replaces an earlier one."""
    if not found:
        return CalibrationState()
    now = utc(at_ns)
    metrics: dict[str, Metric] = {}
    for entry in sorted(found, key=lambda one: time_of(one.measured_at)):
        overdue = now > time_of(entry.due_at)
        metrics |= {_key(name, entry): _metric(value, entry, overdue, at_ns) for name, value in entry.metrics.items()}
    present = {entry.kind for entry in found}
    never = {kind: Metric(value=None, unit=None, kind=kind) for kind in KINDS if kind not in present}
    return CalibrationState(pixel_size=_pixel_size(found), metrics=metrics | never)


def _key(name: str, entry: Entry) -> str:
    channels = entry.holds_for.channels
    return f"{name} ({' to '.join(channels)})" if channels else name


def _metric(found: Judged, entry: Entry, overdue: bool, at_ns: int) -> Metric:
    limit = found.limit
    status: Literal["pass", "fail", "overdue", "none"] = found.status
    if overdue and status != "fail":
        status = "overdue"
    return Metric(
        value=found.value,
        unit=found.unit,
        low=found.low,
        high=found.high,
        limit=limit.value if limit else None,
        limit_sense=limit.sense if limit else None,
        limit_source=limit.source if limit else None,
        measured_at=entry.measured_at,
        age_days=round(days_between(entry.measured_at, utc(at_ns)), 2),
        status=status,
        kind=entry.kind,
        quality=entry.quality,
        result=entry.id,
    )


def _pixel_size(found: Sequence[Entry]) -> dict[str, Captured]:
    """The measured size of a pixel; of several the latest."""
    sized = [entry for entry in found if entry.kind == "pixel-size"]
    if not sized:
        return {}
    entry = max(sized, key=lambda one: time_of(one.measured_at))

    def measured(value: float | str | list[float], unit: str | None = None) -> Captured:
        return Captured(value=value, unit=unit, source="measured", taken_at=entry.measured_at)

    said = {"MeasuredMethod": measured(entry.series or "unknown"), "MeasuredBy": measured(entry.id)}
    for axis in "xy":
        size = entry.metrics.get(f"pixel_size_{axis}_micron")
        if size is not None:
            said[f"MeasuredPixelSize{axis.upper()}"] = measured(size.value, "um")
    terms = [entry.metrics.get(f"affine_{name}_micron") for name in ("a", "b", "c", "d")]
    if all(terms):
        said["MeasuredAffine"] = measured([term.value for term in terms if term], "um")
    return said
