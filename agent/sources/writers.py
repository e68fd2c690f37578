"""Does somebody still hold a file open for writing? Asked of the system, never by writing.

Size and time alone called a file finished that a pausing or memory-mapped writer was still writing.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from agent.sources.mounts import is_network

_IN_USE = frozenset({32, 33})
"""ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION"""
_GONE = frozenset({2, 3})
"""ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND"""


def is_open_for_writing(path: Path) -> bool | None:
    """True while a process on this machine can write to the file, False when none can.

    None where it cannot be told: macOS, network shares (writers on other machines do not show), files of
    another user. Raises FileNotFoundError when the file is gone. On Windows a writer that opens the file
    in the microseconds of the probe is refused: ask only after the file was quiet.
    """
    if sys.platform == "linux":
        busy = _linux(path)
    elif sys.platform == "win32":
        busy = _windows(path)
    else:
        path.stat()
        return None
    # "Nobody here" says nothing about a share; "somebody" does.
    return None if busy is False and is_network(path.parent) is not False else busy


def _linux(path: Path) -> bool | None:
    """A read lease is only granted while nobody can write; it costs 6 microseconds."""
    if sys.platform != "linux":
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    try:
        return refuses_lease(descriptor)
    finally:
        os.close(descriptor)


def refuses_lease(descriptor: int) -> bool | None:
    """True while a process can write to the file that is open here for reading; None where Linux does not tell."""
    if sys.platform != "linux":
        return None
    import fcntl

    try:
        # A writer that comes now breaks the lease: the signal for it must not be SIGIO, which ends a process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False


def _windows(path: Path) -> bool | None:
    """Opening with a share mode that denies writing fails while somebody holds the file for writing."""
    if sys.platform == "win32":
        import ctypes
        from ctypes import wintypes

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.CreateFileW.restype = wintypes.HANDLE
        read, share_read_delete, existing = 0x80000000, 0x1 | 0x4, 3
        handle = kernel32.CreateFileW(str(path), read, share_read_delete, None, existing, 0, None)
        if handle != wintypes.HANDLE(-1).value:
            kernel32.CloseHandle(wintypes.HANDLE(handle))
            return False
        return refused(ctypes.get_last_error(), path)
    return None


def refused(error: int, path: Path) -> bool | None:
    """What it means that Windows does not open a file for us alone: somebody has it open, or it cannot be told."""
    if error in _GONE:
        raise FileNotFoundError(error, "the file is gone", str(path))
    return True if error in _IN_USE else None
