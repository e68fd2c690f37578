"""A hooked run as images and channels: one image a position, planes in columns, channels by their devices' states."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from agent.snapshot.channels import Reader, Run, channel
from agent.snapshot.devices import Devices
from agent.snapshot.hardware import Mounted, in_use
from agent.snapshot.model import Image, Planes, StageLabel
from agent.snapshot.plane_states import plane_states
from agent.snapshot.profile import Profile
from agent.sources.capture import Frames, RunCapture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PLANE_AXES = ("t", "c", "z", "cam")


@dataclass(frozen=True, slots=True)
class _Table:
    """The index of every frame as columns; -1 (no such axis) reads as 0."""

    t: NDArray[np.int64]
    c: NDArray[np.int64]
    z: NDArray[np.int64]
    image: NDArray[np.int64]
    keys: list[tuple[int, ...]]
    cameras: int


def read_run(capture: RunCapture, profile: Profile, devices: Devices, found: list[Mounted]) -> Run:
    """Images, channels and the components in use of a run."""
    run = Run()
    if not len(capture.frames):
        run.first_state = dict(devices.start)
        run.notes.append("no frame reached the hook")
        return run
    table = _table(capture.frames)
    reader = Reader(capture, profile, devices, found, run)
    _channels(table, reader)
    states = plane_states(table.c, reader)
    _images(table, reader, states)
    return run


def _table(frames: Frames) -> _Table:
    import numpy as np

    rows = np.asarray(frames.index, dtype=np.int64).reshape(len(frames), -1)
    rows = np.maximum(rows, 0)
    zero = np.zeros(len(frames), dtype=np.int64)
    column = {axis: rows[:, n] for n, axis in enumerate(frames.axes)}
    others = [column[axis] for axis in sorted(column, key=_image_axis) if axis not in _PLANE_AXES]
    cam = column.get("cam", zero)
    cameras = int(cam.max()) + 1
    if others:
        keys, image = np.unique(np.stack(others, axis=1), axis=0, return_inverse=True)
        names = [tuple(int(n) for n in key) for key in keys]
    else:
        image, names = zero, [()]
    channel = column.get("c", zero) * cameras + cam
    z, t = column.get("z", zero), column.get("t", zero)
    return _Table(t, channel, z, image.reshape(-1), names, cameras)


def _image_axis(axis: str) -> tuple[bool, str]:
    """Positions vary slowest among images, whatever order the frames came in."""
    return (axis != "p", axis)


def _channels(table: _Table, reader: Reader) -> None:
    import numpy as np

    planned = reader.planned_channels()
    count = max(int(table.c.max()) + 1, len(planned) * table.cameras)
    for number in range(count):
        rows = np.flatnonzero(table.c == number)
        plan = planned[number // table.cameras] if number // table.cameras < len(planned) else {}
        reader.run.channels.append(channel(number, rows.tolist(), plan, table.cameras, reader))


def _images(table: _Table, reader: Reader, states: NDArray[np.int64] | None) -> None:
    import numpy as np

    order = np.argsort(table.image, kind="stable")
    starts = np.searchsorted(table.image[order], np.arange(len(table.keys) + 1))
    for number, key in enumerate(table.keys):
        rows = order[starts[number] : starts[number + 1]]
        reader.run.images.append(_image(number, key, rows, table, reader, states))


def _image(
    number: int,
    key: tuple[int, ...],
    rows: NDArray[np.int64],
    table: _Table,
    reader: Reader,
    states: NDArray[np.int64] | None,
) -> Image:
    import numpy as np

    frames, capture = reader.capture.frames, reader.capture
    t, c, z = table.t[rows], table.c[rows], table.z[rows]
    size_z, size_t = int(z.max()) + 1, int(t.max()) + 1
    _, first = np.unique((t * (int(table.c.max()) + 1) + c) * size_z + z, return_index=True)
    name = _name(frames.position[int(rows[0])], key)
    if len(first) < len(rows):
        reader.run.notes.append(f"{name}: {len(rows) - len(first)} frames repeat an index; the first is listed")
        rows = rows[np.sort(first)]
    reader.run.numbers.append(array("q", rows.astype("=i8").tobytes()))
    height, width = frames.shape[:2] if len(frames.shape) >= 2 else _planned_shape(capture)
    samples = frames.shape[2] if len(frames.shape) > 2 else 1
    planes = _planes(table, rows, frames, capture.started_ns)
    if states is not None and (states[rows] >= 0).any():
        planes = replace(planes, state=array("q", states[rows].astype("=i8").tobytes()))
    return Image(
        name=name,
        size=(width, height, size_z, len(reader.run.channels) * samples, size_t),
        pixel_type=_PIXEL_TYPES.get(frames.dtype, "uint16"),
        samples=samples,
        z_step_um=z_step(capture.sequence),
        t_step_s=t_step(capture.sequence),
        stage=_stage_label(name, planes, size_z),
        channels=tuple(range(len(reader.run.channels))),
        objective=_objective(int(rows[0]), reader),
        planes=planes,
    )


def _name(position: str | None, key: tuple[int, ...]) -> str:
    """The name of the position with the numbers of further axes (tiles of a grid), or the numbers alone."""
    if not position:
        return "-".join(str(n) for n in key) or "0"
    return "-".join([position, *(str(n) for n in key[1:])])


def _planned_shape(capture: RunCapture) -> tuple[int, int]:
    """(height, width) that the camera was set to, where no frame told its own."""
    infos = capture.summary.get("image_infos") or [{}]
    return int(infos[0].get("height", 1)), int(infos[0].get("width", 1))


_PIXEL_TYPES = {
    "uint8": "uint8",
    "int8": "int8",
    "uint16": "uint16",
    "int16": "int16",
    "uint32": "uint32",
    "int32": "int32",
    "float32": "float",
    "float64": "double",
}


def _objective(row: int, reader: Reader) -> str | None:
    state = reader.timeline.at(row)
    active = in_use(reader.found, state, None, autofocus=False)
    return next((m.component.id for m in active if m.component.kind == "Objective"), None)


def _planes(table: _Table, rows: NDArray[np.int64], frames: Frames, started_ns: int) -> Planes:
    import numpy as np

    def ints(values: NDArray[np.int64]) -> array[int]:
        return array("q", values[rows].astype("=i8").tobytes())

    def floats(values: array[float], factor: float = 1.0) -> array[float]:
        column = np.asarray(values, dtype=np.float64) if len(values) else np.full(len(frames), np.nan)
        return array("d", (column[rows] * factor).tobytes())

    delta = np.asarray(frames.runner_ms, dtype=np.float64) / 1e3
    since = (np.asarray(frames.at_ns, dtype=np.int64) - started_ns) / 1e9
    delta = np.where(np.isnan(delta), since, delta) if len(delta) else since
    return Planes(
        ints(table.z),
        ints(table.c),
        ints(table.t),
        # Microseconds are what clocks and callbacks are good for.
        array("d", np.round(delta[rows], 6).tobytes()),
        floats(frames.exposure_ms, 1e-3),
        floats(frames.x_um),
        floats(frames.y_um),
        floats(frames.z_um),
    )


def _stage_label(name: str, planes: Planes, size_z: int) -> StageLabel:
    """Where the first plane was taken; a stack has no height of its own."""

    def first(column: array[float]) -> float | None:
        return None if not len(column) or math.isnan(column[0]) else column[0] + 0.0

    return StageLabel(name, first(planes.x_um), first(planes.y_um), first(planes.z_um) if size_z == 1 else None)


def z_step(sequence: dict[str, Any]) -> float | None:
    """Distance of the planes of a stack in um, None when it is not constant or not planned."""
    plan = sequence.get("z_plan") or {}
    if plan.get("step"):
        return abs(float(plan["step"]))
    places = plan.get("relative") or plan.get("absolute") or []
    steps = {round(abs(b - a), 6) for a, b in pairwise(places)}
    step = steps.pop() if len(steps) == 1 else 0.0
    return step or None


def t_step(sequence: dict[str, Any]) -> float | None:
    """Planned interval in seconds, None for as fast as possible, several phases or no time plan."""
    plan = sequence.get("time_plan") or {}
    interval = plan.get("interval") if isinstance(plan, dict) else None
    return float(interval) if isinstance(interval, int | float) and interval > 0 else None
