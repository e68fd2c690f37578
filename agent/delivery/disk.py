"""Bringing files to the disk, and seeing what is there rather than what our own memory holds of it."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

from agent.sources.mounts import file_system

_AT_ONCE = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "tmpfs"))
"""Where one call for the whole file system promises what a call for each file does. A share's server may keep what
it was given in memory until it is asked for each file.
"""


def to_disk(file: BinaryIO) -> None:
    """The bytes of an open file are on the disk, and no longer in the cache."""
    if sys.platform == "linux":
        os.fdatasync(file.fileno())
        forget(file.fileno())
    else:
        os.fsync(file.fileno())


def forget(descriptor: int) -> None:
    """So that reading asks the disk or the server; what is not there yet goes there.

    Also after reading back: what the acquisition needs in memory must not make room for what nobody reads again.
    """
    if sys.platform == "linux":
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def ask_anew(descriptor: int) -> None:
    """The same for a file that is on the disk already, and the disk begins to read it."""
    forget(descriptor)
    if sys.platform == "linux":
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable; Windows journals them itself, and some shares know no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def sync_all(folder: Path) -> bool:
    """Bring everything of a folder's file system to the disk by one call; False where each file needs its own.

    Ten thousand small files take a tenth of the time so. The call flushes other programs' files too, which on
    such a file system their own next sync would do just as well.
    """
    if sys.platform != "linux" or file_system(folder) not in _AT_ONCE:
        return False
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(handle)
    return True


def write_all(out: BinaryIO, block: bytes) -> None:
    """An unbuffered write may take less than it was given."""
    view = memoryview(block)
    while view:
        view = view[out.write(view) :]
