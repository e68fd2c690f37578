"""Files are known by what they are, not by their names: renamed, moved, touched, replaced, or on their way.

A file is the same when size, time and number on its device agree and its old name no longer leads to it. Where that
can deceive (whole-second times, no file numbers, another device, a new time on the same size), the bytes decide:
their SHA-256 against the one that the facility confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agent.acquisition import Acquisition, SourceFile, State
from agent.outbox import FileRow, FileState, SourceChange, SourceFate
from agent.sources.content import Content
from agent.sources.events import FileSeen
from agent.sources.identity import Identity, identity
from agent.sources.longpaths import plain
from agent.sources.names import fold
from agent.steps.station import Station

log = logging.getLogger(__name__)

_BUDGET_S = 0.05


class Standing(StrEnum):
    """What a dataset that was found is to us."""

    NEW = "new"
    KNOWN = "known"
    """All of it was delivered, or is on its way under this very name."""
    UNDER_WAY = "under way"
    """Some of it is on its way under another name or with other bytes; that delivery will notice."""
    COMPARING = "comparing"
    """Bytes are being compared; ask again soon."""


@dataclass(frozen=True, slots=True)
class Relation:
    """What a dataset that was found has to do with those that we know."""

    standing: Standing
    before: int = 0
    """So many of its files were delivered before or are on their way."""
    replaced: tuple[FileRow, ...] = ()
    """Delivered files whose bytes were overwritten with those that were found."""


@dataclass(frozen=True, slots=True)
class _Match:
    """A file and the row that it is, or may be."""

    file: SourceFile
    row: FileRow
    sure: bool

    @property
    def found(self) -> Identity:
        return Identity(self.file.size, self.file.mtime_ns, self.file.file_id)

    @property
    def in_place(self) -> bool:
        return self.row.source == self.file.path

    @property
    def verified(self) -> bool:
        return self.row.state is FileState.VERIFIED

    @property
    def exact(self) -> bool:
        return self.in_place and _identity(self.row) == self.found


@dataclass(slots=True)
class Follow:
    """Owned by the thread that listens."""

    station: Station
    _moved: list[tuple[SourceChange, Identity]] = field(default_factory=list)
    _reading: dict[str, Content] = field(default_factory=dict)

    def seen(self, seen: FileSeen) -> bool:
        """True when the file is in the outbox, beyond doubt, unchanged: nothing more is to be done for it."""
        file = SourceFile(seen.path, "", seen.size, seen.mtime_ns, seen.file_id)
        match = self._match(file)
        if match is None or not match.sure:
            return False
        if match.exact:
            return True
        if not match.verified:
            return False
        self._moved.append(self._change(match))
        return True

    def flush(self) -> None:
        """Write down the moves that were seen, all in one transaction."""
        if not self._moved:
            return
        moved, self._moved = self._moved, []
        self._write(moved)

    def relation(self, files: Sequence[SourceFile]) -> Relation:
        """What these files are to us; moves and touches of delivered ones are written down."""
        found = [match for match in map(self._match, files) if match is not None]
        if any(self._is_under_way(match) for match in found):
            return Relation(Standing.UNDER_WAY)
        decided = [(match, self._decide(match)) for match in found]
        if any(same is None for _, same in decided):
            return Relation(Standing.COMPARING)
        self.forget(file.path for file in files)
        same = [match for match, yes in decided if yes]
        if len(same) == len(files):
            self._write([self._change(match) for match in same if not match.exact and match.verified])
            return Relation(Standing.KNOWN, len(same))
        replaced = (match.row for match, yes in decided if not yes and match.in_place and match.verified)
        return Relation(Standing.NEW, len(same), tuple(replaced))

    def forget(self, paths: Iterable[str]) -> None:
        """Give the memory of half-read files back."""
        for path in paths:
            self._reading.pop(path, None)

    def replaced(self, rows: Iterable[FileRow], by: Acquisition) -> None:
        """Write down that delivered sources were overwritten with other bytes, which are delivered as `by`."""
        now = self.station.clock.now_ns()
        detail = f"other bytes, acquisition {by.id}"
        changes = [SourceChange(row.acquisition_id, row.target, now, "replaced", row.source, detail) for row in rows]
        self.station.outbox.note_sources(changes)
        for change in changes:
            log.warning(
                "%s was overwritten after it was delivered; the delivered dataset stays, and this is delivered too",
                change.source, extra={"action": "source.replaced", "acquisition": change.acquisition_id},
            )  # fmt: skip

    def _match(self, file: SourceFile) -> _Match | None:
        found = Identity(file.size, file.mtime_ns, file.file_id)
        here = self.station.outbox.files_at(file.path)
        for row in here:
            if _identity(row).is_same_file(found) or _identity(row) == found:
                return _Match(file, row, sure=True)
        moved = self._moved_from(file, found)
        if moved is not None:
            return moved
        # Another time or number on as many bytes may be a touched file or a restored one.
        same_size = [row for row in here if row.size == file.size and row.source_sha256]
        return next((_Match(file, row, sure=False) for row in (*same_size, *here)), None)

    def _moved_from(self, file: SourceFile, found: Identity) -> _Match | None:
        """The row of a file that left its old name and may be this one."""
        for row in self.station.outbox.files_like(found):
            known, there = _identity(row), identity(row.source)
            if row.source == file.path or self._rejected(row):
                continue
            number = known.is_same_file(found)
            if there is not None and there.is_same_file(known):
                # The old name still leads to it: another spelling of it, a hard link or a copy.
                if not (number and fold(plain(row.source)) == fold(plain(file.path))):
                    continue
            elif not number and there is not None:
                continue
            return _Match(file, row, sure=known.file_id == found.file_id and not found.doubtful)
        return None

    def _rejected(self, row: FileRow) -> bool:
        if row.state is FileState.VERIFIED:
            return False
        entry = self.station.outbox.get(row.acquisition_id)
        return entry is None or entry.acquisition.state is State.REJECTED

    def _is_under_way(self, match: _Match) -> bool:
        return not match.verified and not match.exact and not self._rejected(match.row)

    def _decide(self, match: _Match) -> bool | None:
        """Whether the file is what its row says; None while its bytes are still being read."""
        if match.sure:
            return True
        known = match.row.source_sha256
        if match.row.size != match.file.size or known is None:
            return False
        reading = self._reading.get(match.file.path)
        if reading is None or reading.expected != match.found:
            reading = self._reading[match.file.path] = Content(match.file.path, match.found)
        if reading.sha256 is None and not reading.step(self.station.clock.monotonic, _BUDGET_S):
            return None
        return reading.sha256 == known

    def _change(self, match: _Match) -> tuple[SourceChange, Identity]:
        row, now = match.row, self.station.clock.now_ns()
        what: SourceFate = "moved"
        if match.in_place:
            what = "renumbered" if _identity(row).is_same_file(match.found) else "touched"
        return SourceChange(row.acquisition_id, row.target, now, what, row.source, match.file.path), match.found

    def _write(self, changes: list[tuple[SourceChange, Identity]]) -> None:
        if not changes:
            return
        self.station.outbox.follow(changes)
        moved = [change for change, _ in changes if change.what == "moved"]
        for change in moved[:5]:
            log.info(
                "%s is now %s; it was delivered before", change.source, change.detail,
                extra={"action": "source.moved", "acquisition": change.acquisition_id},
            )  # fmt: skip
        if len(moved) > 5:
            log.info("and %d more files were moved", len(moved) - 5, extra={"action": "source.moved"})


def _identity(row: FileRow) -> Identity:
    return Identity(row.size, row.mtime_ns, row.file_id)
