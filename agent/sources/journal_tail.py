"""Follows one journal file, and tells what its lines say of runs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.sources.events import FinishReason, RunFinished, RunProgress, RunStarted, SourceEvent, Span, WatchLost
from agent.sources.journal_lines import Finished, Gap, Line, OfRun, Removed, Started, content, length, parse, skip
from agent.sources.journal_plan import marks_of, name_of, plan_of, software_of

CHUNK = 1 << 20


@dataclass(slots=True)
class OpenRun:
    """A run whose end was not read yet."""

    origin: str
    start: int
    lost: int
    frames: int = 0
    told: int = 0
    at_ns: int = 0


class Tail:
    """A journal and how far it was read. `position` is the offset of the next line."""

    def __init__(self, path: Path, position: int) -> None:
        self.path = path
        self.position = position
        self.damaged = 0
        self.last_ns = 0
        self.ended = False
        self._runs: dict[int, OpenRun] = {}

    @property
    def durable(self) -> int:
        """Where reading may begin again without telling a finished run twice or losing an unfinished one."""
        return min((run.start for run in self._runs.values()), default=self.position)

    @property
    def busy(self) -> bool:
        """Whether a run is on."""
        return bool(self._runs)

    def read(self, budget: int) -> list[SourceEvent]:
        """What the next lines say, about `budget` bytes of them. Raises OSError."""
        events: list[SourceEvent] = []
        while budget > 0 and (lines := self._lines()):
            for raw in lines:
                line = parse(raw)
                start, self.position = self.position, self.position + length(raw, line)
                budget -= len(raw)
                if line is None:
                    self.damaged += 1
                else:
                    self.last_ns = line.t
                    events.extend(self._told(line, start))
        return [*events, *self._progress()]

    def _lines(self) -> list[bytes]:
        """The next whole lines, at least one if there is one, however long."""
        with self.path.open("rb") as file:
            # Details may have been removed since the last time.
            self.position = skip(file, self.position)
            data = file.read(CHUNK)
            while b"\n" not in data and (more := file.read(CHUNK)):
                data += more
        return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)

    def _told(self, line: Line, start: int) -> list[SourceEvent]:
        match line.k:
            case "frame":
                return self._frame(line)
            case "gap":
                return self._gap(line)
            case "started":
                return self._started(line, start)
            case "finished":
                return self._finished(line)
            case "removed":
                return self._removed(line)
            case _:
                return []

    def _started(self, line: Line, start: int) -> list[SourceEvent]:
        entry = content(line, Started)
        if entry is None:
            self.damaged += 1
            return []
        origin = f"hook:{self.path.name}:{entry.run}"
        self._runs[entry.run] = OpenRun(origin, start, self.damaged, at_ns=line.t)
        return [
            RunStarted(
                origin=origin,
                at_ns=line.t,
                name=name_of(entry),
                plan=plan_of(entry),
                outputs=tuple(entry.outputs),
                software=software_of(entry),
                span=Span(str(self.path), start),
                marks=marks_of(entry),
            )
        ]

    def _frame(self, line: Line) -> list[SourceEvent]:
        entry = content(line, OfRun)
        run = self._runs.get(entry.run) if entry is not None else None
        if run is not None:
            run.frames += 1
            run.at_ns = line.t
        return []

    def _gap(self, line: Line) -> list[SourceEvent]:
        gap = content(line, Gap)
        for number, frames in (gap.frames if gap else {}).items():
            if (run := self._runs.get(number)) is not None:
                run.frames += frames
                run.at_ns = line.t
        return []

    def _removed(self, line: Line) -> list[SourceEvent]:
        entry = content(line, Removed)
        if entry is None or not entry.journals:
            return []
        names = entry.journals
        reason = f"{len(names)} journals went unread, up to {names[-1]}: the spool had reached its limit of size"
        return [WatchLost(str(self.path.parent), line.t, reason)]

    def _finished(self, line: Line) -> list[SourceEvent]:
        entry = content(line, Finished)
        run = self._runs.pop(entry.run, None) if entry is not None else None
        if entry is None or run is None:
            return []
        try:
            reason = FinishReason(entry.reason)
        except ValueError:
            reason = FinishReason.UNKNOWN
        run.frames = max(run.frames, entry.frames)
        return [self._end(run, reason, line.t, entry.lost)]

    def _end(self, run: OpenRun, reason: FinishReason, at_ns: int, lost: int = 0) -> RunFinished:
        span = Span(str(self.path), run.start, self.position)
        return RunFinished(run.origin, at_ns, reason, run.frames, span, lost + self.damaged - run.lost)

    def _progress(self) -> list[SourceEvent]:
        events: list[SourceEvent] = []
        for run in self._runs.values():
            if run.frames != run.told:
                run.told = run.frames
                events.append(RunProgress(run.origin, run.at_ns, run.frames))
        return events

    def grew(self) -> bool:
        """Whether the file is longer than what was read of it; False when it is gone."""
        try:
            return self.path.stat().st_size > self.position
        except OSError:
            return False

    def abandon(self) -> list[SourceEvent]:
        """The writer or the file is gone and every whole line read: what was on is aborted.

        A torn last line is left out.
        """
        events: list[SourceEvent] = [
            self._end(run, FinishReason.ABORTED, self.last_ns or run.at_ns) for run in self._runs.values()
        ]
        self._runs.clear()
        self.ended = True
        with suppress(FileNotFoundError):
            self.position = max(self.position, self.path.stat().st_size)
        return events
