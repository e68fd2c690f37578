"""Keeps the journals within a size while no daemon reads them, days on end.

The details of the oldest frames go first: their lines are replaced by one that says what was there. Such a journal
begins with a line `compacted`, and the lines in it `gap` tell how many bytes they stand for, so that the
offsets a daemon noted still hold. Only when that is not enough, the oldest journals go as a whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from .gaps import Gap
from .journal_file import hold
from .lines import encode, line

TARGET = 0.9
"""Shrink to this part of the limit, so that not every new journal has to."""
DETAILS = frozenset({"frame", "property", "preset", "exposure", "roi", "snapped", "burst", "stopped", "live"})
"""Kinds that go; starts and ends of runs, losses and errors stay."""

_LOCK = ".bound.lock"
_MAKING = ".making"


class _Head(msgspec.Struct):
    """What is needed of a line to leave it out."""

    n: int
    t: int
    k: str
    d: msgspec.Raw


_head = msgspec.json.Decoder(_Head)


def shrink(spool: Path, limit: int) -> list[str]:
    """Make all journals in `spool` fit in `limit` bytes; the names of those that went as a whole.

    Journals that are being written are left alone. Raises OSError when the spool cannot be read or written.
    """
    sizes = _sizes(spool)
    total = sum(sizes.values())
    if total <= limit:
        return []
    fd = os.open(spool / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        hold(fd)
    except OSError:
        return []  # another process is at it
    else:
        return _shrink(_sizes(spool), int(limit * TARGET))
    finally:
        os.close(fd)


def _sizes(spool: Path) -> dict[Path, int]:
    """The journals, oldest first."""
    sizes: dict[Path, int] = {}
    for path in sorted(spool.glob("*.jsonl")):
        try:
            sizes[path] = path.stat().st_size
        except OSError:
            continue
    return sizes


def _shrink(sizes: dict[Path, int], target: int) -> list[str]:
    total = sum(sizes.values())
    for path in list(sizes):
        if total <= target:
            return []
        left = _unowned(path, compact)
        if left is None:
            continue
        total += left - sizes[path]
        sizes[path] = left
    gone: list[str] = []
    for path, size in sizes.items():
        if total <= target:
            break
        if _unowned(path, _remove) is not None:
            total -= size
            gone.append(path.name)
    return gone


def _unowned(path: Path, act: Callable[[Path], int]) -> int | None:
    """`act(path)` while nobody writes the journal; None when somebody does or the system refuses."""
    try:
        fd = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        hold(fd)
    except OSError:
        return None
    finally:
        # Given back at once: a locked file can neither be replaced nor removed on Windows.
        os.close(fd)
    try:
        return act(path)
    except OSError:
        return None


def _remove(path: Path) -> int:
    path.unlink()
    return 0


def compact(path: Path) -> int:
    """Replace the details in a journal that nobody writes; its size afterwards. Raises OSError."""
    with path.open("rb") as file:
        if b'"k":"compacted"' in file.readline(200):
            return path.stat().st_size
        file.seek(0)
        making = path.with_suffix(_MAKING)
        with making.open("wb") as to:
            to.write(line(0, time.time_ns(), "compacted", encode({})))
            to.writelines(_kept(file))
            to.flush()
            os.fsync(to.fileno())
    status = path.stat()
    os.utime(making, ns=(status.st_atime_ns, status.st_mtime_ns))
    making.replace(path)
    return path.stat().st_size


def _kept(lines: Iterable[bytes]) -> Iterator[bytes]:
    gap, number = Gap(), 0
    for raw in lines:
        try:
            head = _head.decode(raw)
        except msgspec.MsgspecError:
            head = None
        if head is not None and head.k in DETAILS:
            number = number if gap else head.n
            if head.k == "frame":
                gap.add(head.t, bytes(head.d), len(raw))
            else:
                gap.skip(head.t, len(raw))
            continue
        if gap:
            yield line(number, gap.until, "gap", gap.take())
        yield raw
    if gap:
        yield line(number, gap.until, "gap", gap.take())
