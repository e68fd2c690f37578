"""Delivers one acquisition: its files, then the sealed record, then the manifest. Every step may be repeated."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from pydantic import ValidationError

from agent.contract import layout, manifest
from agent.contract.record import FileEntry, Record
from agent.delivery.pace import Pace
from agent.delivery.port import Held, Outgoing, Target
from agent.delivery.reading import BLOCK, Reading, sha256_of, still, unchanged
from agent.errors import Mismatch, Retryable
from agent.outbox import Entry, FileRow, Outbox, Sent

Seal = Callable[[Entry, list[FileEntry]], dict[str, bytes]]
"""The documents that name the hashes of all files: `{path in the dataset: bytes}`."""

SMALL = 16 << 20
"""Files up to this size are sent several at a time; larger ones alone, read ahead while they are sent."""
_IN_FLIGHT = 64 << 20
"""Bytes of small files that are held at the same time, however many go out in parallel."""
_PAGE = 2000


class Interrupted(Retryable):
    """The daemon is stopping, or something more urgent came: the next call resumes."""


class Differs(Retryable):
    """The far side tells another hash than that of what we have."""


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
    parallel: int = 1
    pace: Pace | None = None
    """How fast it may go; as fast as it can without one."""

    def deliver(self, entry: Entry) -> Delivered:
        """Deliver and verify; returns when the facility has committed every byte.

        Raises SourceChanged, Retryable or Rejected; Mismatch names what the facility holds differently.
        """
        dataset = _dataset(entry)
        try:
            return self._deliver(entry, dataset)
        except (Differs, Mismatch):
            earlier = self._delivered_before(entry, dataset)
            if earlier is None:
                raise
            return earlier

    def _deliver(self, entry: Entry, dataset: str) -> Delivered:
        self._send_left(entry, dataset, data=True)
        rows = self.outbox.files(entry.acquisition.id)
        sealed = self.seal(entry, [_entry(row) for row in rows])
        hashes = {row.target: _known(row.sha256) for row in rows}
        for path in sorted(sealed):
            hashes[path] = self._send_bytes(dataset, path, sealed[path])
        for row in rows:
            # What was sent an hour ago may have been rewritten since.
            still(row)
        self._commit(dataset, rows, hashes)
        return Delivered(len(hashes), sum(row.delivered_size or 0 for row in rows) + sum(map(len, sealed.values())))

    def send_metadata(self, entry: Entry) -> None:
        """Send what is known about the acquisition before its images."""
        self._send_left(entry, _dataset(entry), data=False)

    def _send_left(self, entry: Entry, dataset: str, *, data: bool) -> None:
        """Page by page: what was sent leaves the list, so memory does not grow with the dataset."""
        while rows := self.outbox.files_left(entry.acquisition.id, _PAGE, data=data):
            small = [row for row in rows if row.size <= SMALL]
            if small:
                self._send_small(dataset, small)
            else:
                self.outbox.sent([self._send(dataset, rows[0])])

    def _send_small(self, dataset: str, rows: list[FileRow]) -> None:
        """Several at a time; those that arrived are written down together, also when one failed."""
        if self.parallel == 1 or len(rows) == 1:
            for row in rows:
                self.outbox.sent([self._send(dataset, row)])
            return
        budget = _Budget(_IN_FLIGHT)

        def send(row: FileRow) -> Sent:
            with budget.spent(row.size):
                return self._send(dataset, row)

        with ThreadPoolExecutor(self.parallel, "scope-agent-send") as pool:
            failed = _gather([pool.submit(send, row) for row in rows], self.outbox)
        if failed is not None:
            raise failed

    def _send(self, dataset: str, row: FileRow) -> Sent:
        reading = Reading.of(row)
        outgoing = Outgoing(
            target=row.target,
            size=reading.size,
            blocks=lambda offset: self._guarded(reading, offset),
            upload=row.upload,
            on_upload=lambda upload: self.outbox.claim(row, upload),
            digest=lambda: reading.delivered_sha256,
        )
        held = self.target.send(dataset, outgoing)
        if not reading.complete:
            # Nothing was left to send; our own hash is still to be held against theirs.
            deque(self._guarded(reading, 0), maxlen=0)
        confirmed = reading.confirm()
        if held != reading.delivered_sha256:
            self.outbox.reset(row)
            raise Differs(f"{row.target} arrived with other bytes than were sent: sending it again")
        return Sent(row, held, reading.source_sha256, reading.size, confirmed.touched_ns)

    def _delivered_before(self, entry: Entry, dataset: str) -> Delivered | None:
        """The dataset exists and was made of these very sources: our state was lost and rebuilt since.

        Its documents may differ (they say when they were written); every source file must have the hash recorded.
        """
        body = self.target.record(dataset)
        if body is None:
            return None
        try:
            record = Record.model_validate_json(body)
        except ValidationError:
            return None
        known = {file.path: file for file in record.files}
        rows = self.outbox.files(entry.acquisition.id)
        sent = []
        for row in rows:
            there = known.get(row.target)
            if there is None or (row.role == "data" and sha256_of(row) != there.source_sha256):
                return None
            source = there.source_sha256 or there.sha256
            sent.append(Sent(row, there.sha256, source, there.size, unchanged(row).touched_ns))
        self.outbox.sent(sent)
        return Delivered(len(known) + len((layout.RECORD, layout.CRATE)), sum(file.size for file in record.files))

    def _guarded(self, reading: Reading, offset: int) -> Iterator[bytes]:
        for block in reading.blocks(offset):
            if self.pace is not None:
                self.pace.spend(len(block), self.interrupted)
            if self.interrupted():
                raise Interrupted("the delivery was interrupted and resumes soon")
            yield block

    def _send_bytes(self, dataset: str, path: str, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        outgoing = Outgoing(path, len(content), lambda offset: _sliced(content, offset), digest=lambda: digest)
        if self.target.send(dataset, outgoing) != digest:
            raise Differs(f"{path} arrived with other bytes than were sent: sending it again")
        return digest

    def _commit(self, dataset: str, rows: list[FileRow], hashes: dict[str, str]) -> Held:
        held = self.target.commit(dataset, manifest.render(hashes))
        wrong = {*held.missing, *held.different}
        if not wrong and all(held.files.get(path) == digest for path, digest in hashes.items()):
            return held
        again = [row for row in rows if row.target in wrong or held.files.get(row.target) != row.sha256]
        for row in again:
            self.outbox.reset(row)
        if again or wrong & {layout.RECORD, layout.CRATE, layout.PREVIEW}:
            raise Retryable(f"the facility misses {len(again) or len(wrong)} files or holds others: sending them again")
        raise Mismatch(f"the facility does not confirm the dataset {dataset}: it holds {len(held.files)} files")


class _Budget:
    """Bytes that may be held at a time; one file may always be."""

    def __init__(self, most: int) -> None:
        self._left = self._most = most
        self._changed = threading.Condition()

    def spent(self, size: int) -> _Spent:
        return _Spent(self, min(size, self._most))

    def take(self, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._left >= size)
            self._left -= size

    def give(self, size: int) -> None:
        with self._changed:
            self._left += size
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Spent:
    budget: _Budget
    size: int

    def __enter__(self) -> None:
        self.budget.take(self.size)

    def __exit__(self, *_: object) -> None:
        self.budget.give(self.size)


def _gather(sending: list[Future[Sent]], outbox: Outbox) -> Exception | None:
    """Write down what arrived, a few hundred in one transaction; the first failure, which stops what has not begun."""
    left = set(sending)
    failed: Exception | None = None
    while left:
        done, left = wait(left, timeout=0.2, return_when=FIRST_COMPLETED if failed else "ALL_COMPLETED")
        arrived = []
        for future in done:
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                arrived.append(future.result())
            elif isinstance(error, Exception):
                failed = failed or error
        if arrived:
            outbox.sent(arrived)
        if failed:
            for future in left:
                future.cancel()
    return failed


def _dataset(entry: Entry) -> str:
    if entry.dataset is None:
        raise Retryable("the acquisition has no dataset path yet")
    return entry.dataset


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
