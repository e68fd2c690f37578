"""Waits for pymmcore-plus without importing it: the only code that every Python start pays for.

No import but sys, not even of __future__: annotations are in quotes.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

TARGET = "pymmcore_plus.mda._runner"
"""MDARunner is the class to hook: CMMCorePlus itself is a SWIG built-in type and cannot be patched."""


class PostImport:
    """A finder that lets the others find `TARGET` and calls the wiring once it is imported."""

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name != TARGET:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                return self._hooked(spec)
        return None

    def _hooked(self, spec: "ModuleSpec") -> "ModuleSpec":
        loader: Any = spec.loader
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            return spec

        def exec_module(module: "ModuleType") -> None:
            execute(module)
            unregister()
            _wire(module)

        loader.exec_module = exec_module
        return spec


_finder = PostImport()


def _wire(module: "ModuleType") -> None:
    # The acquisition software must start even when the hook is broken.
    try:
        from .wiring import patch

        patch(module.MDARunner)
    except BaseException as error:  # noqa: BLE001
        sys.stderr.write(f"scope-agent hook is not active: {error!r}\n")


def register() -> None:
    """Begin to wait. Called by the .pth file."""
    if TARGET not in sys.modules and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def unregister() -> None:
    """Stop waiting."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
