"""The one place where a reader's exceptions end: whatever it raises becomes a line in the metadata.

Readers of vendor files (our own and those of third parties) raise anything on odd content, and vendors
change their formats without notice. The file is delivered all the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agent.formats.port import Metadata

T = TypeVar("T")
INSTALL = "pip install 'scope-agent[formats]'"


def attempt(path: Path, read: Callable[[], T]) -> tuple[T | None, tuple[str, ...]]:
    """What `read` gives, or None and the error in one line. A file that is gone still raises OSError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(), ()
    except ImportError as error:
        missing = error.name or str(error)
        return None, (f"{path.name}: {missing} is not installed, nothing is read: {INSTALL}",)
    except Exception as error:
        if isinstance(error, OSError) and not path.exists():
            raise
        return None, (f"{path.name}: {_line(error)}",)


def guarded(path: Path, read: Callable[[], Metadata]) -> Metadata:
    """What `read` says about `path`, or metadata that hold nothing but the error."""
    found, errors = attempt(path, read)
    return Metadata(errors=errors) if found is None else found


def _line(error: Exception) -> str:
    """An exception in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
