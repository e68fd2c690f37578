"""Does the process that writes a journal still live? Asked of the lock that it holds on the file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agent.hook.journal_file import LOCK_OFFSET


def writer_lives(journal: Path) -> bool:
    """Whether some process holds the journal's lock. Raises OSError when the file cannot be opened."""
    fd = os.open(journal, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return not _free(fd)
    finally:
        # On POSIX this also gives back the lock that the probe may have got.
        os.close(fd)


if sys.platform == "win32":
    import msvcrt

    def _free(fd: int) -> bool:
        os.lseek(fd, LOCK_OFFSET, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(fd, LOCK_OFFSET, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
        return True
else:
    import fcntl

    def _free(fd: int) -> bool:
        try:
            # Shared: two readers that ask at the same time do not take each other for the writer.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        return _free_of_java(fd)

    def _free_of_java(fd: int) -> bool:
        """Micro-Manager Studio's tap can only hold the other kind of lock."""
        try:
            fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, LOCK_OFFSET)
            fcntl.lockf(fd, fcntl.LOCK_UN, 1, LOCK_OFFSET)
        except OSError:
            return False
        return True
