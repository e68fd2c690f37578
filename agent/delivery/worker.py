"""Delivers one acquisition: its files, then the sealed record, then the manifest. Every step may be repeated."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent.contract import layout, manifest
from agent.contract.record import FileEntry
from agent.delivery.port import Held, Outgoing, Target
from agent.delivery.reading import BLOCK, Reading
from agent.errors import Mismatch, Retryable
from agent.outbox import Entry, FileRow, FileState, Outbox

Seal = Callable[[Entry, list[FileEntry]], dict[str, bytes]]
"""The documents that name the hashes of all files: `{path in the dataset: bytes}`."""


class Interrupted(Retryable):
    """The daemon is stopping; the next start resumes."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of a delivery."""

    files: int
    size: int
    """Bytes, annotation included."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Owned and called by one thread. `interrupted` is asked between blocks."""

    outbox: Outbox
    target: Target
    seal: Seal
    interrupted: Callable[[], bool]

    def deliver(self, entry: Entry) -> Delivered:
        """Deliver and verify; returns when the facility has committed every byte.

        Raises SourceChanged, Retryable or Rejected; Mismatch names what the facility holds differently.
        """
        dataset = entry.dataset
        if dataset is None:
            raise Retryable("the acquisition has no dataset path yet")
        for row in self.outbox.files(entry.acquisition.id):
            if row.state in (FileState.PENDING, FileState.CLAIMED):
                self._send(dataset, row)
        rows = self.outbox.files(entry.acquisition.id)
        sealed = self.seal(entry, [_entry(row) for row in rows])
        hashes = {row.target: _known(row.sha256) for row in rows}
        for path in sorted(sealed):
            hashes[path] = self._send_bytes(dataset, path, sealed[path])
        self._commit(dataset, rows, hashes)
        return Delivered(len(hashes), sum(row.delivered_size or 0 for row in rows) + sum(map(len, sealed.values())))

    def _send(self, dataset: str, row: FileRow) -> None:
        reading = Reading.of(row)
        outgoing = Outgoing(
            target=row.target,
            size=reading.size,
            blocks=lambda offset: self._guarded(reading, offset),
            upload=row.upload,
            on_upload=lambda upload: self.outbox.claim(row, upload),
        )
        held = self.target.send(dataset, outgoing)
        if not reading.complete:
            # Nothing was left to send; our own hash is still to be held against theirs.
            deque(self._guarded(reading, 0), maxlen=0)
        reading.check()
        if held != reading.delivered_sha256:
            self.outbox.reset(row)
            raise Retryable(f"{row.target} arrived with other bytes than were sent: sending it again")
        self.outbox.sent(row, held, reading.source_sha256, reading.size)

    def _guarded(self, reading: Reading, offset: int) -> Iterator[bytes]:
        for block in reading.blocks(offset):
            if self.interrupted():
                raise Interrupted("the daemon is stopping: the delivery resumes at its next start")
            yield block

    def _send_bytes(self, dataset: str, path: str, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        outgoing = Outgoing(path, len(content), lambda offset: _sliced(content, offset))
        if self.target.send(dataset, outgoing) != digest:
            raise Retryable(f"{path} arrived with other bytes than were sent: sending it again")
        return digest

    def _commit(self, dataset: str, rows: list[FileRow], hashes: dict[str, str]) -> Held:
        held = self.target.commit(dataset, manifest.render(hashes))
        wrong = {*held.missing, *held.different}
        if not wrong and all(held.files.get(path) == digest for path, digest in hashes.items()):
            return held
        again = [row for row in rows if row.target in wrong or held.files.get(row.target) != row.sha256]
        for row in again:
            self.outbox.reset(row)
        if again or wrong & {layout.RECORD, layout.CRATE}:
            raise Retryable(f"the facility misses {len(again) or len(wrong)} files or holds others: sending them again")
        raise Mismatch(f"the facility does not confirm the dataset {dataset}: it holds {len(held.files)} files")


def _sliced(content: bytes, offset: int) -> Iterator[bytes]:
    return (content[at : at + BLOCK] for at in range(offset, len(content), BLOCK))


def _known(digest: str | None) -> str:
    if digest is None:
        raise Retryable("a file has no hash yet: sending it again")
    return digest


def _entry(row: FileRow) -> FileEntry:
    return FileEntry(
        path=row.target,
        size=row.delivered_size or 0,
        sha256=_known(row.sha256),
        source_sha256=row.source_sha256 if row.role == "data" else None,
        role=row.role,
        annotated=row.role == "data" and row.sha256 != row.source_sha256,
    )
