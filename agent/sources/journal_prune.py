"""Removes old journals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.sources.liveness import writer_lives

BLOCK = 4096
"""What a small file takes on the disk: thousands of tiny journals count, too."""


def prune(spool: Path, keep_bytes: int, done: Callable[[str], int]) -> list[str]:
    """Remove the oldest journals until `keep_bytes` remain, and return the names of the removed.

    A journal goes only when its writer is gone and `done(name)` is its end: the offset up to which nothing is
    needed any more (told, and its runs captured). A journal that cannot be removed stays for the next time.
    """
    sizes: dict[Path, int] = {}
    for path in sorted(spool.glob("*.jsonl")):
        try:
            sizes[path] = path.stat().st_size
        except OSError:
            continue
    total = sum(max(size, BLOCK) for size in sizes.values())
    removed: list[str] = []
    for path, size in sizes.items():
        if total <= keep_bytes:
            break
        try:
            if done(path.name) < size or writer_lives(path):
                continue
            path.unlink()
        except OSError:
            continue
        removed.append(path.name)
        total -= max(size, BLOCK)
    return removed
