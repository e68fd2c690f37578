r"""Paths of more than 260 characters on Windows, where only the `\\?\` spelling of a path reaches them.

Unless the system lets this process use long paths as they are, a watched folder is spelled so from its root on:
everything below it, whoever opens it, inherits the spelling. `plain` takes it away for comparing and for people.
"""

from __future__ import annotations

import sys
from pathlib import PureWindowsPath

_LOCAL = "\\\\?\\"
_SHARE = "\\\\?\\UNC\\"
_DEVICE = "\\\\.\\"


def extended(path: str) -> str:
    r"""`\\?\C:\...` or `\\?\UNC\server\share\...` for an absolute Windows path; others as they are.

    Behind the prefix Windows takes every character as it stands: no forward slashes, no `.`, no `..`.
    """
    if path.startswith((_LOCAL, _DEVICE)):
        return path
    whole = PureWindowsPath(path)
    if not whole.is_absolute():
        return path
    levels: list[str] = []
    for level in whole.parts[1:]:
        if level == "..":
            del levels[-1:]
        else:
            levels.append(level)
    anchor = whole.drive
    prefix = _SHARE + anchor.lstrip("\\") if anchor.startswith("\\\\") else _LOCAL + anchor
    return "\\".join((prefix, *levels)) if levels else prefix + "\\"


def plain(path: str) -> str:
    """The same path as people write it."""
    if path.startswith(_SHARE):
        return "\\\\" + path[len(_SHARE) :]
    return path.removeprefix(_LOCAL)


def reaching(path: str) -> str:
    """An absolute path spelled so that everything below it can be opened on this system, however long."""
    return path if sys.platform != "win32" or _are_long_paths_on() else extended(path)


def _are_long_paths_on() -> bool:
    if sys.platform == "win32":
        import ctypes

        try:
            return bool(ctypes.WinDLL("ntdll").RtlAreLongPathsEnabled())
        except (OSError, AttributeError):  # before Windows 10 1607
            return False
    return True
