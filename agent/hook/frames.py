"""A run as its frames are written: each frame says only what is new since the last one.

The callback hands on what it was given; this is done later, by the writer's thread, a batch at a time: between
two frames the camera has emptied the processor's caches, and the same code takes five times as long there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from useq import MDAEvent

    Meta = Mapping[str, Any]

_runs = itertools.count(1)


class Run:
    """The run that is on. `frames` and `changes` belong to the acquisition, the rest to the writer's thread."""

    __slots__ = (
        "_camera",
        "_changes",
        "_dtype",
        "_metadata",
        "_properties",
        "_shape",
        "changes",
        "frames",
        "id",
        "lost",
    )

    def __init__(self, lost: int) -> None:
        self.id = next(_runs)
        self.lost = lost
        """What the journal had lost before."""
        self.frames = 0
        self.changes = 0
        """Property changes so far: after one, a frame names its channel's properties again."""
        self._changes = 0
        self._properties: Any = None
        self._camera: Any = None
        self._metadata: Mapping[str, Any] = {}
        self._shape: Any = None
        self._dtype: Any = None

    def entry(self, shape: object, dtype: object, event: MDAEvent, meta: Meta | None, changes: int) -> dict[str, Any]:
        """What the journal says of a frame. The frames must come in their order."""
        meta = meta or {}
        entry = {"run": self.id, "i": dict(event.index), "ms": meta.get("runner_time_ms")}
        _where(entry, event, meta)
        self._how(entry, event, meta)
        self._properties_of(entry, meta, changes)
        if shape != self._shape or dtype != self._dtype:
            self._shape, self._dtype = shape, dtype
            entry["shape"], entry["dtype"] = shape, str(dtype)
        return entry

    def _how(self, entry: dict[str, Any], event: MDAEvent, meta: Meta) -> None:
        """Exposure, channel, camera and what the camera's driver attached."""
        exposure = meta.get("exposure_ms")
        if meta.get("hardware_triggered", False):
            entry["hw"] = True
            # The core's exposure is the last one set; in a burst the event's own counts.
            exposure = exposure if event.exposure is None else event.exposure
            attached = meta.get("camera_metadata") or {}
            entry["cm"] = {key: value for key, value in attached.items() if self._metadata.get(key) != value}
            self._metadata = attached
        entry["e"] = exposure
        if event.channel is not None:
            entry["ch"] = (event.channel.group, event.channel.config)
        if event.properties:
            entry["set"] = event.properties
        camera = meta.get("camera_device")
        if camera != self._camera:
            self._camera = entry["cam"] = camera

    def _properties_of(self, entry: dict[str, Any], meta: Meta, changes: int) -> None:
        properties = meta.get("property_values")
        if changes != self._changes:
            self._changes, self._properties = changes, None
        if properties and properties != self._properties:
            self._properties = properties
            entry["pv"] = [(one["dev"], one["prop"], one["val"]) for one in properties]


def _where(entry: dict[str, Any], event: MDAEvent, meta: Meta) -> None:
    """Position: where the stages were, or for a triggered frame where they were sent."""
    place = meta.get("position")
    if place:
        entry["x"], entry["y"], entry["z"] = place.get("x"), place.get("y"), place.get("z")
    else:
        entry["x"], entry["y"], entry["z"] = event.x_pos, event.y_pos, event.z_pos
    if event.pos_name is not None:
        entry["pos"] = event.pos_name
