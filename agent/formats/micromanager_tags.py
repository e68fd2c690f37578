"""What Micro-Manager says of a plane and of an acquisition, whichever of its file formats carries it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from agent.formats.parts import Parts, date, first_number, given, number, plane, positive

Tags = Mapping[str, Any]
_PIXELS = {
    "GRAY8": ("uint8", 1),
    "GRAY16": ("uint16", 1),
    "GRAY32": ("float", 1),
    "RGB32": ("uint8", 3),
    "RGB64": ("uint16", 3),
}
_OBJECTIVE = re.compile(r"(?:.*objective.*|.*nosepiece.*)-Label", re.IGNORECASE)


def value(tags: Tags, *names: str) -> Any:
    """The first of these tags that says something; version 2 wraps values as {"PropVal": ...}."""
    for name in names:
        found = tags.get(name)
        if isinstance(found, Mapping) and "PropVal" in found:
            found = found["PropVal"]
        if found not in (None, ""):
            return found
    return None


def pixels(name: object) -> tuple[str, int]:
    """OME type and samples of a PixelType. Raises ValueError for one that is not known."""
    if name not in _PIXELS:
        raise ValueError(f"the pixel type {name} has no place in OME")
    return _PIXELS[str(name)]


def plane_fields(tags: Tags, z: int, c: int, t: int) -> dict[str, Any]:
    """An OME plane: elapsed time, exposure and stage position are those that were really measured."""
    elapsed = number(value(tags, "ElapsedTime-ms"))
    exposure = number(value(tags, "Exposure-ms", "Exposure"))
    stage = [number(value(tags, f"{axis}PositionUm", f"{axis}Position_um")) for axis in "XYZ"]
    return plane(
        z,
        c,
        t,
        delta_s=None if elapsed is None else elapsed / 1000,
        exposure_s=None if exposure is None else exposure / 1000,
        um=stage,
    )


def began(summary: Tags, first: Tags) -> datetime | None:
    """When the run began: the summary's own date, else that of its first plane, with the zone that they say."""
    for text in (
        value(first, "Time"),
        value(first, "ReceivedTime"),
        value(summary, "StartTime"),
        value(summary, "Time"),
    ):
        found = date(text, "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S.%f %z", "%Y-%m-%d %H:%M:%S -")
        if found is not None:
            return found
    return date(value(summary, "DateAndTime"), "%Y/%m/%d %H:%M:%S")


def steps(summary: Tags, first: Tags, slices: int) -> dict[str, tuple[float, str]]:
    """Size of a voxel; 0 is what Micro-Manager writes where it is not calibrated."""
    found: dict[str, tuple[float, str]] = {}
    size = positive(value(first, "PixelSizeUm")) or positive(value(summary, "PixelSize_um"))
    if size:
        aspect = positive(value(summary, "PixelAspect")) or 1.0
        found |= {"x": (size, "µm"), "y": (size, "µm")} if aspect == 1.0 else {"x": (size, "µm")}
    step = number(value(summary, "z-step_um"))
    if slices > 1 and step:
        found["z"] = (abs(step), "µm")
    return found


def hardware(parts: Parts, tags: Tags) -> tuple[Any, Any]:
    """(objective settings, detector settings) of a plane: the labels that the user's configuration gives them."""
    labels = {str(tags[key]) for key in tags if _OBJECTIVE.fullmatch(key) and tags[key]}
    objective = parts.objective(model=labels.pop()) if len(labels) == 1 else None
    camera = value(tags, "Core-Camera", "Camera")
    if not isinstance(camera, str):
        return objective, None
    binning = str(value(tags, "Binning", f"{camera}-Binning") or "")
    number_of = first_number(binning) if re.fullmatch(r"\d+", binning) else None
    # The Core camera is one of Micro-Manager's devices; several cameras behind one device stay unnamed.
    detector = parts.detector(
        model=value(tags, f"{camera}-CameraName", f"{camera}-Description") or camera,
        serial_number=value(tags, f"{camera}-CameraID"),
        binning=f"{number_of:g}x{number_of:g}" if number_of else binning,
        settings=given(gain=number(value(tags, f"{camera}-Gain"))),
    )
    return objective, detector


def software(summary: Tags) -> dict[str, str]:
    """Name and version of what wrote the files."""
    version = value(summary, "MicroManagerVersion")
    return {"Micro-Manager": str(version)} if version else {}


def channel_names(summary: Tags, count: int) -> list[dict[str, Any]]:
    """Names of the channels, where the summary names each of them."""
    names = value(summary, "ChNames")
    if isinstance(names, str):
        names = [one.strip(' "') for one in names.strip("[]").split(",")]
    if not isinstance(names, Iterable):
        return []
    listed = [str(one) for one in names]
    return [given(name=one) for one in listed] if len(listed) == count else []
