"""Small files in a folder: written at once, then brought to the disk and read back together, some hundreds at a time,
while the next are written.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from agent.delivery.disk import ask_anew, forget, sync_all

_PLAIN = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_FLAGS = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | _PLAIN
_LOOK_FLAGS = os.O_RDONLY | _PLAIN
_WINDOW_BYTES = 16 << 20
_WINDOW_FILES = 512
_AHEAD = 32
"""Files that are asked for before the first is read."""
_READERS = 8
"""For a share, where every file costs a round trip to the server."""

Settled = Callable[[str, os.stat_result, str], None]
"""Told, in another thread, of a file that is on the disk as it was written: its path, what it is, its hash."""
Written = tuple[str, bytes, str]
"""Path, bytes, and their SHA-256 (hex)."""


class SmallFiles:
    """Writes files anywhere on the file system of `folder`; several threads may call it. To be closed."""

    def __init__(self, folder: Path, make_room: Callable[[str], None], settled: Settled) -> None:
        """`make_room` makes the folder of a path; it raises OSError or one of agent.errors where it cannot."""
        self._folder, self._make_room, self._told = folder, make_room, settled
        self._lock = threading.Lock()
        self._window: list[Written] = []
        self._size = 0
        self._last: Future[None] | None = None
        self._fault: OSError | None = None
        self._settler = ThreadPoolExecutor(1, "scope-agent-settle")
        self._readers = ThreadPoolExecutor(_READERS, "scope-agent-read-back")

    def write(self, files: Sequence[Written]) -> None:
        """Write files: they are on the disk, and were looked at there, when `finish` has returned."""
        for path, body, _ in files:
            try:
                descriptor = os.open(path, _FLAGS, 0o666)
            except FileNotFoundError:
                self._make_room(path)
                descriptor = os.open(path, _FLAGS, 0o666)
            try:
                written = os.write(descriptor, body)
                while written < len(body):
                    written += os.write(descriptor, memoryview(body)[written:])
            finally:
                os.close(descriptor)
        with self._lock:
            self._window += files
            self._size += sum(len(body) for _, body, _ in files)
            if self._size >= _WINDOW_BYTES or len(self._window) >= _WINDOW_FILES:
                self._flush()

    def finish(self) -> None:
        """Return when all that was written before is settled; of what was found to be different nothing was told.

        Raises OSError when anything could not be brought to the disk: that is gone, for the next try would hear
        no error.
        """
        with self._lock:
            if self._window:
                self._flush()
            self._wait()
            fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def close(self) -> None:
        """Returns when its threads have ended."""
        self._settler.shutdown()
        self._readers.shutdown()

    def _flush(self) -> None:
        """Two windows are held at most: one is filled while the other is settled."""
        self._wait()
        self._last = self._settler.submit(self._settle, self._window)
        self._window, self._size = [], 0

    def _wait(self) -> None:
        """What is no fault of the disk (no memory, no thread) is raised once: the files are hashed at the commit."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def _settle(self, window: list[Written]) -> None:
        try:
            together = sync_all(self._folder)
        except OSError as error:
            self._fault = error
            for path, _, _ in window:
                _remove(path)
            return
        if together:
            for at in range(0, len(window), _AHEAD):
                self._look_back(window[at : at + _AHEAD])
        else:
            deque(self._readers.map(self._bring_and_look_back, window), maxlen=0)

    def _bring_and_look_back(self, written: Written) -> None:
        path = written[0]
        try:
            with open(path, "rb+", buffering=0) as file:  # noqa: PTH123 - tens of thousands of small files
                os.fsync(file.fileno())
        except OSError as error:
            self._fault = error
            _remove(path)
        else:
            self._look_back([written])

    def _look_back(self, files: Sequence[Written]) -> None:
        """All of them are asked for before the first is read, so that none waits for the disk by itself."""
        opened: list[tuple[int, Written]] = []
        for written in files:
            with suppress(OSError):
                descriptor = os.open(written[0], _LOOK_FLAGS)
                opened.append((descriptor, written))
                ask_anew(descriptor)
        for descriptor, (path, body, digest) in opened:
            with suppress(OSError):
                # Nothing is told of a file that reads short: it is hashed at the commit.
                if os.read(descriptor, len(body) + 1) == body:
                    self._told(path, os.fstat(descriptor), digest)
                forget(descriptor)
            os.close(descriptor)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - as above
