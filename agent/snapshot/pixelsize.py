"""The pixel size in the sample: what the core says, what the files say, and what the optics make expect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agent.clock import iso
from agent.contract.record import Captured, Channel, Component
from agent.snapshot.filed import Filed
from agent.snapshot.values import merged, number
from agent.sources.capture import RunCapture

_TOLERANCE = 0.05
"""Relay lenses and objectives keep their nominal magnification to a few percent."""


def pixel_size(
    capture: RunCapture | None,
    filed: Filed,
    components: Sequence[Component],
    in_use: Sequence[str],
    microscope: dict[str, Captured],
    channels: Sequence[Channel],
    conflicts: list[str],
) -> dict[str, Captured]:
    """PhysicalSizeX and Y (um), Config, Affine and Status; a size that nobody calibrated is not there."""
    used = [component for component in components if component.id in in_use]
    optics = _expected(used, microscope, channels)
    core = _by_core(capture)
    found = merged(core, filed.pixel_size, "pixel size", conflicts) if core else dict(filed.pixel_size)
    size = found.get("PhysicalSizeX")
    if size is None:
        if optics is None:
            return {**found, "Status": Captured(value="uncalibrated", source="derived")}
        value = Captured(value=round(optics, 6), unit="um", source="derived")
        status = Captured(value="expected from the optics, never measured", source="derived")
        return {**found, "PhysicalSizeX": value, "PhysicalSizeY": value, "Status": status}
    if optics is not None and isinstance(size.value, float | int):
        found["PhysicalSizeX"] = _checked(size, float(size.value), optics, conflicts)
    found["Status"] = Captured(value="calibrated" if core else "as the files say", source=size.source)
    return found


def with_measured(
    found: dict[str, Captured], measured: dict[str, Captured], conflicts: list[str]
) -> dict[str, Captured]:
    """With the facility's own measurement: it stands where nobody calibrated, and checks what stands."""
    own, said = measured.get("MeasuredPixelSizeX"), found.get("PhysicalSizeX")
    if own is None or not isinstance(own.value, int | float):
        return {**found, **measured}
    if said is None or said.source == "derived":
        other = measured.get("MeasuredPixelSizeY", own)
        status = Captured(value="measured", source="measured", taken_at=own.taken_at)
        found = {**found, "PhysicalSizeX": own, "PhysicalSizeY": other, "Status": status}
    elif isinstance(said.value, int | float) and not math.isclose(said.value, own.value, rel_tol=_TOLERANCE):
        text = f"measured on {(own.taken_at or '')[:10]} was {own.value:.4g} um"
        conflicts.append(f"pixel size is {said.value:.4g} um by {said.source}, but {text}")
        found = {**found, "PhysicalSizeX": said.model_copy(update={"conflict": text})}
    return {**found, **measured}


def _checked(size: Captured, value: float, optics: float, conflicts: list[str]) -> Captured:
    if math.isclose(value, optics, rel_tol=_TOLERANCE):
        return size
    said = f"camera pixel and magnification in use make {optics:.4g} um"
    conflicts.append(f"pixel size is {value:.4g} um by {size.source}, but {said}")
    return size.model_copy(update={"conflict": said})


def _by_core(capture: RunCapture | None) -> dict[str, Captured]:
    """What Micro-Manager's pixel size configuration says; 0 means that there is none for this state."""
    infos = capture.summary.get("image_infos") if capture else None
    if capture is None or not infos:
        return {}
    info: dict[str, Any] = infos[0]
    value = info.get("pixel_size_um") or 0.0
    if not value > 0:
        return {}
    at = iso(capture.started_ns)

    def live(content: Any, unit: str | None = None) -> Captured:
        return Captured(value=content, unit=unit, source="live", taken_at=at)

    found = {"PhysicalSizeX": live(float(value), "um"), "PhysicalSizeY": live(float(value), "um")}
    if info.get("pixel_size_config_name"):
        found["Config"] = live(str(info["pixel_size_config_name"]))
    if info.get("pixel_size_affine"):
        found["Affine"] = live([float(number_) for number_ in info["pixel_size_affine"]])
    return found


def _expected(used: Sequence[Component], microscope: dict[str, Captured], channels: Sequence[Channel]) -> float | None:
    """Camera pixel times binning over magnification, when each of them is known and unambiguous."""
    objectives = [c for c in used if c.kind == "Objective"]
    detectors = [c for c in used if c.kind == "Detector"]
    between = _value(microscope.get("IntermediateMagnification"))
    if len(objectives) != 1 or len(detectors) != 1 or not between:
        return None
    pitch = _value(detectors[0].attributes.get("PixelWidth"))
    nominal = objectives[0].attributes.get("NominalMagnification")
    magnification = _value(objectives[0].attributes.get("CalibratedMagnification", nominal))
    bins = {str(c.settings["Binning"].value) for c in channels if "Binning" in c.settings}
    factor = number(bins.pop()) if len(bins) == 1 else None
    if not pitch or not magnification or not factor:
        return None
    return pitch * factor / (magnification * between)


def _value(captured: Captured | None) -> float | None:
    value = captured.value if captured else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
