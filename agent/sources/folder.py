"""A watched folder as a source: events where they exist, walks always, and nothing missed between them.

Events are hints that make it fast; the walks at the start, now and then and after every loss are the truth.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.clock import Clock, SystemClock
from agent.sources.events import FilesGone, SourceEvent, WatchLost
from agent.sources.folder_events import MAX_PENDING, EventWatch
from agent.sources.identity import Identity, identity_of, seen
from agent.sources.longpaths import reaching
from agent.sources.mounts import is_network
from agent.sources.names import Names
from agent.sources.reconcile import Walks
from agent.sources.walk import Step, relative

if TYPE_CHECKING:
    from agent.sources.settings import WatchSettings

Known = Callable[[str], "Identity | tuple[int, int, str] | None"]
"""What was recorded of a path before this start: (size, mtime_ns, file_id) or None."""
_BUDGET_S = 0.05
_BATCH = 4096
_RETRY_S = (0.1, 60.0)
"""First and longest pause between two tries to listen."""


def root_of(settings: WatchSettings) -> str:
    """The watched folder as its events spell it: absolute, links as they are, long paths below it within reach."""
    return reaching(os.path.abspath(settings.path))  # noqa: PTH100 (resolve would follow links)


class FolderSource:
    """Tells of every new or changed regular file below a folder (the Source port).

    `known` spares files that were told before a restart. One poll works for about 50 ms at most, so that a
    walk of a million files takes many polls and no long one. Memory: eight bytes for each file, told.py says more.
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
        self._root = root_of(settings)
        self._known = known
        self.room: Callable[[], bool] = lambda: True
        """Whether whoever is told can take more: a walk waits until then, events do not."""
        self._clock = clock or SystemClock()
        self._max_pending = max_pending
        self._names = Names(settings)
        self._events: list[SourceEvent] = []
        self._walks = Walks(self._root, self._names, self._clock, self._tell, self._tell_gone)
        self._watch: EventWatch | None = None
        self._root_id: tuple[int, int] | None = None
        self._heard: list[str] = []
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
        self._walks.again()

    def stop(self) -> None:
        self._running = False
        self._unwatch()
        self._walks.stop()

    def poll(self) -> list[SourceEvent]:
        """What happened since the last call, at least once each."""
        if self._running and self._present():
            began = self._clock.monotonic()
            self._listen()
            # Half of the time is for the walk, so that a flood of events cannot hold it up.
            self._look_on(began + _BUDGET_S / 2)
            wait = self._settings.reconcile_s if self._watch is not None else self._settings.poll_s
            self._walks.step(
                began + _BUDGET_S,
                wait,
                polled=self._watch is None,
                full=lambda: len(self._events) >= _BATCH or not self.room(),
            )
        events, self._events = self._events, []
        return events

    @property
    def idle(self) -> bool:
        """True when no walk is under way or due at once."""
        return self._walks.idle and not self._heard

    # -- is the folder there, and are we listening? --

    def _present(self) -> bool:
        """Say once that the folder vanished; begin anew when it, or another of its name, is back."""
        try:
            status = os.stat(self._root)  # noqa: PTH116 - ten times a second
            here = (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
        except OSError:
            here = None
        if here is None:
            if not self._away:
                self._lose("the folder is away")
            self._away = True
            self._unwatch()
            self._walks.stop()
            return False
        if here != self._root_id:
            if self._root_id is not None and not self._away:
                self._lose("the folder was replaced by another one")
            self._root_id = here
            self._unwatch()
        if self._away or self._watch is None:
            self._away = False
            self._begin_watch()
        return True

    def _begin_watch(self) -> None:
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
                self._lose(f"the folder cannot be watched, it is walked instead: {error}")
            self._deaf = True
            return
        self._watch, self._deaf = watch, False
        self._walks.again()

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    def _lose(self, reason: str) -> None:
        self._walks.again()
        self._events.append(WatchLost(self._root, self._clock.now_ns(), reason))

    # -- events --

    def _listen(self) -> None:
        watch = self._watch
        if watch is None:
            return
        lost = watch.lost()
        if not watch.alive:
            self._lose("the watcher died and is started again")
            self._unwatch()
        elif lost is not None and not self._walks.is_due:
            self._lose(lost)
        if not self._heard:
            self._heard = watch.heard()
        if self._clock.monotonic() > self._retry_at + _RETRY_S[1]:
            self._retry_s = _RETRY_S[0]

    def _look_on(self, deadline: float) -> None:
        while self._heard and self._clock.monotonic() < deadline:
            for _ in range(min(100, len(self._heard))):
                self._look(self._heard.pop())

    def _look(self, path: str) -> None:
        """A path of an event: a file is told, a folder is walked (its files may be older than its watch)."""
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            if self._names.folders(relative(self._root, path)):
                self._tell_gone(path, deep=True)
            return
        except (OSError, ValueError):
            return
        below = relative(self._root, path)
        if stat.S_ISDIR(status.st_mode):
            if self._names.folders(below):
                self._walks.born(path)
        elif stat.S_ISREG(status.st_mode) and self._names.path(below):
            self._walks.heard(path, status)

    # -- what is told --

    def _tell(self, step: Step) -> None:
        path, status = step
        found = identity_of(status)
        if self._known is None or self._known(path) != tuple(found):
            self._events.append(seen(self._root, path, found, self._clock.now_ns()))

    def _tell_gone(self, path: str, deep: bool) -> None:
        self._events.append(FilesGone(self._root, path, deep, self._clock.now_ns()))
