"""The Source port."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from agent.sources.events import SourceEvent


class Source(Protocol):
    """Something that hears of acquisitions. Owned and called by one thread.

    `start` may start the source's own threads, `stop` ends and joins every one of them within two seconds;
    both may be called again. `poll` returns at once with what happened since the last call, at least once
    each, in order for one run or file; after a restart it may tell again what it told before, with the same
    `origin` or `file_id`. A source never opens a file of the acquisition for writing, and never raises for
    a folder that is away: it says so once with WatchLost and recovers by itself.
    """

    name: str

    def start(self) -> None: ...

    def poll(self) -> Iterable[SourceEvent]: ...

    def stop(self) -> None: ...
