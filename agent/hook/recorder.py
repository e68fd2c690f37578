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
from .frames import Run
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

Property = tuple[str, str]


class Recorder:
    """Turns the signals of one core into journal entries."""

    def __init__(self, core: CMMCorePlus, journal: Journal) -> None:
        self.id = next(_cores)
        self._ref = weakref.ref(core)
        self.journal = journal
        self.run: Run | None = None
        self.watched = False
        """Whether the runner's method is watched, so that its end calls `ended` in any case."""
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

    def frame(self, image: np.ndarray, event: MDAEvent, meta: Meta | None = None) -> None:
        # Nothing but noting down: whatever is done here takes several times as long as it would elsewhere.
        now = time.time_ns()
        run = self.run
        if run is not None:
            if self._pending:
                self._write_pending()
            run.frames += 1
            self.journal.put_later("frame", now, (Run.entry, run, image.shape, image.dtype, event, meta, run.changes))

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
        if not (self.watched and self._reason(None) == "errored"):
            self.ended(None)
        # Else what went wrong is only known when the runner's own method raises it, a moment later.

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
            "state": notes.attempt("end state", lambda: describe.live_state(self._core()), []),
            "notes": notes,
        }
        if error is not None:
            entry["error"] = repr(error)
        # Made after the frames before it, which may still fail.
        self.journal.put_later("finished", time.time_ns(), (self._counted, entry, run.lost))
        self.journal.sync()

    def _counted(self, entry: dict[str, Any], lost: int) -> dict[str, Any]:
        return {**entry, "lost": self.journal.lost - lost}

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
            self.run.changes += 1
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


def _group_state(core: CMMCorePlus, group: str) -> list[tuple[str, str, str]]:
    found = core.getConfigGroupStateFromCache(group, native=True)
    settings = (found.getSetting(number) for number in range(found.size()))
    return [(one.getDeviceLabel(), one.getPropertyName(), one.getPropertyValue()) for one in settings]
