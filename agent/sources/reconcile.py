"""The walks of a watched folder: whole ones, ones of the folders that changed, and of folders that are new.

A whole walk looks at every file. Where that takes long, it comes so seldom that it costs a small share of the time,
and in between only folders that changed are listed: a million files in a thousand folders in some milliseconds.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from agent.clock import Clock
from agent.sources.names import Names
from agent.sources.told import Told
from agent.sources.walk import Step, changed, steps

_MOST_FOLDERS = 50_000
"""Beyond it every walk is a whole one: the times of the folders must fit into memory."""
_UNSURE_NS = 3_000_000_000
"""A folder that changed so recently may change again without another time (FAT keeps 2 s)."""
_LIGHT, _POLLED = 400, 10
"""Whole walks take at most one part in so many of the time; more where walking is all there is."""
_CHUNK = 100
_NEVER = -1


class Kind(Enum):
    """What a walk is for."""

    WHOLE = "whole"
    CHANGED = "changed"
    BORN = "born"


@dataclass(slots=True)
class _Listed:
    """A folder as it was listed last."""

    mtime_ns: int
    files: int


class Walks:
    """Owned by one thread. `tell` is called with each file that is new or another one than before."""

    def __init__(
        self, root: str, names: Names, clock: Clock, tell: Callable[[Step], None], gone: Callable[[str, bool], None]
    ) -> None:
        """`gone(folder, deep)`: something directly in, or (deep) anywhere below a folder may be gone."""
        self._root, self._names, self._clock = root, names, clock
        self._tell, self._gone = tell, gone
        self.told = Told()
        self._kind: Kind | None = None
        self._steps: Iterator[Step | None] | None = None
        self._born: list[str] = []
        self._listed: dict[str, _Listed] = {}
        self._before: dict[str, _Listed] = {}
        self._folder = ""
        self._at: _Listed | None = None
        self._kept = 0
        self._many = False
        self._again = True
        self._walked_once = False
        self._next = self._next_whole = 0.0
        self._busy_s = 0.0

    @property
    def idle(self) -> bool:
        """True when no walk is under way or due at once."""
        return not (self._steps or self._again or self._born)

    def again(self) -> None:
        """Something was missed: walk all of it, after the walk that is under way."""
        self._again = True

    @property
    def is_due(self) -> bool:
        """A whole walk was asked for and has not begun."""
        return self._again

    def born(self, folder: str) -> None:
        """A folder is new: its files may be older than its watch."""
        self._born.append(folder)

    def stop(self) -> None:
        """Forget the walk that is under way."""
        if self._kind is Kind.WHOLE:
            self._listed, self._again = self._before, True
            self.told.give_up()
        self._kind = self._steps = self._at = None

    def step(self, deadline: float, wait_s: float, *, polled: bool, full: Callable[[], bool]) -> None:
        """Walk until the deadline, or until `full` says that enough was told; `wait_s` between two walks."""
        began = self._clock.monotonic()
        if self._kind is not Kind.WHOLE and (self._again or began >= self._next):
            self._begin(began)
        first = True  # however late it is, every poll gets a little further
        while not full() and (first or self._clock.monotonic() < deadline):
            first = False
            if self._steps is None:
                if not self._born:
                    break
                self._kind, self._steps = Kind.BORN, steps(self._root, self._names, self._born.pop())
            try:
                self._some(self._steps)
            except StopIteration:
                self._end(wait_s, began, share=_POLLED if polled else _LIGHT)
            except OSError:
                self.stop()
        if self._kind is Kind.WHOLE:
            self._busy_s += self._clock.monotonic() - began

    def heard(self, path: str, status: os.stat_result) -> None:
        """An event tells of a file."""
        if self.told.add(_key(path, status)):
            self._tell((path, status))

    def _begin(self, now: float) -> None:
        whole = self._again or self._many or now >= self._next_whole
        if not whole and self._kind is not None:
            return
        self._again, self._at = False, None
        if not whole:
            self._kind = Kind.CHANGED
            times = {folder: listed.mtime_ns for folder, listed in self._listed.items()}
            self._steps = changed(self._root, self._names, times)
            return
        self._kind, self._busy_s = Kind.WHOLE, 0.0
        self._born.clear()
        self._before, self._listed, self._many = self._listed, {}, False
        self.told.begin()
        self._steps = steps(self._root, self._names)

    def _some(self, walking: Iterator[Step | None]) -> None:
        """A hundred entries between two looks at the clock."""
        whole = self._kind is Kind.WHOLE
        for _ in range(_CHUNK):
            entry = next(walking)
            if entry is None:
                continue
            if stat.S_ISDIR(entry[1].st_mode):
                self._leave()
                self._enter(*entry)
                continue
            key = _key(*entry)
            new = self.told.walked(key) if whole else self.told.add(key)
            if self._at is not None:
                self._at.files += 1
                self._kept += not new
            if new:
                self._tell(entry)

    def _enter(self, folder: str, status: os.stat_result) -> None:
        unsure = abs(self._clock.now_ns() - status.st_mtime_ns) < _UNSURE_NS
        self._folder, self._kept = folder, 0
        self._at = _Listed(_NEVER if unsure else status.st_mtime_ns, 0)

    def _leave(self) -> None:
        """A folder is listed: fewer of its files were known than it had means that some are gone."""
        if self._at is None:
            return
        before = (self._before if self._kind is Kind.WHOLE else self._listed).get(self._folder)
        if before is not None and self._kept < before.files:
            self._gone(self._folder, False)
        if len(self._listed) < _MOST_FOLDERS or self._folder in self._listed:
            self._listed[self._folder] = self._at
        else:
            self._many = True
        self._at = None

    def _end(self, wait_s: float, began: float, *, share: int) -> None:
        self._leave()
        now = self._clock.monotonic()
        kind, self._kind, self._steps = self._kind, None, None
        if kind is Kind.BORN:
            return
        self._next = now + wait_s
        if kind is Kind.WHOLE:
            self.told.end()
            self._busy_s += now - began
            self._next_whole = now + max(wait_s, share * self._busy_s)
            if self._many:
                self._next = self._next_whole
            self._say_gone()

    def _say_gone(self) -> None:
        """Folders that are gone; after the first walk, whatever went while nobody looked."""
        if not self._walked_once:
            self._walked_once = True
            self._gone(self._root, True)
        elif not self._many:
            for folder in self._before:
                if folder not in self._listed and os.path.dirname(folder) in self._listed:  # noqa: PTH120
                    self._gone(folder, True)
        self._before = {}


def _key(path: str, status: os.stat_result) -> int:
    return hash((path, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino))
