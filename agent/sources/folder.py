"""A watched folder as a source: events where they exist, walks always, and nothing missed between them.

Events are hints that make it fast; the walks at the start, now and then and after every loss are the truth.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.sources.events import SourceEvent, WatchLost
from agent.sources.folder_events import MAX_PENDING, EventWatch
from agent.sources.identity import Identity, identity_of, seen
from agent.sources.mounts import is_network
from agent.sources.names import Names
from agent.sources.settings import WatchSettings
from agent.sources.walk import relative, walk

Known = Callable[[str], "Identity | tuple[int, int, str] | None"]
"""What was recorded of a path before this start: (size, mtime_ns, file_id) or None."""
_BUDGET_S = 0.05
_BATCH = 4096
_RETRY_S = (0.1, 60.0)
"""First and longest pause between two tries to listen."""


class FolderSource:
    """Tells of every new or changed regular file below a folder (the Source port).

    `known` spares files that were told before a restart. One poll works for about 50 ms at most, so that a
    walk of a million files takes many polls and no long one. Memory: about 130 bytes for each file.
    """

    def __init__(
        self,
        settings: WatchSettings,
        known: Known | None = None,
        clock: Clock | None = None,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self.name = f"folder:{settings.path}"
        self._settings = settings
        self._root = os.path.abspath(settings.path)  # noqa: PTH100 (resolve would follow links)
        self._known = known
        self._clock = clock or SystemClock()
        self._max_pending = max_pending
        self._names = Names(settings)
        # hash(path) -> hash(identity): a collision tells a file twice, it never hides one.
        self._told: dict[int, int] = {}
        self._fresh: dict[int, int] = {}
        self._watch: EventWatch | None = None
        self._root_id: tuple[int, int] | None = None
        self._steps: Iterator[tuple[str, os.stat_result] | None] | None = None
        self._full = False
        self._again = True
        self._folders: list[str] = []
        self._heard: list[str] = []
        self._next_walk = 0.0
        self._retry_at = 0.0
        self._retry_s = _RETRY_S[0]
        self._away = False
        self._deaf = False
        self._running = False

    @property
    def polled(self) -> bool:
        """True when the folder is listened to by walking alone."""
        mode = self._settings.mode
        return mode == "poll" or (mode == "auto" and is_network(Path(self._root)) is True)

    def start(self) -> None:
        """Watch first; the walk begins with the first poll, so nothing falls between the two."""
        self._running = True
        self._again = True

    def stop(self) -> None:
        self._running = False
        self._unwatch()
        self._steps, self._full = None, False

    def poll(self) -> list[SourceEvent]:
        """What happened since the last call, at least once each."""
        if not self._running:
            return []
        events: list[SourceEvent] = []
        if not self._present(events):
            return events
        began = self._clock.monotonic()
        self._listen(events)
        # Half of the time is for the walk, so that a flood of events cannot hold it up.
        self._look_on(events, began + _BUDGET_S / 2)
        if self._again or began >= self._next_walk:
            self._begin_walk()
        self._walk_on(events, began + _BUDGET_S)
        return events

    @property
    def idle(self) -> bool:
        """True when no walk is under way or due at once."""
        return not (self._steps or self._again or self._folders or self._heard)

    # -- is the folder there, and are we listening? --

    def _present(self, events: list[SourceEvent]) -> bool:
        """Say once that the folder vanished; begin anew when it, or another of its name, is back."""
        try:
            status = Path(self._root).stat()
            here = (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
        except OSError:
            here = None
        if here is None:
            if not self._away:
                events.append(self._loss("the folder is away"))
            self._away = True
            self._unwatch()
            self._steps, self._full = None, False
            return False
        if here != self._root_id:
            if self._root_id is not None and not self._away:
                events.append(self._loss("the folder was replaced by another one"))
            self._root_id = here
            self._unwatch()
        if self._away or self._watch is None:
            self._away = False
            self._begin_watch(events)
        return True

    def _begin_watch(self, events: list[SourceEvent]) -> None:
        """Listen, or wait longer and longer before the next try; meanwhile the folder is polled."""
        now = self._clock.monotonic()
        if self.polled or now < self._retry_at:
            return
        self._retry_at = now + self._retry_s
        self._retry_s = min(self._retry_s * 2, _RETRY_S[1])
        watch = EventWatch(self._root, self._max_pending)
        try:
            watch.start()
        except (OSError, RuntimeError) as error:
            if not self._deaf:
                events.append(self._loss(f"the folder cannot be watched, it is walked instead: {error}"))
            self._deaf = True
            return
        self._watch, self._again, self._deaf = watch, True, False

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    def _loss(self, reason: str) -> WatchLost:
        self._again = True
        return WatchLost(self._root, self._clock.now_ns(), reason)

    # -- events --

    def _listen(self, events: list[SourceEvent]) -> None:
        watch = self._watch
        if watch is None:
            return
        lost = watch.lost()
        if not watch.alive:
            events.append(self._loss("the watcher died and is started again"))
            self._unwatch()
        elif lost is not None and not self._again:
            events.append(self._loss(lost))
        if not self._heard:
            self._heard = watch.heard()
        if self._clock.monotonic() > self._retry_at + _RETRY_S[1]:
            self._retry_s = _RETRY_S[0]

    def _look_on(self, events: list[SourceEvent], deadline: float) -> None:
        while self._heard and self._clock.monotonic() < deadline:
            for _ in range(min(100, len(self._heard))):
                self._look(self._heard.pop(), events)

    def _look(self, path: str, events: list[SourceEvent]) -> None:
        """A path of an event: a file is told, a folder is walked (its files may be older than its watch)."""
        try:
            status = os.lstat(path)
        except (OSError, ValueError):
            return
        below = relative(self._root, path)
        if stat.S_ISDIR(status.st_mode):
            if self._names.folders(below):
                self._folders.append(path)
        elif stat.S_ISREG(status.st_mode) and self._names.path(below):
            self._tell(path, status, events)

    # -- walks --

    def _begin_walk(self) -> None:
        """A walk of everything; one that is under way is finished first and another follows it."""
        if self._full:
            return
        self._again, self._full = False, True
        self._folders.clear()
        self._fresh = {}
        self._steps = walk(self._root, self._names)

    def _walk_on(self, events: list[SourceEvent], deadline: float) -> None:
        while len(events) < _BATCH and self._clock.monotonic() < deadline:
            if self._steps is None:
                if not self._folders:
                    return
                self._steps = walk(self._root, self._names, self._folders.pop())
            try:
                self._step(events)
            except StopIteration:
                self._end_walk()
            except OSError:
                self._steps, self._full = None, False

    def _step(self, events: list[SourceEvent]) -> None:
        """Up to a hundred entries between two looks at the clock."""
        steps = self._steps
        if steps is None:
            return
        for _ in range(100):
            entry = next(steps)
            if entry is None:
                return
            self._tell(entry[0], entry[1], events)

    def _end_walk(self) -> None:
        """After a full walk only the files that exist are remembered."""
        self._steps = None
        if self._full:
            self._told, self._fresh = self._fresh, {}
            self._full = False
            wait = self._settings.reconcile_s if self._watch is not None else self._settings.poll_s
            self._next_walk = self._clock.monotonic() + wait

    def _tell(self, path: str, status: os.stat_result, events: list[SourceEvent]) -> None:
        key = hash(path)
        value = hash((status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino))
        old = self._told.get(key)
        first = old is None
        self._told[key] = value
        if self._full:
            self._fresh[key] = value
        if old == value:
            return
        found = identity_of(status)
        if first and self._known is not None and self._known(path) == tuple(found):
            return
        events.append(seen(self._root, path, found, self._clock.now_ns()))
