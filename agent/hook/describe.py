"""What the start and the end of a run say: sequence, live device state, outputs, software.

Reads the hardware, so it is called only before the first and after the last frame.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from . import __version__

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus
    from pymmcore_plus.mda import MDARunner
    from useq import MDASequence

T = TypeVar("T")
D = TypeVar("D")

LIVE_BUDGET_S = 2.0
"""Every property of a slow serial device may take long: what is left after this comes from the cache."""

_DISTRIBUTIONS = ("pymmcore-plus", "pymmcore", "useq-schema", "ome-writers")
_PATH_ATTRIBUTES = ("path", "_path", "_directory", "_filename", "filename", "root_path")


class Notes(list[str]):
    """What could not be described, one line each."""

    def attempt(self, what: str, make: Callable[[], T], otherwise: D) -> T | D:
        """`make()`, or `otherwise` and a note: a part that fails must not cost the other parts."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001
            self.append(f"{what}: {error!r}")
            return otherwise


def software() -> dict[str, str]:
    """Versions of what runs in this process, and the application's name."""
    found = {
        "scope-agent-hook": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found["application"] = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return found


def sequence(plan: MDASequence, notes: Notes) -> dict[str, Any]:
    """The useq sequence as JSON with the length of each axis; empty for a generator of events."""
    if type(plan).__name__ == "GeneratorMDASequence" or not hasattr(plan, "model_dump_json"):
        return {"sequence": {}, "sizes": {}}
    return {
        "sequence": notes.attempt("sequence", lambda: _sequence_json(plan), {}),
        "sizes": notes.attempt("sizes", lambda: {str(k): int(v) for k, v in plan.sizes.items()}, {}),
    }


def _sequence_json(plan: MDASequence) -> msgspec.Raw:
    try:
        return msgspec.Raw(plan.model_dump_json(exclude_unset=True).encode())
    except Exception:  # noqa: BLE001  the user's metadata may hold anything
        return msgspec.Raw(plan.model_dump_json(exclude_unset=True, exclude={"metadata"}).encode())


def summary(core: Callable[[], CMMCorePlus], given: Mapping[str, Any] | None, notes: Notes) -> dict[str, Any]:
    """The summary metadata with every device property read live. `core()` may raise when the core is gone."""
    from pymmcore_plus.metadata import summary_metadata

    if not given or "devices" not in given:
        # A foreign engine gave nothing.
        given = notes.attempt("summary", lambda: dict(summary_metadata(core(), cached=True)), {})
    found = {key: value for key, value in given.items() if key != "mda_sequence"}
    found["devices"] = notes.attempt("live devices", lambda: live_devices(core()), found.get("devices", []))
    return found


def live_devices(core: CMMCorePlus) -> list[dict[str, Any]]:
    """Every device with its properties read live; `"cached": true` where the time was up."""
    from pymmcore_plus.metadata.functions import device_info

    until = time.monotonic() + LIVE_BUDGET_S
    devices = []
    for label in core.getLoadedDevices():
        cached = time.monotonic() > until
        info: dict[str, Any] = dict(device_info(core, label=label, cached=cached))
        if cached:
            info["cached"] = True
        devices.append(info)
    return devices


def live_state(core: CMMCorePlus) -> list[tuple[str, str, str]]:
    """(device, property, value) of every property, read live within the same time."""
    until = time.monotonic() + LIVE_BUDGET_S
    state: list[tuple[str, str, str]] = []
    for device in core.getLoadedDevices():
        read = core.getProperty if time.monotonic() < until else core.getPropertyFromCache
        for name in core.getDevicePropertyNames(device):
            try:
                state.append((device, name, str(read(device, name))))
            except RuntimeError:  # a device that is away; the others still count
                continue
    return state


def configuration(core: CMMCorePlus) -> dict[str, str]:
    """Path and SHA-256 of the loaded Micro-Manager configuration file; empty when none was loaded."""
    path = core.systemConfigurationFile()
    if not path:
        return {}
    found = {"path": str(path)}
    file = Path(path)
    if file.is_file():
        found["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def outputs(runner: MDARunner) -> list[str]:
    """Absolute paths of what the run writes, the main one first.

    No signal and no public attribute of pymmcore-plus 0.18 tells them: the sink and the handlers are asked.
    """
    found: list[str] = []
    sink = getattr(runner, "_sink", None)
    settings = getattr(sink, "_settings", None)
    if settings is not None and settings.root_path:
        found.append(_absolute(settings.output_path))
        backend = getattr(getattr(sink, "_stream", None), "_backend", None)
        managers = getattr(backend, "_position_managers", None)
        if isinstance(managers, dict):
            found += [_absolute(manager.file_path) for manager in managers.values()]
    for handler in tuple(getattr(runner, "_handlers", ())):
        named = (*(getattr(handler, name, None) for name in _PATH_ATTRIBUTES), _zarr_folder(handler), _kvstore(handler))
        found += [_absolute(path) for path in named if isinstance(path, (str, os.PathLike)) and str(path)][:1]
    return list(dict.fromkeys(found))


def _zarr_folder(handler: object) -> object:
    """Of an OMEZarrWriter: the folder of its group, in zarr 3 and 2."""
    store = getattr(getattr(handler, "_group", None), "store", None)
    named = {"LocalStore": "root", "DirectoryStore": "path", "NestedDirectoryStore": "path"}.get(type(store).__name__)
    return getattr(store, named, None) if named else None


def _kvstore(handler: object) -> object:
    """Of a TensorStoreHandler: the path of a store on a disk."""
    store = getattr(handler, "kvstore", None)
    if isinstance(store, Mapping):
        return store.get("path") if store.get("driver") == "file" else None
    if isinstance(store, str) and store.startswith("file://"):
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        return url2pathname(urlsplit(store).path)
    return None


def _absolute(path: os.PathLike[str] | str) -> str:
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100  also removes `..`; links stay as written


def noise(core: CMMCorePlus) -> set[tuple[str, str]]:
    """Properties that change with every frame and say nothing of their own: autoshutter and the stages that
    each frame's position tells."""
    from pymmcore_plus import DeviceType

    found: set[tuple[str, str]] = {(label, "State") for label in core.getLoadedDevicesOfType(DeviceType.Shutter)}
    found |= {(label, "Position") for label in (core.getFocusDevice(), core.getXYStageDevice()) if label}
    return found
