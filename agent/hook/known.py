"""Which environments of this computer have the hook: one path of an interpreter a line."""

from __future__ import annotations

import os
from pathlib import Path

from .spool import of_platform


def _list() -> Path:
    return of_platform().parent / "hooked.txt"


def known() -> list[Path]:
    """The interpreters, as they were named when the hook was installed."""
    try:
        return [Path(line) for line in _list().read_text("utf-8").splitlines() if line]
    except OSError:
        return []


def remember(python: Path) -> None:
    """Add an interpreter. A list that cannot be written costs its place in the overview, nothing else."""
    _write([*(one for one in known() if one != _absolute(python)), _absolute(python)])


def forget(python: Path) -> None:
    """Remove an interpreter, and the list with the last one."""
    if _absolute(python) in known():
        _write([one for one in known() if one != _absolute(python)])


def _write(pythons: list[Path]) -> None:
    path = _list()
    try:
        if not pythons:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{python}\n" for python in pythons), "utf-8")
    except OSError:
        pass


def _absolute(python: Path) -> Path:
    # Not resolved: the link in a venv's folder is what makes it a venv.
    return Path(os.path.abspath(python))  # noqa: PTH100
