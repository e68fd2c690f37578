"""Delivered files that are no longer at the microscope are written down: deleted, or replaced by other ones."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.outbox import FileRow, SourceChange
from agent.sources.events import FilesGone
from agent.sources.identity import Identity, identity
from agent.steps.station import Station

log = logging.getLogger(__name__)

_WAIT_S = 20.0
"""A file that is only moved is seen under its new name by then."""
_PAGE = 500
_BUDGET_S = 0.05
_REST = 400
"""So many times as long as a page took all that was begun rests: files of years must not cost an idle agent its share,
in however many folders they are.
"""


@dataclass(slots=True)
class Gone:
    """Owned by the thread that listens."""

    station: Station
    away: Callable[[str, str], bool]
    """Whether the watched folder above a path, where a file of this identity was, cannot be looked into now."""
    _todo: dict[tuple[str, bool], tuple[float, str]] = field(default_factory=dict)
    """By path and depth: when to look, and the path to go on after. All wait as long, so the first is the next."""
    _resting: dict[tuple[str, bool], str] = field(default_factory=dict)
    """What was begun, and the path to go on after. One a watched folder at most."""
    _rested: float = 0.0
    """When the first of them may go on."""

    def told(self, event: FilesGone) -> None:
        """Something at or below a path may be gone: look soon."""
        if (event.path, event.deep) not in self._resting:
            self._todo.setdefault((event.path, event.deep), (self.station.clock.monotonic() + _WAIT_S, ""))

    def step(self) -> bool:
        """Look at what is due, for a moment. True when there is more to look at."""
        deadline = self.station.clock.monotonic() + _BUDGET_S
        if self._resting and self._rested < deadline:
            key = next(iter(self._resting))
            self._todo = {key: (self._rested, self._resting.pop(key))} | self._todo
        while self._todo and self.station.clock.monotonic() < deadline:
            (path, deep), (due, after) = next(iter(self._todo.items()))
            if due > deadline:
                return False
            self._look(path, deep, after)
        return bool(self._todo)

    def _look(self, path: str, deep: bool, after: str) -> None:
        """One page of the delivered files at and below a path."""
        outbox, began = self.station.outbox, self.station.clock.monotonic()
        folder = os.path.join(path, "")  # noqa: PTH118 (text, with its separator at the end)
        rows = outbox.delivered_below(folder, after, _PAGE)
        asked = [row for row in rows if deep or os.path.dirname(row.source) == path]  # noqa: PTH120
        if not after:
            asked += outbox.delivered_at(path)
        if any(self.away(row.source, row.file_id) for row in asked[:1]):
            del self._todo[path, deep]
            self._todo[path, deep] = (self.station.clock.monotonic() + _WAIT_S, after)
            return
        self._note([change for row in asked if (change := self._change(row)) is not None])
        del self._todo[path, deep]
        if len(rows) == _PAGE:
            self._resting[path, deep] = rows[-1].source
            now = self.station.clock.monotonic()
            self._rested = max(self._rested, now + _REST * (now - began))

    def _change(self, row: FileRow) -> SourceChange | None:
        now = self.station.clock.now_ns()
        if _is_gone(row.source):
            return SourceChange(row.acquisition_id, row.target, now, "gone", row.source, "no file has this name")
        known, there = Identity(row.size, row.mtime_ns, row.file_id), identity(row.source)
        if there is None or there.is_same_file(known) or there == known:
            return None
        others = self.station.outbox.files_at(row.source)
        if not any(Identity(other.size, other.mtime_ns, other.file_id) == there for other in others):
            return None  # changed: what it is now becomes an acquisition, or turns out to be the same
        return SourceChange(row.acquisition_id, row.target, now, "replaced", row.source, "another file has this name")

    def _note(self, changes: list[SourceChange]) -> None:
        if not changes:
            return
        self.station.outbox.note_sources(changes)
        log.warning(
            "%d delivered files are no longer where they were, the first %s; their datasets stay",
            len(changes), changes[0].source,
            extra={"action": "source.gone", "acquisition": changes[0].acquisition_id},
        )  # fmt: skip


def _is_gone(path: str) -> bool:
    """True only when the system says so: a folder that may not be read hides nothing."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False
