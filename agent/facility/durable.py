"""Writing to disk so that it is there after a power cut, and hashing what is there."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import NoSpace

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_RENAME_TRIES = 6


@contextmanager
def disk_full_told() -> Iterator[None]:
    """Translate a full disk to NoSpace; every other OSError is a fault of this machine and passes."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace("the facility's disk is full: free space there, the agent keeps the data") from error
        raise


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable; Windows has no such call and journals them itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def begin_writing(handle: int) -> None:
    """Let the disk begin with what is in memory, so that the last `fsync` of a large file need not wait for all."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file as a whole: a reader sees the old bytes or the new ones."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    move(draft, path)
    if durable:
        sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename over `target`; on Windows a virus scanner may hold the file for a moment."""
    for attempt in range(_RENAME_TRIES):
        try:
            source.replace(target)
        except PermissionError:
            if os.name != "nt" or attempt == _RENAME_TRIES - 1:
                raise
            time.sleep(0.05 * 2**attempt)
        else:
            return


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes as they are now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
