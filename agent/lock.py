"""Our own folders: writable, and locked by one process; the lock goes when its owner dies, however it dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

from agent.errors import Busy, Misconfigured


class FolderLock:
    """`with FolderLock(folder, what):` or Busy, naming the process that holds it."""

    def __init__(self, folder: Path, what: str) -> None:
        self._path = folder / f"{what}.lock"
        self._what = what
        self._descriptor: int | None = None

    def __enter__(self) -> FolderLock:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise Misconfigured(f"{self._path.parent} cannot be written: {error.strerror or error}") from error
        if not _try_lock(descriptor):
            os.close(descriptor)
            raise Busy(f"another scope-agent {self._what} ({self._owner()}) uses {self._path.parent}: stop it first")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"pid {os.getpid()}".encode())
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _owner(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8").strip() or "unknown"
        except OSError:
            return "unknown"


def prepare_folder(folder: Path) -> None:
    """Make a folder of ours and prove that it can be written, or Misconfigured in one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise Misconfigured(f"the folder {folder} cannot be written: {error.strerror or error}") from error


def is_held(folder: Path, what: str) -> bool:
    """True while some process holds the lock."""
    path = folder / f"{what}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        # A byte far beyond the end: the file itself stays readable for those who ask who holds it.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
