"""sqlite-utils, without what it loads only to know the types of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TYPES_ONLY = ("pandas", "numpy")
"""Loaded by sqlite-utils wherever they are installed: 90 MB and half a second that an idle agent must not cost."""


@contextmanager
def _absent() -> Iterator[None]:
    """Inside the block, modules that nobody loaded yet cannot be loaded."""
    hidden = [name for name in _TYPES_ONLY if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _absent():
    from sqlite_utils import Database

__all__ = ["Database"]
