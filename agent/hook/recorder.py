"""The callbacks of one core, run in the acquisition's own threads.

No hardware, no waiting, no locks during a run: devices are read before its first and after its last frame.
The core is taken by its weak reference only in callbacks that some method of the core itself is waiting for.
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import describe
from .journal import Journal

if TYPE_CHECKING:
    import numpy as np
    from pymmcore_plus import CMMCorePlus
    from pymmcore_plus.mda import RunnerStatus
    from useq import MDAEvent, MDASequence

    Meta = Mapping[str, Any]

CHANGE_INTERVAL_NS = 100_000_000
"""A property that changes faster is noted once before each frame instead of each time."""

_cores = itertools.count(1)
_runs = itertools.count(1)

Property = tuple[str, str]


class Run:
    """What was last written of the run that is on, so that a frame only says what is new."""

    __slots__ = ("camera", "camera_metadata", "dtype", "frames", "id", "lost", "properties", "shape")

    def __init__(self, lost: int) -> None:
        self.id = next(_runs)
        self.lost = lost
        self.frames = 0
        self.properties: Any = None
        self.camera: Any = None
        self.camera_metadata: dict[str, Any] = {}
        self.shape: Any = None
        self.dtype: Any = None


class Recorder:
    """Turns the signals of one core into journal entries."""

    def __init__(self, core: CMMCorePlus, journal: Journal) -> None:
        self.id = next(_cores)
        self._ref = weakref.ref(core)
        self.journal = journal
        self.run: Run | None = None
        self.callbacks: list[Callable[..., None]] = []
        """Strong references: psygnal holds methods weakly, and a dropped one falls off silently."""
        self._noise: set[Property] = set()
        self._last: dict[Property, tuple[str, int]] = {}
        self._pending: dict[Property, tuple[str, int]] = {}
        self._presets: set[tuple[str, str]] = set()
        self._pixel_size: float | None = None

    # ------------------------------------------------------------------ the run

    def started(self, sequence: MDASequence, meta: Meta | None = None) -> None:
        if self.run is not None:
            self.ended(None)
        self.run = run = Run(self.journal.lost)
        self._forget()
        notes = describe.Notes()
        self._noise = notes.attempt("noise", lambda: describe.noise(self._core()), set[Property]())
        entry = {
            "run": run.id,
            "core": self.id,
            "sequence_uid": str(getattr(sequence, "uid", "")),
            **describe.sequence(sequence, notes),
            "outputs": notes.attempt("outputs", lambda: describe.outputs(self._core().mda), []),
            "software": notes.attempt("software", describe.software, {}),
            "configuration": notes.attempt("configuration", lambda: describe.configuration(self._core()), {}),
            "summary": describe.summary(self._core, meta, notes),
            "notes": notes,
        }
        notes.attempt("state at the start", lambda: self._last.update(_known(entry["summary"])), None)
        try:
            self.journal.put("started", entry, urgent=True)
        except Exception as error:  # noqa: BLE001  a run whose start is not written would be lost as a whole
            bare = {"run": run.id, "core": self.id, "notes": [f"start cannot be encoded: {error!r}"]}
            self.journal.put("started", bare, urgent=True)

    def frame(self, image: np.ndarray, event: MDAEvent, meta: Meta | None) -> None:
        now = time.time_ns()
        run = self.run
        if run is None:
            return
        if self._pending:
            self._write_pending()
        run.frames += 1
        meta = meta or {}
        entry = {"run": run.id, "i": dict(event.index), "ms": meta.get("runner_time_ms")}
        _where(entry, event, meta)
        _how(entry, run, event, meta)
        if image.shape != run.shape or image.dtype != run.dtype:
            run.shape, run.dtype = image.shape, image.dtype
            entry["shape"], entry["dtype"] = run.shape, str(run.dtype)
        self.journal.put("frame", entry, now)

    def paused(self, paused: bool) -> None:
        if (run := self.run) is not None:
            # The signal may say paused while the runner goes on: its own phase is written too.
            phase = str(getattr(self._status(), "phase", ""))
            self.journal.put("paused", {"run": run.id, "paused": bool(paused), "phase": phase})

    def canceled(self, _sequence: object) -> None:
        if (run := self.run) is not None:
            self.journal.put("canceled", {"run": run.id})

    def finished(self, sequence: MDASequence) -> None:
        if self.run is None:
            # The run failed before sequenceStarted: it is told all the same, with no frames.
            self.started(sequence)
        self.ended(None)

    def ended(self, error: BaseException | None) -> None:
        """The run is over; `error` is what it raised, where no signal told its end."""
        run, self.run = self.run, None
        if run is None:
            return
        self._write_pending()
        notes = describe.Notes()
        entry = {
            "run": run.id,
            "reason": self._reason(error),
            "frames": run.frames,
            "lost": self.journal.lost - run.lost,
            "state": notes.attempt("end state", lambda: describe.live_state(self._core()), []),
            "notes": notes,
        }
        if error is not None:
            entry["error"] = repr(error)
        self.journal.put("finished", entry, urgent=True)

    def _reason(self, error: BaseException | None) -> str:
        if isinstance(error, KeyboardInterrupt):
            return "canceled"
        reason = getattr(self._status(), "finish_reason", None)
        return str(reason) if reason is not None else "errored" if error is not None else "unknown"

    def _status(self) -> RunnerStatus | None:
        core = self._ref()
        return None if core is None else core.mda.status

    def _core(self) -> CMMCorePlus:
        core = self._ref()
        if core is None:
            raise ReferenceError("the core was deleted")
        return core

    # ------------------------------------------------------------------ settings

    def changed(self, device: str, name: str, value: object) -> None:
        key = (device, name)
        if key in self._noise:
            return
        text = str(value)
        last, at_ns = self._last.get(key, (None, 0))
        now = time.time_ns()
        if now - at_ns < CHANGE_INTERVAL_NS:
            self._pending[key] = (text, now)
        elif text != last:
            self._write_change(key, text, now)

    def _write_change(self, key: Property, value: str, at_ns: int) -> None:
        self._last[key] = (value, at_ns)
        if self.run is not None:
            self.run.properties = None  # the next frame names its channel's properties again
        self.journal.put("property", {"core": self.id, "dev": key[0], "prop": key[1], "val": value}, at_ns)

    def _write_pending(self) -> None:
        while self._pending:
            key, (value, at_ns) = self._pending.popitem()
            if self._last.get(key, (None, 0))[0] != value:
                self._write_change(key, value, at_ns)

    def preset(self, group: str, preset: str) -> None:
        # MMCore sends no propertyChanged for the devices of a preset: their values are read from its cache,
        # once a run, for it takes longer than all the rest.
        entry: dict[str, Any] = {"core": self.id, "group": group, "preset": preset}
        if (group, preset) not in self._presets:
            self._presets.add((group, preset))
            entry["state"] = _group_state(self._core(), group)
        self.journal.put("preset", entry)

    def loaded(self) -> None:
        # MMCore's own thread: if the core were deleted while this holds it, its end would abort the process.
        self._forget()
        self._noise = set()
        self.journal.put("loaded", {"core": self.id})

    def pixel_size(self, um: float) -> None:
        if um != self._pixel_size:
            self._pixel_size = um
            self.journal.put("pixel_size", {"core": self.id, "um": um})

    def roi(self, camera: str, x: int, y: int, width: int, height: int) -> None:
        self.journal.put("roi", {"core": self.id, "camera": camera, "roi": (x, y, width, height)})

    def exposure(self, camera: str, ms: float) -> None:
        if self.run is None:  # in a run each frame says it
            self.journal.put("exposure", {"core": self.id, "camera": camera, "ms": ms})

    def _forget(self) -> None:
        self._last.clear()
        self._pending.clear()
        self._presets.clear()
        self._pixel_size = None

    # ------------------------------------------------------------------ outside a run

    def snapped(self, camera: str = "") -> None:
        if self.run is None:
            self._write_pending()
            self.journal.put("snapped", {"core": self.id, "camera": camera})

    def live(self) -> None:
        self.journal.put("live", {"core": self.id})

    def burst(self, camera: str = "") -> None:
        self.journal.put("burst", {"core": self.id, "camera": camera, "run": self.run.id if self.run else None})

    def stopped(self, camera: str = "") -> None:
        self.journal.put("stopped", {"core": self.id, "camera": camera})


def _known(summary: dict[str, Any]) -> dict[Property, tuple[str, int]]:
    """The state at the start, so that only what differs from it is written as a change."""
    return {
        (device["label"], one["name"]): (str(one["value"]), 0)
        for device in summary["devices"]
        for one in device["properties"]
        if one["value"] is not None
    }


def _where(entry: dict[str, Any], event: MDAEvent, meta: Meta) -> None:
    """Position: where the stages were, or for a triggered frame where they were sent."""
    place = meta.get("position")
    if place:
        entry["x"], entry["y"], entry["z"] = place.get("x"), place.get("y"), place.get("z")
    else:
        entry["x"], entry["y"], entry["z"] = event.x_pos, event.y_pos, event.z_pos
    if event.pos_name is not None:
        entry["pos"] = event.pos_name


def _how(entry: dict[str, Any], run: Run, event: MDAEvent, meta: Meta) -> None:
    """Exposure, channel, camera, and the properties that are new since the last frame."""
    triggered = meta.get("hardware_triggered", False)
    exposure = meta.get("exposure_ms")
    if triggered:
        entry["hw"] = True
        # The core's exposure is the last one set; in a burst the event's own counts.
        exposure = exposure if event.exposure is None else event.exposure
        attached = meta.get("camera_metadata") or {}
        entry["cm"] = {key: value for key, value in attached.items() if run.camera_metadata.get(key) != value}
        run.camera_metadata = attached
    entry["e"] = exposure
    if event.channel is not None:
        entry["ch"] = (event.channel.group, event.channel.config)
    if event.properties:
        entry["set"] = event.properties
    camera = meta.get("camera_device")
    if camera != run.camera:
        run.camera = entry["cam"] = camera
    properties = meta.get("property_values")
    if properties and properties != run.properties:
        run.properties = properties
        entry["pv"] = [(one["dev"], one["prop"], one["val"]) for one in properties]


def _group_state(core: CMMCorePlus, group: str) -> list[tuple[str, str, str]]:
    found = core.getConfigGroupStateFromCache(group, native=True)
    settings = (found.getSetting(number) for number in range(found.size()))
    return [(one.getDeviceLabel(), one.getPropertyName(), one.getPropertyValue()) for one in settings]
