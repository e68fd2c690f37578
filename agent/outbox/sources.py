"""Source files in the outbox: recognised under another name, and what became of them after their delivery."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agent.outbox.codec import Spelled
from agent.outbox.events import Events
from agent.outbox.rows import FileRow, FileState, SourceChange
from agent.outbox.session import readable
from agent.sources.identity import Identity
from agent.sources.spelling import stored


class Sources(Events):
    """The part of the outbox that knows source files again."""

    def files_at(self, source: str) -> list[FileRow]:
        """All rows of a path on this machine, the newest first."""
        return [_file(row) for row in self._rows("files_at", source=source)]

    def files_like(self, found: Identity) -> list[FileRow]:
        """Rows of files of this size and time, whatever their path; the one with this identity first."""
        return [_file(row) for row in self._rows("files_like", **found._asdict())]

    def follow(self, changes: Iterable[tuple[SourceChange, Identity]]) -> None:
        """Verified files are elsewhere, or were touched, with the same content: write down both."""
        with self._transaction():
            for change, found in changes:
                self._run(
                    "follow_file",
                    acquisition_id=change.acquisition_id,
                    target=change.target,
                    source=change.detail,
                    mtime_ns=found.mtime_ns,
                    file_id=found.file_id,
                )
                if change.what != "renumbered":
                    self._note(change)

    def note_sources(self, changes: Iterable[SourceChange]) -> None:
        """Write down what became of delivered sources; their rows stay as they are."""
        with self._transaction():
            for change in changes:
                self._note(change)

    def source_changes(self, acquisition_id: str) -> list[SourceChange]:
        """What became of an acquisition's sources after it was delivered, in order."""
        return [SourceChange(**row) for row in self._rows("source_changes_of", acquisition_id=acquisition_id)]

    def delivered_below(self, folder: str, after: str, limit: int) -> list[FileRow]:
        """Verified files whose sources should be below `folder` (ends with a separator), by path, after one."""
        # Names that are no text are stored behind all others, with a mark ahead.
        plain, marked = folder, stored(folder + "\udcff").removesuffix("%FF")
        rows: list[FileRow] = []
        for begin in (plain, marked):
            until = Spelled(begin[:-1] + chr(ord(begin[-1]) + 1))
            behind = Spelled(max(begin, stored(after)))
            found = self._rows("delivered_below", after=behind, until=until, limit=limit - len(rows))
            rows += [_file(row) for row in found]
        return rows

    def delivered_at(self, source: str) -> list[FileRow]:
        """The same for the path of one file."""
        return [_file(row) for row in self._rows("delivered_at", source=source)]

    def _note(self, change: SourceChange) -> None:
        self._run(
            "note_source",
            acquisition_id=change.acquisition_id,
            target=change.target,
            at_ns=change.at_ns,
            what=change.what,
            source=change.source,
            detail=change.detail,
        )


def _file(row: dict[str, Any]) -> FileRow:
    with readable("file", row["target"]):
        return FileRow(**(row | {"state": FileState(row["state"])}))
