"""When a file was last touched in any way: the mark that a program cannot set back.

Programs restore the time of last writing (`utime`, SetFileTime); the time of last change they cannot set: `ctime`
on POSIX, ChangeTime on NTFS, ReFS and SMB. It also moves when a file is renamed or its rights change, so that a
moved mark means "look again", not "changed". None where the file system keeps none (FAT): look again always.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass

from agent.sources.identity import Identity, identity_of


@dataclass(frozen=True, slots=True)
class Standing:
    """What a file is now, and when it was last touched (ns on its file system's clock)."""

    identity: Identity
    touched_ns: int | None


def standing(path: str) -> Standing | None:
    """None where there is no regular file."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Standing(identity_of(status), _touched(path, status))


def touched(path: str, size: int, mtime_ns: int, file_id: str) -> int | None:
    """When it was last touched, of the very file that is known; LookupError where there is none, or another.

    It makes no objects, as `standing` does, for it is asked three times for each of many small files.
    """
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        raise LookupError(path) from None
    same = status.st_size == size and status.st_mtime_ns == mtime_ns and stat.S_ISREG(status.st_mode)
    if not same or f"{status.st_dev}:{status.st_ino}" != file_id:
        raise LookupError(path)
    return status.st_ctime_ns if sys.platform != "win32" else _change_time(path)


def _touched(path: str, status: os.stat_result) -> int | None:
    if sys.platform == "win32":
        return _change_time(path)
    return status.st_ctime_ns


def _change_time(path: str) -> int | None:
    """ChangeTime of a file on Windows, in units of 100 ns; its `st_ctime` is the time of creation."""
    if sys.platform == "win32":
        import ctypes
        from ctypes import wintypes

        class BasicInfo(ctypes.Structure):
            _fields_ = (
                ("creation", ctypes.c_int64),
                ("access", ctypes.c_int64),
                ("write", ctypes.c_int64),
                ("change", ctypes.c_int64),
                ("attributes", wintypes.DWORD),
            )

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.CreateFileW.restype = wintypes.HANDLE
        read_attributes, share_all, existing = 0x80, 0x7, 3
        handle = kernel32.CreateFileW(path, read_attributes, share_all, None, existing, 0, None)
        if handle == wintypes.HANDLE(-1).value:
            return None
        info = BasicInfo()
        try:
            fine = kernel32.GetFileInformationByHandleEx(
                wintypes.HANDLE(handle), 0, ctypes.byref(info), ctypes.sizeof(info)
            )
        finally:
            kernel32.CloseHandle(wintypes.HANDLE(handle))
        return int(info.change) or None if fine else None
    return None
