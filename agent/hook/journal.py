"""The journal writer: entries are queued without a lock and written in batches by one thread.

An entry is a line `{"n": number in the file, "t": UTC ns, "k": kind, "d": {...}}`.
"""

from __future__ import annotations

import _thread
import atexit
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from .journal_file import JournalFile

FLUSH_S = 0.15
RETRY_S = 1.0
QUEUE_LIMIT = 65_536
"""Entries kept while the spool cannot be written, about 30 MB; beyond it they are counted as lost."""
BATCH = 256
ROTATE_BYTES = 32 << 20
"""A journal longer than this is closed when no run is on, so that old ones can be removed one by one."""
CLOSE_S = 2.0


def _plain(value: Any) -> object:
    """What msgspec cannot encode by itself: mappings and numpy scalars by value, anything else as text."""
    if hasattr(value, "keys"):
        return dict(value)
    if getattr(value, "shape", None) == ():
        return value.item()
    return str(value)


encode = msgspec.json.Encoder(enc_hook=_plain).encode


class Journal:
    """Never raises from `put` for a reason outside the process, and never waits for the disk."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.lost = 0
        """Entries that could not be encoded, queued or written."""
        self.last_error = ""
        self._interrupted = False
        self._reset()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _reset(self) -> None:
        self._queue: deque[tuple[int, str, bytes]] = deque()
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
        self._runs = 0
        self._told = 0

    def put(self, kind: str, data: object, at_ns: int = 0, *, urgent: bool = False) -> None:
        """Queue an entry. `urgent` has it written and synced at once, by the writer's thread."""
        if len(self._queue) >= QUEUE_LIMIT:
            self.lost += 1
            return
        self._queue.append((at_ns or time.time_ns(), kind, encode(data)))
        if urgent:
            self._sync = True
            self._hurry.set()
        if not self._awake:
            self._awake = True
            self._start()
            self._wake.set()

    def failed(self, error: BaseException) -> None:
        """Count an entry that a callback could not make."""
        self.lost += 1
        self.last_error = repr(error)
        if isinstance(error, KeyboardInterrupt):
            # The user's Ctrl-C hit our code: hand it on from elsewhere, or it would be lost.
            self._interrupted = True
            self._wake.set()

    def close(self) -> None:
        """Write what is queued, in two seconds at most, and release the file; `put` opens a new one."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._closing = True
        self._hurry.set()
        self._wake.set()
        thread.join(CLOSE_S)

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        if self._starting.acquire(blocking=False):
            try:
                self._closing = False
                self._thread = threading.Thread(target=self._work, name="scope-agent-journal", daemon=True)
                self._thread.start()
            finally:
                self._starting.release()

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            if self._interrupted:
                self._interrupted = False
                _thread.interrupt_main()
            self._hurry.wait(FLUSH_S)
            self._hurry.clear()
            # Cleared before the queue is read: an entry queued from now on wakes this thread again.
            self._awake = False
            while not self._flush() and not self._closing:
                self._hurry.wait(RETRY_S)
                self._hurry.clear()
        self._flush()
        self._release()

    def _flush(self) -> bool:
        """Write everything queued. False when the spool refuses; it is tried again."""
        try:
            while self._backlog or self._next_batch():
                self._backlog = self._backlog[self._open().write(self._backlog) :]
            if self._sync and self._file is not None:
                self._sync = False
                self._file.sync()
            if self._file is not None and self._runs <= 0 and self._file.size > ROTATE_BYTES:
                self._release()
        except OSError as error:
            self.last_error = repr(error)
            if isinstance(error, FileNotFoundError):
                self._release()
            return False
        except Exception as error:  # noqa: BLE001  the writer must outlive what it cannot write
            self.failed(error)
            self._backlog = b""
        return True

    def _next_batch(self) -> bool:
        lines: list[bytes] = []
        for _ in range(min(BATCH, len(self._queue))):
            at_ns, kind, data = self._queue.popleft()
            self._runs += {"started": 1, "finished": -1}.get(kind, 0)
            lines.append(self._line(at_ns, kind, data))
        if self.lost != self._told:
            self._told = self.lost
            said = encode({"lost": self.lost, "error": self.last_error})
            lines.append(self._line(time.time_ns(), "lost", said))
        self._backlog = b"".join(lines)
        return bool(lines)

    def _line(self, at_ns: int, kind: str, data: bytes) -> bytes:
        self._number += 1
        return b'{"n":%d,"t":%d,"k":"%s","d":%s}\n' % (self._number, at_ns, kind.encode(), data)

    def _open(self) -> JournalFile:
        if self._file is None:
            self._file = JournalFile(self.spool)
        return self._file

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        self._number = 0

    def _forked(self) -> None:
        # The child shares the lock: it must close its copy, or a dead parent would look alive.
        self._release()
        self._reset()
