"""Hooks pymmcore-plus when it is imported; the .pth file has a finder wait for that (see install.py).

Not even this module is loaded in a process that never imports pymmcore-plus.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

TARGET = "pymmcore_plus.mda._runner"
"""MDARunner is the class to hook: CMMCorePlus itself is a SWIG built-in type and cannot be patched."""


def find(finder: Any, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """What the other finders find, made to call the wiring once it is imported; `finder` waits no longer."""
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)
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
