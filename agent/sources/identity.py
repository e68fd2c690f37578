"""What a file is, so that a change or a swap shows."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from agent.sources.events import FileSeen


class Identity(NamedTuple):
    """Size in bytes, time of change in nanoseconds, `{device}:{inode}`."""

    size: int
    mtime_ns: int
    file_id: str

    @property
    def doubtful(self) -> bool:
        """The file system keeps whole seconds or no file numbers: two files can look like one."""
        return self.mtime_ns % 1_000_000_000 == 0 or not _number(self.file_id)

    def is_same_file(self, other: Identity) -> bool:
        """Size, time and number agree. The device is not asked: a restart or a new mount numbers devices anew."""
        number = _number(self.file_id)
        return self[:2] == other[:2] and number == _number(other.file_id) and bool(number)


def _number(file_id: str) -> str:
    """The file's number on its device; empty where the file system has none."""
    number = file_id.rpartition(":")[2]
    return "" if number == "0" else number


def identity_of(status: os.stat_result) -> Identity:
    """The identity that a stat result tells."""
    return Identity(status.st_size, status.st_mtime_ns, f"{status.st_dev}:{status.st_ino}")


def identity(path: str | os.PathLike[str]) -> Identity | None:
    """The identity of a regular file; None where there is none (away, a folder, a link, a device)."""
    try:
        # lstat and not DirEntry.stat: on Windows the latter knows no inode.
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    return identity_of(status) if stat.S_ISREG(status.st_mode) else None


def seen(root: str, path: str, found: Identity, at_ns: int) -> FileSeen:
    """The event that tells of a file."""
    return FileSeen(root, path, found.size, found.mtime_ns, found.file_id, at_ns)
