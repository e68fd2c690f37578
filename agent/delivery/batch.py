"""Many small files at the same time: each thread takes the next one when it is done with the last."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

from agent.outbox import FileRow, Sent

IN_FLIGHT = 64 << 20
"""Bytes that are held at the same time, however many files go out in parallel."""
_UNCOUNTED = 256 << 10
"""Files up to this size are not counted: even 64 of them are little."""
_MOST_LARGER = 8
"""Threads for files that are larger: each keeps some of the memory that it used, whoever uses it next."""
_EVERY_S = 0.2


def send_all(
    rows: list[FileRow], send: Callable[[FileRow], Sent], arrived: Callable[[list[Sent]], None], parallel: int
) -> None:
    """`send` each row; `arrived` is told of some hundreds at a time, also of those that arrived before a failure.

    The first failure is raised when all threads are done; nothing is begun after it.
    """
    left, done, budget = deque(rows), deque[Sent](), _Budget(IN_FLIGHT)
    if max(row.size for row in rows) > _UNCOUNTED:
        parallel = min(parallel, _MOST_LARGER)
    failed = threading.Event()

    def work() -> None:
        try:
            while not failed.is_set():
                try:
                    row = left.popleft()
                except IndexError:
                    return
                with budget.held(row.size):
                    done.append(send(row))
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(parallel, "scope-agent-send") as pool:
        working = [pool.submit(work) for _ in range(min(parallel, len(rows)))]
        while wait(working, timeout=_EVERY_S).not_done:
            _tell(done, arrived)
    _tell(done, arrived)
    for worker in working:
        worker.result()


def _tell(done: deque[Sent], arrived: Callable[[list[Sent]], None]) -> None:
    some = [done.popleft() for _ in range(len(done))]
    if some:
        arrived(some)


class _Budget:
    """Bytes that may be held at a time; one file may always be."""

    def __init__(self, most: int) -> None:
        self._left = self._most = most
        self._changed = threading.Condition()

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        size = min(size, self._most) if size > _UNCOUNTED else 0
        if not size:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()
