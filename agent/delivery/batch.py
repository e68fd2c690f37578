"""Many small files at the same time.

Larger ones go by threads: each takes the next one when it is done with the last. Of tiny ones a single thread has
several on their way, or takes several at once, for where a file costs a tenth of a millisecond, threads mostly wait for
each other; more come only while most of the time goes by waiting for a slow disk or a far store.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

from agent.errors import ScopeAgentError
from agent.outbox import FileRow, Sent

Begin = Callable[[FileRow], Callable[[], Sent]]
"""Sends a file; what it returns is called once and waits for it to arrive."""

IN_FLIGHT = 64 << 20
"""Bytes that are held at the same time, however many files go out in parallel."""
TINY = 256 << 10
"""Files up to this size are not counted: even 64 of them are little."""
_MOST_LARGER = 8
"""Threads for files that are larger: each keeps some of the memory that it used, whoever uses it next."""
_AT_ONCE = 32
_FEW_THREADS = 2
"""One reads and hashes while the other writes."""
_LOOK_S = 0.1
_TELL_S = 1.0
_FEW = 50
"""Tiny files between two looks, below which they are waited for."""


def send_all(
    rows: list[FileRow], begin: Begin, arrived: Callable[[list[Sent]], None], parallel: int, *, overlapping: bool
) -> None:
    """Send each row; `arrived` is told of some hundreds at a time, also of those that arrived before a failure.

    `overlapping`: `begin` returns before a tiny file has arrived. At most `parallel` files are on their way. The
    first failure is raised when all threads are done; nothing is begun after it.
    """
    tiny = [row for row in rows if overlapping and row.size <= TINY]
    larger = [row for row in rows if not overlapping or row.size > TINY]
    if tiny:
        _Overlapping(tiny, begin, arrived, parallel).run(1)
    if larger:
        largest = max(row.size for row in larger)
        if largest > TINY:
            # No more than find room for such files at a time: the others would only keep theirs.
            parallel = min(parallel, _MOST_LARGER, max(1, IN_FLIGHT // largest))
        _OneByOne(larger, begin, arrived, parallel).run(parallel)


def send_together(
    rows: list[FileRow],
    send: Callable[[list[FileRow]], list[Sent]],
    arrived: Callable[[list[Sent]], None],
    parallel: int,
) -> None:
    """The same for tiny files of which some go at once. They are sent one by one when that fails."""
    if rows:
        _Together(rows, send, arrived, parallel).run(_FEW_THREADS)


class _Batch(ABC):
    """What is left to send, and what was sent but not told yet."""

    def __init__(self, rows: list[FileRow], arrived: Callable[[list[Sent]], None], parallel: int) -> None:
        self._arrived, self._parallel = arrived, min(parallel, len(rows))
        self._left, self._done = deque(rows), deque[Sent]()
        self._failed = threading.Event()
        self._threads = 0

    def run(self, threads: int) -> None:
        """Returns when everything was sent and told."""
        with ThreadPoolExecutor(self._parallel, "scope-agent-send") as pool:
            self._threads = min(threads, self._parallel)
            working = [pool.submit(self._guarded) for _ in range(self._threads)]
            left, looks = len(self._left), 0
            while wait(working, timeout=_LOOK_S).not_done:
                before, left, looks = left, len(self._left), looks + 1
                if left and before - left < _FEW and self._threads < self._parallel:
                    self._threads += 1
                    working.append(pool.submit(self._guarded))
                if looks % round(_TELL_S / _LOOK_S) == 0:
                    self._tell()
        self._tell()
        for worker in working:
            worker.result()

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException:
            self._failed.set()
            raise

    @abstractmethod
    def _work(self) -> None:
        """What each thread does."""

    def _next(self) -> FileRow | None:
        """None when there is none, or after a failure."""
        try:
            return None if self._failed.is_set() else self._left.popleft()
        except IndexError:
            return None

    def _tell(self) -> None:
        some = [self._done.popleft() for _ in range(len(self._done))]
        if some:
            self._arrived(some)


class _Overlapping(_Batch):
    """Each thread begins the next file before the last ones have arrived."""

    def __init__(self, rows: list[FileRow], begin: Begin, arrived: Callable[[list[Sent]], None], parallel: int) -> None:
        super().__init__(rows, arrived, parallel)
        self._begin = begin
        self._room = SimpleQueue[None]()
        """An item for each file more that may be on its way."""
        for _ in range(parallel):
            self._room.put(None)

    def _work(self) -> None:
        pending = deque[Callable[[], Sent]]()
        try:
            while self._fills(pending):
                pass
            while pending:
                self._end(pending)
        finally:
            # After a failure: what is on its way may well arrive, and then it counts.
            while pending:
                with suppress(ScopeAgentError):
                    self._end(pending)

    def _fills(self, pending: deque[Callable[[], Sent]]) -> bool:
        """Begin one more, as soon as there is room for it; False when there is none."""
        while pending and len(pending) >= self._parallel // self._threads:
            self._end(pending)
        while True:
            try:
                self._room.get(block=not pending)
                break
            except Empty:
                self._end(pending)
        begun = False
        try:
            row = self._next()
            if row is not None:
                pending.append(self._begin(row))
                begun = True
        finally:
            if not begun:
                self._room.put(None)
        return begun

    def _end(self, pending: deque[Callable[[], Sent]]) -> None:
        try:
            self._done.append(pending.popleft()())
        finally:
            self._room.put(None)


class _OneByOne(_Batch):
    """Each thread begins a file when the last has arrived, and there is room for its bytes."""

    def _work(self) -> None:
        while (row := self._next()) is not None:
            with self._budget.held(row.size):
                self._done.append(self._begin(row)())

    def __init__(self, rows: list[FileRow], begin: Begin, arrived: Callable[[list[Sent]], None], parallel: int) -> None:
        super().__init__(rows, arrived, parallel)
        self._begin = begin
        self._budget = _Budget(IN_FLIGHT)


class _Together(_Batch):
    """Each thread takes some files when the last have arrived."""

    def __init__(
        self,
        rows: list[FileRow],
        send: Callable[[list[FileRow]], list[Sent]],
        arrived: Callable[[list[Sent]], None],
        parallel: int,
    ) -> None:
        super().__init__(rows, arrived, parallel)
        self._send = send

    def _work(self) -> None:
        while some := self._some():
            try:
                self._done.extend(self._send(some))
            except ScopeAgentError:
                # Those before the one that fails are well and need not wait for it.
                for row in some:
                    self._done.extend(self._send([row]))

    def _some(self) -> list[FileRow]:
        found: list[FileRow] = []
        while len(found) < _AT_ONCE and (row := self._next()) is not None:
            found.append(row)
        return found


class _Budget:
    """Bytes that may be held at a time; one file may always be."""

    def __init__(self, most: int) -> None:
        self._left = self._most = most
        self._changed = threading.Condition()

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        size = min(size, self._most) if size > TINY else 0
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
