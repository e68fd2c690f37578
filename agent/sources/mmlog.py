"""Runs of pymmcore-plus that no hook told of, found in the log that it keeps by itself.

The log knows neither the process, nor the path, nor the hardware: what it tells is that a run was there and when.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.sources.events import FinishReason, Plan, RunFinished, RunProgress, RunStarted, SourceEvent, WatchLost
from agent.sources.mmlog_lines import LogLine, parse
from agent.sources.mmlog_tail import LogTail
from agent.sources.writers import is_open_for_writing

FOUND_BY = "pymmcore-plus log"
"""`software["found_by"]` of such a run."""
GRACE_S = 2.0
"""A run is told so long after its start was read: until then the hook has told of it, if there is one."""
PROBE_S = 5.0
"""How often a log with an open run is asked whether any process writes it."""

Hooked = Callable[[int], bool | None]
"""Did the hook tell of a run that began at this time (UTC ns)? None when that is not known yet."""


@dataclass(slots=True)
class _Run:
    """A run in a log that is not over. `since` is when its start was read, `file_id` and `start` where it is."""

    origin: str
    first: LogLine
    since: float
    file_id: str
    start: int
    last_ns: int
    events: int = 0
    many: bool = False
    canceled: bool = False
    hooked: bool | None = None
    told: int = -1
    """Events that were told; -1 before the start was."""
    end: RunFinished | None = None


class LogSource:
    """Follows every `*.log` in the folders. `offsets` are those of `durable_offsets`; a log it does not know is
    read from its end, for the runs before the agent was there are not its own."""

    name = "log"

    def __init__(
        self,
        folders: tuple[Path, ...],
        hooked: Hooked,
        offsets: Mapping[str, int] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.folders = folders
        self._hooked = hooked
        self._offsets = offsets or {}
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._tails: dict[Path, LogTail] = {}
        self._runs: dict[tuple[Path, str], _Run] = {}
        self._ended: list[_Run] = []
        self._away: dict[Path, str] = {}
        self._probed: dict[Path, float] = {}

    def start(self) -> None:
        """Note where each log ends now."""
        for path in self._logs():
            self._tails[path] = self._known(path)

    def stop(self) -> None:
        """Nothing to end: this source has no thread."""

    def poll(self) -> list[SourceEvent]:
        """What the logs say since the last call."""
        events: list[SourceEvent] = []
        for path in self._logs():
            tail = self._tails.get(path)
            if tail is None:
                # Made after the start: all of it is new, unless a former agent read it already.
                tail = self._tails[path] = self._known(path, new=True)
            try:
                for file_id, start, raw in tail.read():
                    self._take(path, file_id, start, raw)
                self._end_of_the_dead(path)
                self._away.pop(path, None)
            except OSError as error:
                events.extend(self._lost(path, error))
        return events + self._told()

    def undecided(self) -> bool:
        """Whether there is a run of which it is not known yet if the hook told of it."""
        return any(run.hooked is None for run in (*self._ended, *self._runs.values()))

    def durable_offsets(self) -> dict[str, int]:
        """Where each log may be read from again, by its path and identity."""
        found = {}
        for path, tail in self._tails.items():
            runs = [run for (log, _), run in self._runs.items() if log == path]
            runs += [run for run in self._ended if run.origin.startswith(f"log:{path}:")]
            first = min(runs, key=lambda run: run.first.at_ns, default=None)
            file_id, position = (first.file_id, first.start) if first else (tail.file_id, tail.position)
            if file_id:
                found[f"log:{path}:{file_id}"] = position
        return found

    def _logs(self) -> list[Path]:
        found: list[Path] = []
        for folder in self.folders:
            with suppress(OSError):  # no log, no run: the folder is made by the first process
                found += sorted(path for path in folder.iterdir() if path.suffix == ".log")
        return found

    def _known(self, path: Path, *, new: bool = False) -> LogTail:
        prefix = f"log:{path}:"
        stored = [(key.removeprefix(prefix), at) for key, at in self._offsets.items() if key.startswith(prefix)]
        tail = LogTail(path)
        names = [path, *path.parent.glob(f"{path.name}.*")]
        present = {f"{status.st_dev}:{status.st_ino}": status.st_mtime_ns for status in _statuses(names)}
        there = [(present[file_id], file_id, at) for file_id, at in stored if file_id in present]
        if there:
            _, tail.file_id, tail.position = max(there)
        elif not new:
            with suppress(OSError):
                tail.at_end()
        return tail

    def _take(self, path: Path, file_id: str, start: int, raw: bytes) -> None:
        line = parse(raw)
        if line is None:
            return
        key = path, line.thread
        run = self._runs.get(key)
        if line.kind == "started":
            if run is not None:  # its process died, and another one has the same thread number
                self._end(key, FinishReason.ABORTED)
            origin = f"log:{path}:{file_id}:{start}"
            now = self._clock.monotonic()
            self._runs[key] = _Run(origin, line, now, file_id, start, line.at_ns)
        elif run is not None:
            run.last_ns = line.at_ns
            run.events += line.kind == "event"
            run.many = run.many or line.many
            run.canceled = run.canceled or line.kind == "canceled"
            if line.kind == "finished":
                # The same line ends a run that failed.
                self._end(key, FinishReason.CANCELED if run.canceled else FinishReason.UNKNOWN)

    def _end(self, key: tuple[Path, str], reason: FinishReason) -> None:
        run = self._runs.pop(key)
        frames = 0 if run.many else run.events
        run.end = RunFinished(run.origin, run.last_ns, reason, frames, None)
        self._ended.append(run)

    def _end_of_the_dead(self, path: Path) -> None:
        """Runs in a log that nobody writes any more are aborted."""
        keys = [key for key in self._runs if key[0] == path]
        now = self._clock.monotonic()
        if not keys or now - self._probed.get(path, 0.0) < PROBE_S:
            return
        self._probed[path] = now
        if is_open_for_writing(path) is False:
            for key in keys:
                self._end(key, FinishReason.ABORTED)

    def _told(self) -> list[SourceEvent]:
        """What is told now: a run whose start is old enough, and that the hook did not tell of."""
        events: list[SourceEvent] = []
        for run in (*self._ended, *self._runs.values()):
            if run.hooked is None and self._clock.monotonic() - run.since >= GRACE_S:
                run.hooked = self._hooked(run.first.at_ns)
            if run.hooked is False:
                events += _events(run)
        self._ended = [run for run in self._ended if run.hooked is None]
        return events

    def _lost(self, path: Path, error: OSError) -> list[SourceEvent]:
        reason = f"{path.name} cannot be read: {error.strerror or error}"
        if self._away.get(path) == reason:
            return []
        self._away[path] = reason
        return [WatchLost(str(path.parent), self._clock.now_ns(), reason)]


def default_folder() -> Path:
    """Where pymmcore-plus keeps its log for the user who runs this."""
    from platformdirs import user_data_dir

    return Path(user_data_dir("pymmcore-plus")) / "logs"


def _events(run: _Run) -> list[SourceEvent]:
    events: list[SourceEvent] = []
    if run.told < 0:
        name = run.first.name or "mda"
        events.append(
            RunStarted(run.origin, run.first.at_ns, name, Plan(), (), {"found_by": FOUND_BY}, None),
        )
    if run.events != max(run.told, 0) and not run.many:
        events.append(RunProgress(run.origin, run.last_ns, run.events))
    run.told = run.events
    return [*events, run.end] if run.end else events


def _statuses(paths: list[Path]) -> list[os.stat_result]:
    found = []
    for path in paths:
        with suppress(OSError):
            found.append(path.stat())
    return found
