"""The journal writer: entries are queued without a lock and written in batches by one thread.

An entry is a line `{"n": number in the file, "t": UTC ns, "k": kind, "d": {...}}`.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import __version__, bound
from .gaps import Gap
from .journal_file import JournalFile
from .lines import encode, line, run_of
from .spool import default_limit

FLUSH_S = 0.15
RETRY_S = 1.0
QUEUE_LIMIT = 65_536
"""Entries kept while the spool cannot be written, about 30 MB; beyond it frames are counted as lost."""
BATCH = 64
"""Entries between two writes: making more of them at once would keep the acquisition from its interpreter."""
ROTATE_BYTES = 32 << 20
"""A journal longer than this is closed when no run is on, so that old ones can be removed one by one."""
CLOSE_S = 2.0
LOCK_S = 0.05

_RUNS = frozenset({"started", "finished"})
"""Kinds without which a run would be lost as a whole."""

Later = tuple[Any, ...]
"""(function, *arguments): called by the writer's thread to make an entry."""


class Journal:
    """Never raises from `put` for a reason outside the process, and never waits for the disk.

    `limit` is what all journals in `spool` may take in bytes: see bound.py.
    """

    def __init__(self, spool: Path, limit: int | None = None) -> None:
        self.spool = spool
        self.limit = default_limit() if limit is None else limit
        self.lost = 0
        """Entries that could not be encoded, queued or written."""
        self.last_error = ""
        self._interrupted = False
        self._reset()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _reset(self) -> None:
        self._queue: deque[tuple[int, str, bytes | Later]] = deque()
        self._ready: deque[tuple[int, str, bytes]] = deque()
        self._gap = Gap()
        self._awake = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._starting = threading.Lock()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._file: JournalFile | None = None
        self._backlog = b""
        self._sync = False
        self._number = 0
        self._begun: dict[int, tuple[int, bytes]] = {}
        """The starts of the runs that are on."""
        self._over: list[int] = []
        """Runs whose end is in the backlog."""
        self._again = b""
        self._told = 0
        self._bounded = True

    def put(self, kind: str, data: object, at_ns: int = 0, *, urgent: bool = False) -> None:
        """Queue an entry. `urgent` has it written and synced at once, by the writer's thread."""
        self.put_later(kind, at_ns or time.time_ns(), encode(data))
        if urgent:
            self.sync()

    def sync(self) -> None:
        """Have the writer's thread write and sync what is queued at once."""
        self._sync = True
        self._hurry.set()

    def put_later(self, kind: str, at_ns: int, data: bytes | Later) -> None:
        """Queue an entry that the writer's thread makes, in the order of the queue."""
        if len(self._queue) + len(self._ready) >= QUEUE_LIMIT and kind not in _RUNS:
            self.lost += 1
            return
        self._queue.append((at_ns, kind, data))
        if not self._awake:
            self._start()

    def failed(self, error: BaseException) -> None:
        """Count an entry that a callback could not make."""
        self.lost += 1
        self.last_error = repr(error)
        if isinstance(error, KeyboardInterrupt):
            # The user's Ctrl-C hit our code: hand it on from elsewhere, or it would be lost.
            self._interrupted = True
            self._hurry.set()
            self._start()

    def close(self) -> None:
        """Write what is queued, in two seconds at most, and release the file; `put` opens a new one."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._closing = True
        self._hurry.set()
        self._wake.set()
        thread.join(CLOSE_S)

    # ------------------------------------------------------------------ the writer's thread

    def _start(self) -> None:
        """Wake the thread. While a run is on it stays awake by itself, so that no frame pays for this."""
        # Not for ever: a signal handler may come back to here from inside of the block.
        if not self._starting.acquire(timeout=LOCK_S):
            return
        try:
            if self._thread is None or not self._thread.is_alive():
                self._closing = False
                thread = threading.Thread(target=self._work, name="scope-agent-journal", daemon=True)
                thread.start()
                self._thread = thread
            self._awake = True
            self._wake.set()
        finally:
            self._starting.release()

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait()
            if self._interrupted:
                self._interrupted = False
                _thread.interrupt_main()
            self._hurry.wait(FLUSH_S)
            self._hurry.clear()
            while not self._flush() and not self._closing:
                self._hurry.wait(RETRY_S)
                self._hurry.clear()
            if not self._bounded and not self._begun and not self._closing:
                self._bound()
            if not self._begun:
                self._sleep()
        self._rest()

    def _sleep(self) -> None:
        """Wait for the next entry, unless there is one."""
        self._awake = False
        self._wake.clear()
        # An entry that was queued before saw the thread awake, one queued from now on wakes it.
        if self._queue or self._closing or self._interrupted:
            self._awake = True
            self._wake.set()

    def _rest(self) -> None:
        """Write what came last and release the file: from here on an entry starts a new thread."""
        self._flush()
        self._release()
        with self._starting:
            self._awake = False
            if self._queue and self._flush():
                self._release()
            self._thread = None

    def _flush(self) -> bool:
        """Write everything queued. False when the spool refuses; it is tried again."""
        try:
            while self._backlog or self._next_batch():
                file = self._open()
                self._backlog = self._backlog[file.write(self._backlog) :]
                while self._over and not self._backlog:
                    self._begun.pop(self._over.pop(), None)
            if self._sync and self._file is not None:
                self._sync = False
                self._file.sync()
            if self._file is not None and not self._begun and self._file.size > ROTATE_BYTES:
                self._release()
        except OSError as error:
            self.last_error = repr(error)
            if isinstance(error, FileNotFoundError):
                self._vanished()
            # Kept as bytes: the frames' own objects are many times as large.
            self._make(QUEUE_LIMIT)
            return False
        except Exception as error:  # noqa: BLE001  the writer must outlive what it cannot write
            self.failed(error)
            self._backlog = b""
        return True

    def _next_batch(self) -> bool:
        self._make(BATCH)
        lines: list[bytes] = []
        for _ in range(min(BATCH, len(self._ready))):
            at_ns, kind, data = self._ready.popleft()
            if kind in _RUNS:
                self._note(kind, at_ns, data)
            lines.append(self._line(at_ns, kind, data))
        if self.lost != self._told:
            self._told = self.lost
            said = encode({"lost": self.lost, "error": self.last_error})
            lines.append(self._line(time.time_ns(), "lost", said))
        self._backlog = b"".join(lines)
        return bool(lines)

    def _make(self, count: int) -> None:
        """Make bytes of what is queued, until `count` entries are ready."""
        full = self._file is not None and self._file.size > self.limit
        while self._queue and len(self._ready) < count:
            at_ns, kind, data = self._queue.popleft()
            left_out = full and kind == "frame"
            if left_out:
                self._gap.add(at_ns, data)
            if self._gap and (not left_out or self._gap.due(at_ns)):
                self._ready.append((at_ns, "gap", self._gap.take()))
            if not left_out:
                self._encode(at_ns, kind, data)

    def _encode(self, at_ns: int, kind: str, data: bytes | Later) -> None:
        try:
            made = data if isinstance(data, bytes) else encode(_call(*data))
        except Exception as error:  # noqa: BLE001  the others still count
            self.failed(error)
        else:
            self._ready.append((at_ns, kind, made))

    def _note(self, kind: str, at_ns: int, data: bytes) -> None:
        if kind == "started":
            self._begun[run_of(data)] = at_ns, data
        else:
            self._over.append(run_of(data))

    def _vanished(self) -> None:
        """The journal was removed: its lines are lost, and the next one begins with the runs that are on."""
        self.lost += self._number
        self._release()
        self._again = b"".join(line(0, at_ns, "started", data) for at_ns, data in self._begun.values())

    def _line(self, at_ns: int, kind: str, data: bytes) -> bytes:
        self._number += 1
        return line(self._number, at_ns, kind, data)

    def _open(self) -> JournalFile:
        if self._file is None:
            self._file = JournalFile(self.spool)
            self._bounded = False
            self._backlog = self._header() + self._again + self._backlog
            self._again = b""
        return self._file

    def _header(self) -> bytes:
        """Which environment writes: `hook status` looks for it."""
        said = {"pid": os.getpid(), "prefix": sys.prefix, "hook": __version__}
        return line(0, time.time_ns(), "journal", encode(said))

    def _bound(self) -> None:
        """Make room for this journal. Never while a run is on."""
        self._bounded = True
        try:
            gone = bound.shrink(self.spool, self.limit)
        except OSError as error:
            self.last_error = repr(error)
        else:
            if gone:
                self.put("removed", {"journals": gone, "limit": self.limit})

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        self._number = 0

    def _forked(self) -> None:
        # The child shares the lock: it must close its copy, or a dead parent would look alive.
        self._release()
        self._reset()


def _call(make: Callable[..., object], *args: object) -> object:
    return make(*args)
