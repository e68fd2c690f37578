"""Reading ahead: the next items are made in a thread while this one is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class _End(Generic[T]):
    """The last thing in the queue: the end, or what ended it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def beside(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """The same without a thread, for what is too small to be worth one."""
    yield items


@contextmanager
def ahead(items: Iterator[T], depth: int = 1) -> Iterator[Iterator[T]]:
    """The same items in the same order; `depth` more are held ready, and one is in the making.

    An error of `items` is raised where the item would have come. `items` has ended when the block has.
    """
    ready: queue.Queue[T | _End[T]] = queue.Queue(depth)
    stop = threading.Event()

    def offer(item: T | _End[T]) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                offer(item)
                if stop.is_set():
                    return
        except BaseException as raised:  # noqa: BLE001 - carried to the thread that asked
            error = raised
        offer(_End(error))

    def take() -> Iterator[T]:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    maker = threading.Thread(target=make, name="scope-agent-read-ahead", daemon=True)
    maker.start()
    try:
        yield take()
    finally:
        stop.set()
        maker.join()
