"""A walk of a folder in small steps, that follows no link and ends in no loop."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from agent.sources.names import Names

_MOUNT_POINT = 0xA0000003
"""Reparse tag of a junction on Windows, which is no symlink to Python 3.11."""


def relative(root: str, path: str) -> str:
    """POSIX path of `path` below `root`."""
    return path[len(root) :].lstrip(os.sep + "/").replace(os.sep, "/")


def walk(root: str, names: Names, start: str | None = None) -> Iterator[tuple[str, os.stat_result] | None]:
    """Every regular file that counts with its lstat, and None after each folder so that the caller can pause.

    `start` is a folder below `root` to begin at. A folder that cannot be read is passed over, but an
    unreadable `start` raises OSError. Memory: the folders still to do, and the identities of those done.
    """
    todo = [start or root]
    done: set[tuple[int, int]] = set()
    first = True
    while todo:
        folder = todo.pop()
        try:
            status = Path(folder).stat()
            # A bind mount or junction can lead back to a folder that was done.
            if (status.st_dev, status.st_ino) in done and status.st_ino:
                continue
            done.add((status.st_dev, status.st_ino))
            yield from _files(root, folder, names, todo)
        except OSError:
            if first:
                raise
        first = False
        yield None


def _files(root: str, folder: str, names: Names, todo: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            below = relative(root, entry.path)
            try:
                if entry.is_dir(follow_symlinks=False):
                    if names.folder(entry.name, below) and not _is_junction(entry):
                        todo.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and names.file(entry.name, below):
                    yield entry.path, _lstat(entry)
            except OSError:
                continue  # gone between listing and looking


def _lstat(entry: os.DirEntry[str]) -> os.stat_result:
    # On Windows DirEntry.stat knows no inode and an old size while a writer is at it.
    return os.lstat(entry.path) if sys.platform == "win32" else entry.stat(follow_symlinks=False)


def _is_junction(entry: os.DirEntry[str]) -> bool:
    if sys.platform == "win32":
        status = entry.stat(follow_symlinks=False)
        reparse = status.st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT
        return bool(reparse) and status.st_reparse_tag == _MOUNT_POINT
    return False
