"""Planes whose devices were not as their channel says: a laser that was stepped, a wheel that was turned by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.snapshot.channels import Reader
from agent.sources.capture import DeviceProperty

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MANY = 1000
"""More different states come from a sensor that drifts, not from a plan: the device state lists them all."""


def plane_states(channels: NDArray[np.int64], reader: Reader) -> NDArray[np.int64] | None:
    """For each frame the index of its state among `run.plane_states`, which it fills; -1 where the channel says it.

    A channel says what held at its first frame; properties that change within it are added to its settings.
    `channels`: channel number of every frame. None: nothing differs.
    """
    import numpy as np

    frames, run = reader.capture.frames, reader.run
    if len(frames.states) < 2:
        return None
    state = np.asarray(frames.state, dtype=np.int64)
    numbers, first = np.unique(channels, return_index=True)
    base = state[first][np.searchsorted(numbers, channels)]
    pairs, index = np.unique(np.stack([base, state], axis=1), axis=0, return_inverse=True)
    others = [bool(before != now) for before, now in pairs]
    if sum(others) > _MANY:
        run.notes.append(f"{sum(others)} states of the devices within channels: see the device state for each frame's")
        return None
    places = np.full(len(pairs), -1, dtype=np.int64)
    varied: dict[int, set[DeviceProperty]] = {}
    for place, (before, now) in enumerate(pairs.tolist()):
        if others[place]:
            found = _different(reader, before, now)
            places[place] = len(run.plane_states)
            run.plane_states.append({".".join(key): value for key, value in found.items()})
            varied.setdefault(before, set()).update(found)
    for number, row in zip(numbers.tolist(), first.tolist(), strict=True):
        _add(reader, number, row, varied.get(frames.state[row], set()))
    return places[index.reshape(-1)] if any(others) else None


def _different(reader: Reader, before: int, now: int) -> dict[DeviceProperty, str]:
    """What is other in state `now` than in state `before`; both list what differs from the start of the run."""
    states, start = reader.capture.frames.states, reader.devices.start
    one, other = states[before], states[now]
    found = {}
    for key in sorted({*one, *other}):
        at_start = start[key].value if key in start else ""
        if (value := other.get(key, at_start)) != one.get(key, at_start):
            found[key] = value
    return found


def _add(reader: Reader, channel: int, row: int, keys: set[DeviceProperty]) -> None:
    """What held at the channel's first frame of the properties that change later on."""
    if not keys:
        return
    state = reader.timeline.at(row)
    known = {".".join(key): state[key].captured(state[key].value) for key in sorted(keys) if key in state}
    old = reader.run.channels[channel]
    reader.run.channels[channel] = old.model_copy(update={"settings": {**known, **old.settings}})
