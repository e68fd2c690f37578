"""Hooks pymmcore-plus when it is imported; the .pth file has a finder wait for that (see install.py).

Not even this module is loaded in a process that never imports pymmcore-plus (but where a Python was upgraded in
place: see `wait`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

TARGET = "pymmcore_plus.mda._runner"
"""MDARunner is the class to hook: CMMCorePlus itself is a SWIG built-in type and cannot be patched."""


class _Finder:
    """What the .pth file makes without this module, see install.py."""

    waits_for = TARGET

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return find(name, path, target) if name == TARGET else None


def wait() -> None:
    """Have the import of pymmcore-plus found by `find`."""
    sys.meta_path.insert(0, _Finder)


def find(name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """What the other finders find, made to call the wiring once it is imported; ours waits no longer."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "waits_for", None) != TARGET]
    for other in sys.meta_path:
        spec = other.find_spec(name, path, target)
        if spec is not None:
            return _hooked(spec)
    return None


def _hooked(spec: ModuleSpec) -> ModuleSpec:
    loader: Any = spec.loader
    execute = getattr(loader, "exec_module", None)
    if execute is None:
        return spec

    def exec_module(module: ModuleType) -> None:
        execute(module)
        _wire(module)

    loader.exec_module = exec_module
    return spec


def _wire(module: ModuleType) -> None:
    # The acquisition software must start even when the hook is broken.
    try:
        from .wiring import patch

        patch(module.MDARunner)
    except BaseException as error:  # noqa: BLE001
        sys.stderr.write(f"scope-agent hook is not active: {error!r}\n")
