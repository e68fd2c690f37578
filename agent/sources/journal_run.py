"""Reads one run out of a journal into columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.errors import Damaged
from agent.sources.capture import Change, RunCapture
from agent.sources.events import FinishReason, Span
from agent.sources.journal_frames import FrameColumns
from agent.sources.journal_lines import (
    Finished,
    FrameEntry,
    Gap,
    Line,
    OfRun,
    PresetEntry,
    PropertyEntry,
    Started,
    content,
    entries,
)
from agent.sources.journal_plan import software_of

CHANGES_LIMIT = 10_000
"""Property changes kept one by one; a chattering device must not fill the memory."""


def read_run(span: Span) -> RunCapture:
    """Everything the journal holds of the run that starts at `span.start`, as far as it was written.

    Raises Damaged when no run starts there, OSError when the journal cannot be read.
    """
    with Path(span.path).open("rb") as file:
        lines = entries(file, span.start, span.end)
        first = next(lines, None)
        started = content(first, Started) if first is not None and first.k == "started" else None
        if first is None or started is None:
            raise Damaged(f"no run starts at byte {span.start} of journal {span.path}: read it again from its start")
        reader = _Reader(first, started)
        for line in lines:
            if not reader.take(line):
                break
    return reader.capture(ended=span.end is not None)


class _Reader:
    """Collects the lines of one run and of its core."""

    def __init__(self, first: Line, started: Started) -> None:
        self.first = first
        self.started = started
        self.finished: Finished | None = None
        self.finished_ns: int | None = None
        self.number = first.n
        self.damaged = 0
        self.changes: list[Change] = []
        self.more_changes = 0
        self.left_out = 0
        self.notes = list(started.notes)
        self.summary = started.typed_summary()
        self.frames = FrameColumns(started.sizes, self.summary)

    def take(self, line: Line | None) -> bool:
        """Use an entry; False when it was the last of the run."""
        if line is None:
            self.damaged += 1
            return True
        match line.k:
            case "frame":
                frame = content(line, FrameEntry)
                if frame is None:
                    self.damaged += 1
                elif frame.run == self.started.run:
                    self.frames.append(line.t, frame)
            case "property":
                self._property(line)
            case "preset":
                preset = content(line, PresetEntry)
                if preset is not None and preset.core == self.started.core:
                    self.frames.set_preset(preset.group, preset.preset, preset.state)
            case "gap":
                gap = content(line, Gap)
                self.left_out += gap.frames.get(self.started.run, 0) if gap else 0
            case "finished":
                return not self._finish(line)
            case "canceled" | "paused":
                self._remark(line)
        return True

    def _property(self, line: Line) -> None:
        entry = content(line, PropertyEntry)
        if entry is None or entry.core != self.started.core:
            return
        self.frames.change([(entry.device, entry.property, entry.value)])
        if len(self.changes) < CHANGES_LIMIT:
            self.changes.append(Change(line.t, entry.device, entry.property, entry.value))
        else:
            self.more_changes += 1

    def _finish(self, line: Line) -> bool:
        entry = content(line, Finished)
        if entry is None or entry.run != self.started.run:
            return False
        self.finished, self.finished_ns = entry, line.t
        return True

    def _remark(self, line: Line) -> None:
        entry = content(line, OfRun)
        if entry is not None and entry.run == self.started.run and len(self.notes) < CHANGES_LIMIT:
            said = content(line, dict[str, Any]) or {}
            what = line.k if line.k == "canceled" else "paused" if said.get("paused") else "resumed"
            seconds = (line.t - self.first.t) / 1e9
            self.notes.append(f"{what} by the user {seconds:.3f} s after the start")

    def capture(self, *, ended: bool) -> RunCapture:
        """The run as it was seen; `ended` says that no more lines of it will come."""
        end = self.finished
        return RunCapture(
            uid=str(self.started.run),
            started_ns=self.first.t,
            finished_ns=self.finished_ns,
            reason=self._reason(ended=ended),
            sequence=self.started.sequence,
            summary=self.started.summary,
            end_state={(device, name): value for device, name, value in end.state} if end else {},
            software=software_of(self.started),
            outputs=tuple(self.started.outputs),
            frames=self.frames.finish(),
            changes=self.changes,
            lost=(end.lost if end else 0) + self.damaged,
            notes=self._notes(ended=ended),
            bare=max(self.left_out, (end.frames if end else 0) - len(self.frames)),
        )

    def _reason(self, *, ended: bool) -> FinishReason:
        if self.finished is None:
            return FinishReason.ABORTED if ended else FinishReason.UNKNOWN
        try:
            return FinishReason(self.finished.reason)
        except ValueError:
            return FinishReason.UNKNOWN

    def _notes(self, *, ended: bool) -> list[str]:
        notes = list(self.notes)
        if self.finished is not None:
            notes += self.finished.notes
            if self.finished.lost:
                notes.append(f"{self.finished.lost} journal entries could not be written")
            if self.finished.error:
                notes.append(f"the acquisition software reported: {self.finished.error}")
            missing = self.finished.frames - len(self.frames) - self.left_out
            if missing > 0:
                notes.append(f"{missing} frames were acquired but not journaled")
        elif ended:
            notes.append("the acquisition process ended without finishing the run: the end state is not known")
        if self.left_out:
            notes.append(
                f"the details of {self.left_out} frames are gone: the journals had reached their limit of size"
                " before an agent read them"
            )
        if self.damaged:
            notes.append(f"{self.damaged} journal lines are damaged")
        if self.more_changes:
            notes.append(f"{self.more_changes} more property changes are not listed")
        cached = [device.label for device in self.summary.devices if device.cached]
        if cached:
            notes.append(f"state at the start from MMCore's cache, not live: {', '.join(cached)}")
        return notes
