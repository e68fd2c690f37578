"""One journal file: created under a lock that tells the daemon that its writer lives."""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path

LOCK_OFFSET = 0x7FFF_0000
"""Windows: the locked byte lies far beyond the end, so that nobody is kept from reading the lines."""

_FLAGS = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)


def hold(fd: int) -> None:
    """Lock the open journal until its descriptor is closed. Raises OSError when somebody else holds it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(fd, LOCK_OFFSET, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class JournalFile:
    """`<unix ms>-<pid>-<random>.jsonl`, opened for appending. Every method may raise OSError."""

    def __init__(self, spool: Path) -> None:
        spool.mkdir(parents=True, exist_ok=True)
        self.path = spool / f"{time.time_ns() // 1_000_000}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self.size = 0
        self._fd = os.open(self.path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o644)
        self._claim()

    def _claim(self) -> None:
        status = os.fstat(self._fd)
        self._identity = (status.st_dev, status.st_ino)
        self._held = False
        self._hold()

    def _hold(self) -> None:
        try:
            hold(self._fd)
            self._held = True
        except OSError:
            pass  # the daemon may be probing at this very moment: the next write tries again

    def write(self, data: bytes) -> int:
        """Append, and return how many bytes were taken.

        The descriptor may have been closed by foreign code and given to another file of the acquisition:
        it is written to only while it is still our journal.
        """
        if not self._ours():
            self._fd = os.open(self.path, _FLAGS)
            self._claim()
        elif not self._held:
            self._hold()
        written = os.write(self._fd, data)
        self.size += written
        return written

    def _ours(self) -> bool:
        try:
            status = os.fstat(self._fd)
        except OSError:
            return False
        if status.st_nlink == 0:
            raise FileNotFoundError(f"journal {self.path} was removed")
        return (status.st_dev, status.st_ino) == self._identity

    def sync(self) -> None:
        """Have the system put the data on the disk."""
        if hasattr(os, "fdatasync"):
            os.fdatasync(self._fd)
        else:
            os.fsync(self._fd)

    def close(self) -> None:
        """Release the lock: the daemon takes the writer for ended."""
        try:
            if self._ours():
                os.close(self._fd)
        except OSError:
            pass
