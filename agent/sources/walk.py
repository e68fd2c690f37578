"""A walk of a folder in small steps, that follows no link and ends in no loop."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping

from agent.sources.names import Names

_MOUNT_POINT = 0xA0000003
"""Reparse tag of a junction on Windows, which is no symlink to Python 3.11."""

Step = tuple[str, os.stat_result]
"""A folder that is listed now, or a file in it, told apart by the mode of the status."""


def relative(root: str, path: str) -> str:
    """POSIX path of `path` below `root`."""
    return path[len(root) :].lstrip(os.sep + "/").replace(os.sep, "/")


def walk(root: str, names: Names, start: str | None = None) -> Iterator[Step | None]:
    """Every regular file that counts with its lstat, and None for each folder so that the caller can pause.

    `start` is a folder below `root` to begin at. A folder that cannot be read is passed over, but an
    unreadable `start` raises OSError. Memory: the folders still to do, and the identities of those done.
    """
    return (None if stat.S_ISDIR(step[1].st_mode) else step for step in steps(root, names, start))


def steps(root: str, names: Names, start: str | None = None) -> Iterator[Step]:
    """The same with each folder, as it was just before it was listed, ahead of its files."""
    todo = [start or root]
    done: set[tuple[int, int]] = set()
    first = True
    while todo:
        folder = todo.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 - a million times
            # A bind mount or junction can lead back to a folder that was done.
            if (status.st_dev, status.st_ino) in done and status.st_ino:
                continue
            done.add((status.st_dev, status.st_ino))
            yield from _listed(root, folder, status, names, todo)
        except OSError:
            if first:
                raise
        first = False


def changed(root: str, names: Names, known: Mapping[str, int]) -> Iterator[Step | None]:
    """Those of the `known` folders whose time (ns) is another one, with their files, and all of new folders below.

    None for each folder that is as it was. A file that was written to shows nothing here: folders tell only of
    names that came and went.
    """
    for folder, mtime_ns in list(known.items()):
        try:
            status = os.stat(folder)  # noqa: PTH116 - a million times
            if status.st_mtime_ns == mtime_ns:
                yield None
                continue
            below: list[str] = []
            yield from _listed(root, folder, status, names, below)
        except OSError:
            continue  # gone: the next full walk says so
        for born in below:
            if born not in known:
                try:
                    yield from steps(root, names, born)
                except OSError:
                    continue


def _listed(root: str, folder: str, status: os.stat_result, names: Names, below: list[str]) -> Iterator[Step]:
    with os.scandir(folder) as entries:
        yield folder, status
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if names.folder(entry.name, relative(root, entry.path)) and not _is_junction(entry):
                        below.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and names.file(entry.name, relative(root, entry.path)):
                    yield entry.path, _lstat(entry)
            except OSError:
                continue  # gone between listing and looking


def _lstat(entry: os.DirEntry[str]) -> os.stat_result:
    # On Windows DirEntry.stat knows no inode and an old size while a writer is at it.
    return os.lstat(entry.path) if sys.platform == "win32" else entry.stat(follow_symlinks=False)


def _is_junction(entry: os.DirEntry[str]) -> bool:
    return sys.platform == "win32" and is_mount_point(entry.stat(follow_symlinks=False))


def is_mount_point(status: os.stat_result) -> bool:
    """A folder on Windows that leads to another one, such as a junction: it may lead to a folder above itself."""
    attributes, tag = getattr(status, "st_file_attributes", 0), getattr(status, "st_reparse_tag", 0)
    return bool(attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT) and tag == _MOUNT_POINT
