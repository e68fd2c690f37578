"""What the operating system says about a folder, through watchdog: hints, never the truth.

watchdog 7.1 drops events silently when the kernel's queue overflows: it only logs. The log is listened to.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver, EventEmitter
    from watchdog.observers.inotify import InotifyWatchGroup
    from watchdog.observers.inotify_c import WatchDescriptor

MAX_PENDING = 65_536
"""Paths that wait for the next poll; beyond it a walk finds the rest more cheaply."""
_STOP_S = 1.8
_LOG = "watchdog.observers"
_FORGET = "_remove_watch_internally"


class _Overflow(logging.Handler):
    """Hears watchdog log that the kernel dropped events."""

    def __init__(self, watch: EventWatch) -> None:
        super().__init__(logging.WARNING)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._watch.lose("the operating system's event queue overflowed")


def _threads(emitter: EventEmitter) -> list[threading.Thread]:
    """The emitter and, on Linux, the reader behind it, whose death watchdog does not notice."""
    reader = getattr(getattr(emitter, "_inotify", None), "_inotify_fd", None)
    return [emitter, reader] if isinstance(reader, threading.Thread) else [emitter]


def _tame() -> None:
    """watchdog 7.1 warns of every folder that it hears of twice, with the text of all its watches.

    Where warnings are errors this ends its reader; with 5,000 new folders it costs minutes. Folders that were moved
    to the names of others make it raise KeyError, in its reader and when it is stopped.
    """
    if sys.platform == "linux":
        from watchdog.observers.inotify import InotifyWatchGroup

        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        InotifyWatchGroup.__repr__ = object.__repr__  # type: ignore[method-assign]
        setattr(InotifyWatchGroup, _FORGET, _forget)


def _forget(group: InotifyWatchGroup, descriptor: WatchDescriptor) -> None:
    """What watchdog does here, also where another watch took over the name."""
    paths, watches = vars(group)["_active_callbacks_by_watch"], vars(group)["_active_callbacks_by_path"]
    path = paths.pop(descriptor, None)
    if watches.get(path) == descriptor:
        del watches[path]


class EventWatch:
    """A watchdog observer on one folder. `on_event` runs on watchdog's thread, the rest on the owner's."""

    def __init__(self, root: str, max_pending: int = MAX_PENDING) -> None:
        self._root = root
        self._max = max_pending
        self._lock = threading.Lock()
        self._pending: dict[str, None] = {}
        self._lost: str | None = None
        self._observer: BaseObserver | None = None
        self._handler = _Overflow(self)

    def start(self) -> None:
        """Begin to listen; from its return on no new file goes unheard.

        Raises OSError when the folder cannot be watched.
        """
        from watchdog import events
        from watchdog.observers import Observer

        # Our own reading must not come back as an event, so opening and closing without writing are left out.
        kinds: list[type[FileSystemEvent]] = [
            events.FileCreatedEvent,
            events.FileModifiedEvent,
            events.FileMovedEvent,
            events.FileClosedEvent,
            events.FileDeletedEvent,
            events.DirCreatedEvent,
            events.DirMovedEvent,
            events.DirDeletedEvent,
        ]
        _tame()
        listener = events.FileSystemEventHandler()
        listener.on_any_event = self.on_event  # type: ignore[method-assign]
        observer = Observer(timeout=0.5)
        observer.schedule(listener, self._root, recursive=True, event_filter=kinds)
        log = logging.getLogger(_LOG)
        log.addHandler(self._handler)
        if not log.isEnabledFor(logging.WARNING):
            log.setLevel(logging.WARNING)
        self._observer = observer
        try:
            observer.start()
        except BaseException:
            self._observer = None
            logging.getLogger(_LOG).removeHandler(self._handler)
            raise

    def stop(self) -> None:
        """Stop listening and join the threads."""
        logging.getLogger(_LOG).removeHandler(self._handler)
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            with suppress(RuntimeError):
                observer.join(_STOP_S)

    @property
    def alive(self) -> bool:
        """False when a thread of the observer died, as it does when a share goes away."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and all(thread.is_alive() for emitter in observer.emitters for thread in _threads(emitter))
        )

    def heard(self) -> list[str]:
        """Files that changed and folders that are new since the last call, the newest first."""
        with self._lock:
            pending, self._pending = self._pending, {}
        return list(reversed(pending))

    def lost(self) -> str | None:
        """Why events are missing since the last call, if they are."""
        with self._lock:
            lost, self._lost = self._lost, None
        return lost

    def lose(self, reason: str) -> None:
        """Events are known to be missing."""
        with self._lock:
            self._lost = reason

    def on_event(self, event: FileSystemEvent) -> None:
        """Keep the path, once; this is all that happens on watchdog's thread."""
        # The new name first: who follows a file to it has no file that is gone. Of a folder that was moved watchdog
        # makes up an event for each file; its old name says enough.
        made_up = bool(event.dest_path) and event.is_synthetic
        with self._lock:
            for path in (event.dest_path, "" if made_up else event.src_path):
                if not path:
                    continue
                text = path if isinstance(path, str) else bytes(path).decode(errors="surrogateescape")
                if len(self._pending) < self._max:
                    self._pending[text] = None
                else:
                    self._lost = f"more than {self._max} files changed at once"
