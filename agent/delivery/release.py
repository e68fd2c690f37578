"""Removing source files from the microscope: only what the target holds, and only what has not changed since.

    verified --(after_days, policy)--> planned -> moved to the grace folder --(grace_days)--> removed

Before a file is moved, and again before it is removed, the target reads what it holds, and the file is read and
hashed here; all three hashes (recorded, here, there) must be one. Anything that cannot be told is a reason to keep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.contract.layout import RECORD
from agent.contract.record import Record
from agent.delivery.port import Target
from agent.delivery.reading import sha256_of, unchanged
from agent.errors import Misconfigured, Mismatch, Retryable, SourceChanged
from agent.outbox import Entry, FileRow, FileState, Outbox, Release
from agent.sources.writers import is_open_for_writing


@dataclass(frozen=True, slots=True)
class Releaser:
    """Owned by one thread."""

    outbox: Outbox
    target: Target
    grace_folder: str

    def plan(self, entry: Entry, now_ns: int) -> list[Release]:
        """What would be moved, every file of it confirmed now.

        SourceChanged when a source is not what was delivered, Mismatch when the target no longer holds it,
        Retryable when that cannot be told now. The same for a dry run and for the real one.
        """
        rows = [row for row in self.outbox.files(entry.acquisition.id) if row.role == "data"]
        earlier = {release.source: release for release in self.outbox.releases(entry.acquisition.id)}
        self._ask(entry, rows)
        return [release for row in rows if (release := self._plan_file(entry, row, earlier, now_ns)) is not None]

    def move(self, releases: list[Release], now_ns: int) -> None:
        """Into the grace folder, after it was written down; a crash between the two is gone on with by `plan`."""
        self.outbox.plan_release(releases)
        for release in releases:
            source, kept = Path(release.source), Path(release.kept)
            if source.exists():
                _rename(source, kept)
            elif not kept.exists():
                raise SourceChanged(f"{source} vanished while it was released")
            self.outbox.release_moved(release, now_ns)

    def remove(self, entry: Entry) -> list[Release]:
        """Take moved files away for good, each confirmed once more; those that were."""
        rows = {row.source: row for row in self.outbox.files(entry.acquisition.id) if row.role == "data"}
        self._ask(entry, list(rows.values()))
        gone = []
        for release in self.outbox.releases(entry.acquisition.id):
            if release.moved_ns is None or release.removed_ns is not None:
                continue
            kept = Path(release.kept)
            if kept.exists():
                if _sha256(kept) != release.sha256:
                    raise SourceChanged(f"{kept} is not what was moved there: keeping it")
                kept.unlink()
            gone.append(release)
        return gone

    def _ask(self, entry: Entry, rows: list[FileRow]) -> None:
        """The target reads again what it holds; everything must be as recorded, its own record included."""
        if entry.dataset is None or not rows:
            raise Mismatch("there is nothing that could be released")
        held = self.target.held(entry.dataset)
        if held.missing or held.different:
            wrong = [*held.missing, *held.different]
            raise Mismatch(f"the target no longer holds {len(wrong)} files of {entry.dataset} as delivered: {wrong[0]}")
        body = self.target.record(entry.dataset)
        if body is None or hashlib.sha256(body).hexdigest() != held.files.get(RECORD):
            raise Mismatch(f"the target holds no readable record of {entry.dataset}")
        known = {file.path: file.source_sha256 for file in Record.model_validate_json(body).files}
        for row in rows:
            fine = (
                row.state is FileState.VERIFIED
                and row.sha256 is not None
                and held.files.get(row.target) == row.sha256
                and row.source_sha256 is not None
                and known.get(row.target) == row.source_sha256
            )
            if not fine:
                raise Mismatch(f"{row.target} is not verified at the target: keeping its source")

    def _plan_file(self, entry: Entry, row: FileRow, earlier: dict[str, Release], now_ns: int) -> Release | None:
        source = Path(row.source)
        before = earlier.get(row.source)
        if before is not None and before.moved_ns is not None:
            return None
        if before is not None and not source.exists() and Path(before.kept).exists():
            # A crash came between the move and its note.
            if _sha256(Path(before.kept)) != before.sha256:
                raise SourceChanged(f"{before.kept} is not what was to be moved there")
            return before
        if self.outbox.is_in_use(row.source):
            raise Retryable(f"{source} is on its way in another acquisition")
        unchanged(row)
        if _open_elsewhere(source):
            raise Retryable(f"{source} is open in another program")
        if sha256_of(row) != row.source_sha256:
            raise SourceChanged(f"{source} is not what was delivered: keeping it")
        unchanged(row)
        kept = source.parent / self.grace_folder / entry.acquisition.id / source.name
        return Release(row.source, entry.acquisition.id, str(row.source_sha256), str(kept), now_ns)


def _rename(source: Path, kept: Path) -> None:
    """Within one disk, over nothing."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        if kept.exists():
            raise Retryable(f"{kept} is in the way: move it away")
        source.rename(kept)
    except FileNotFoundError as error:
        raise SourceChanged(f"{source} vanished while it was released") from error
    except PermissionError as error:
        raise Misconfigured(f"{source} may not be moved: check the rights of its folder ({error})") from error
    except OSError as error:
        raise Retryable(f"{source} cannot be moved to {kept} now: {error}") from error


def _open_elsewhere(path: Path) -> bool:
    try:
        return is_open_for_writing(path) is True
    except OSError as error:
        raise Retryable(f"{path} cannot be looked at now: {error}") from error


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Retryable(f"{path} cannot be read now: {error}") from error


def tidy(releases: list[Release]) -> Iterator[Path]:
    """Remove the grace folders that are empty now."""
    for folder in {Path(release.kept).parent for release in releases}:
        for level in (folder, folder.parent):
            try:
                level.rmdir()
            except OSError:
                break
            yield level
