"""What the start of a run tells: its plan, name, software and the user's own marks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from agent.sources.events import Plan
from agent.sources.journal_lines import Started

COUNT_LIMIT = 100_000
"""Events of an irregular plan are counted one by one, about 20 us each; a longer plan stays open."""

_SUFFIXES = (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ".zarr")


def plan_of(entry: Started) -> Plan:
    """Planned frames. Sizes multiply unless a position has its own sequence or a channel skips frames."""
    sizes = {axis: size for axis, size in entry.sizes.items() if size > 0}
    infos = entry.typed_summary().image_infos
    cameras = infos[0].num_camera_adapter_channels if infos else 1
    if cameras > 1:
        sizes["cam"] = cameras
    axes, shape = tuple(sizes), tuple(sizes.values())
    if not entry.sequence or not sizes:
        return Plan()
    if _regular(entry.sequence):
        return Plan(math.prod(shape), shape, axes)
    counted = _count(entry.sequence)
    frames = None if counted is None else counted * cameras
    return Plan(frames, shape, axes) if frames == math.prod(shape) else Plan(frames)


def _regular(sequence: dict[str, Any]) -> bool:
    positions = sequence.get("stage_positions") or []  # a dictionary when it is a well plate
    if any(isinstance(one, dict) and one.get("sequence") for one in positions):
        return False
    channels = [one for one in sequence.get("channels") or [] if isinstance(one, dict)]
    return all(one.get("do_stack", True) and one.get("acquire_every", 1) == 1 for one in channels)


def _count(sequence: dict[str, Any]) -> int | None:
    from useq import AcquireImage, MDASequence

    frames = 0
    try:
        for number, event in enumerate(MDASequence.model_validate(sequence)):
            if number >= COUNT_LIMIT:
                return None
            frames += event.action is None or isinstance(event.action, AcquireImage)
    except (ValueError, TypeError, LookupError, AttributeError):  # a sequence of another useq version
        return None
    return frames


def name_of(entry: Started) -> str:
    """The name of what is written, else the one given in the acquisition software, else `mda`."""
    if entry.outputs:
        name = Path(entry.outputs[0]).name
        suffix = next((one for one in _SUFFIXES if name.lower().endswith(one)), "")
        return name[: len(name) - len(suffix)] or name
    marks = marks_of(entry)
    return marks.get("pymmcore_widgets.save_name") or marks.get("name") or "mda"


def software_of(entry: Started) -> dict[str, str]:
    """Versions of what ran, with path and SHA-256 of the Micro-Manager configuration."""
    loaded = {"configuration": "path", "configuration-sha256": "sha256"}
    found = {name: entry.configuration[key] for name, key in loaded.items() if key in entry.configuration}
    return entry.software | found


def marks_of(entry: Started) -> dict[str, str]:
    """The user's own metadata of the sequence, keys of nested tables joined by dots."""
    metadata = entry.sequence.get("metadata")
    return dict(_flat(metadata, "")) if isinstance(metadata, dict) else {}


def _flat(value: object, path: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, one in value.items() for pair in _flat(one, f"{path}.{key}" if path else str(key))]
    return [(path, "" if value is None else str(value))]
