"""Connects a recorder to the signals of each core, and catches every run whichever way it ends."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import describe
from .journal import Journal
from .recorder import Recorder
from .spool import default_spool

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus
    from pymmcore_plus.mda import MDARunner, PMDAEngine

_recorders: weakref.WeakKeyDictionary[MDARunner, Recorder] = weakref.WeakKeyDictionary()
"""The recorder of each runner (core.mda)."""
_journals: dict[Path, Journal] = {}
_lock = threading.Lock()

_OURS = "_scope_agent"

FIRST = 100
"""psygnal priority: before the other listeners, one of which may raise and cut off the rest."""

RUN_SIGNALS = {
    "sequenceStarted": "started",
    "frameReady": "frame",
    "sequencePauseToggled": "paused",
    "sequenceCanceled": "canceled",
    "sequenceFinished": "finished",
}
CORE_SIGNALS = {
    "systemConfigurationLoaded": "loaded",
    "configSet": "preset",
    "propertyChanged": "changed",
    "pixelSizeChanged": "pixel_size",
    "roiSet": "roi",
    "exposureChanged": "exposure",
    "imageSnapped": "snapped",
    "continuousSequenceAcquisitionStarted": "live",
    "sequenceAcquisitionStarted": "burst",
    "sequenceAcquisitionStopped": "stopped",
}


def attach(core: CMMCorePlus, spool: os.PathLike[str] | str | None = None) -> None:
    """Journal everything `core` does; once a core, never raises."""
    try:
        runner = core.mda
        _patch_run(type(runner))
        with _lock:
            if runner in _recorders:
                return
            journal = _journal(Path(spool) if spool is not None else default_spool())
            recorder = _recorders[runner] = Recorder(core, journal)
        _connect_all(runner.events, RUN_SIGNALS, recorder)
        _connect_all(core.events, CORE_SIGNALS, recorder)
        journal.put(
            "attached",
            {
                "core": recorder.id,
                "type": type(core).__name__,
                "events": type(runner.events).__name__,
                "pid": os.getpid(),
                "argv": sys.argv[:1],
                "software": describe.software(),
            },
        )
    except BaseException as error:  # noqa: BLE001  the acquisition software comes first
        sys.stderr.write(f"scope-agent hook is not active: {error!r}\n")


def _journal(spool: Path) -> Journal:
    if spool not in _journals:
        _journals[spool] = Journal(spool)
    return _journals[spool]


def _connect_all(events: object, signals: dict[str, str], recorder: Recorder) -> None:
    for name, method in signals.items():
        signal = getattr(events, name, None)
        if signal is None:  # not in this version of pymmcore-plus
            continue
        callback = guarded(getattr(recorder, method), recorder.journal)
        recorder.callbacks.append(callback)
        try:
            _connect(signal, callback)
        except Exception as error:  # noqa: BLE001  the other signals still count
            recorder.journal.failed(error)


def _connect(given: object, callback: Callable[..., None]) -> None:
    signal: Any = getattr(given, "_signal", given)  # some are wrapped in a DeprecatedSignalProxy
    binding = type(signal).__module__.partition(".")[0]
    if binding.startswith(("PyQt", "PySide")):
        # Queued, the callback would wait for the GUI, and PyQt6 would drop it in a thread without event loop.
        qt = importlib.import_module(f"{binding}.QtCore").Qt
        signal.connect(callback, qt.ConnectionType.DirectConnection)
    else:
        signal.connect(callback, check_nargs=False, check_types=False, priority=FIRST)


def guarded(callback: Callable[..., None], journal: Journal) -> Callable[..., None]:
    """`callback` that never raises: an exception in a slot can abort a run or the process."""

    def call(*args: object) -> None:
        try:
            callback(*args)
        except BaseException as error:  # noqa: BLE001
            journal.failed(error)

    return call


def patch(runner: type[MDARunner]) -> None:
    """Have each new MDARunner attach its core: called once pymmcore-plus is imported."""
    set_engine = runner.set_engine
    if getattr(set_engine, _OURS, False):
        return

    @functools.wraps(set_engine)
    def hooked(self: MDARunner, engine: PMDAEngine) -> PMDAEngine | None:
        old = set_engine(self, engine)
        core = getattr(engine, "mmcore", None)
        if core is not None and getattr(core, "_mda_runner", None) is self:
            attach(core)
        return old

    _replace(runner, "set_engine", hooked)


def _patch_run(runner: type[MDARunner]) -> None:
    """Have each run end in the journal: Ctrl-C or an engine whose teardown raises lose sequenceFinished."""
    run = runner.run
    if getattr(run, _OURS, False):
        return

    @functools.wraps(run)
    def hooked(self: MDARunner, *args: Any, **kwargs: Any) -> None:
        error: BaseException | None = None
        _watch(self, on=True)
        try:
            run(self, *args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            _watch(self, on=False)
            _ended(self, error)

    _replace(runner, "run", hooked)


def _replace(runner: type[MDARunner], name: str, method: Callable[..., object]) -> None:
    setattr(method, _OURS, True)
    setattr(runner, name, method)


def _watch(runner: MDARunner, *, on: bool) -> None:
    recorder = _recorders.get(runner)
    if recorder is not None:
        recorder.watched = on


def _ended(runner: MDARunner, error: BaseException | None) -> None:
    recorder = _recorders.get(runner)
    if recorder is not None and recorder.run is not None:
        guarded(recorder.ended, recorder.journal)(error)
