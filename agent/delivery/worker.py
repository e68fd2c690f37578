"""Delivers one acquisition: its files, then the sealed record, then the manifest. Every step may be repeated."""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from agent.contract import layout, manifest
from agent.contract.record import FileEntry, Record
from agent.delivery.batch import TINY, send_all, send_together
from agent.delivery.pace import Pace
from agent.delivery.port import Begins, Held, Outgoing, SmallFile, TakesMany, Target
from agent.delivery.reading import BLOCK, Reading, Whole, sha256_of, still, unchanged, whole
from agent.errors import Mismatch, Retryable
from agent.memory import give_back
from agent.outbox import Entry, FileRow, Outbox, Sent

Seal = Callable[[Entry, Iterable[FileEntry]], Mapping[str, Path]]
"""Writes the documents that name the hashes of all files: `{path in the dataset: where it is}`."""

SMALL = 16 << 20
"""Files up to this size are sent several at a time; larger ones alone, read ahead while they are sent."""
_PAGE = 2000
_SET = set(FileEntry.model_fields)
"""Shared by all entries: a set for each would be most of their memory."""


class Interrupted(Retryable):
    """The daemon is stopping, or something more urgent came: the next call resumes."""


class Superseded(Exception):
    """The target has committed this very acquisition, with other bytes than its files have now."""

    def __init__(self, record: Record) -> None:
        super().__init__("the files were written again after they had been committed")
        self.record = record
        """Of what was committed."""


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
            record = self._recorded(dataset)
            if record is None:
                raise
            earlier = self._delivered_before(entry, record)
            if earlier is not None:
                return earlier
            if record.id == entry.acquisition.id:
                raise Superseded(record) from None
            raise

    def _deliver(self, entry: Entry, dataset: str) -> Delivered:
        self._send_left(entry, dataset, data=True)
        sealed = self.seal(entry, _Entries(self.outbox, entry.acquisition.id))
        own = {path: self._send_sealed(dataset, path, sealed[path]) for path in sorted(sealed)}
        count, size = len(own), sum(path.stat().st_size for path in sealed.values())

        def hashes() -> Iterator[tuple[str, str]]:
            nonlocal count, size
            for row in self.outbox.each_file(entry.acquisition.id):
                # What was sent an hour ago may have been rewritten since.
                still(row)
                count, size = count + 1, size + (row.delivered_size or 0)
                yield row.target, _known(row.sha256)

        listed = manifest.listed(heapq.merge(hashes(), own.items()))
        give_back(count)
        self._commit(entry, dataset, listed)
        return Delivered(count, size)

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
                self.outbox.sent([self._send_blocks(dataset, rows[0])])

    def _send_small(self, dataset: str, rows: list[FileRow]) -> None:
        """Several at a time; those that arrived are written down together, also when one failed."""
        target = self.target
        most = min(target.at_once, SMALL)
        overlapping = isinstance(target, Begins)
        if isinstance(target, TakesMany):
            taking = target
            tiny = [row for row in rows if row.size <= TINY and _goes_whole(row)]
            send_together(tiny, lambda some: self._take(taking, dataset, some), self.outbox.sent, self.parallel)
            rows = [row for row in rows if row.size > TINY or not _goes_whole(row)]

        def begin(row: FileRow) -> Callable[[], Sent]:
            if row.size > most or not _goes_whole(row):
                sent = self._send_blocks(dataset, row)
            elif isinstance(target, Begins) and row.size <= TINY:
                return self._begin(target, dataset, row)
            else:
                sent = self._send_whole(dataset, row, whole(row))
            return lambda: sent

        send_all(rows, begin, self.outbox.sent, self.parallel, overlapping=overlapping)

    def _take(self, target: TakesMany, dataset: str, rows: list[FileRow]) -> list[Sent]:
        """Read some and send them together."""
        read = [whole(row) for row in rows]
        self._may_go(sum(row.size for row in rows))
        files = [SmallFile(row.target, one.body, one.sha256) for row, one in zip(rows, read, strict=True)]
        if not target.take(dataset, files):
            return [self._send_whole(dataset, row, one) for row, one in zip(rows, read, strict=True)]
        return [
            Sent(row, one.sha256, one.sha256, row.size, one.touched_ns) for row, one in zip(rows, read, strict=True)
        ]

    def _begin(self, target: Begins, dataset: str, row: FileRow) -> Callable[[], Sent]:
        """Read it and send it; what is returned waits for the answer."""
        read = whole(row)
        self._may_go(row.size)
        holds = target.begin(dataset, row.target, read.body, read.sha256)

        def end() -> Sent:
            if not holds():
                return self._send_whole(dataset, row, read)
            return Sent(row, read.sha256, read.sha256, row.size, read.touched_ns)

        return end

    def _send_whole(self, dataset: str, row: FileRow, read: Whole) -> Sent:
        """What is small enough is read at once, and known to be what the file is before the first byte goes out."""

        def blocks(offset: int) -> Iterator[bytes]:
            self._may_go(row.size - offset)
            return iter((read.body[offset:] if offset else read.body,))

        outgoing = Outgoing(
            target=row.target,
            size=row.size,
            blocks=blocks,
            on_upload=lambda upload: self.outbox.claim(row, upload),
            digest=lambda: read.sha256,
        )
        if self.target.send(dataset, outgoing) != read.sha256:
            raise self._differs(row)
        return Sent(row, read.sha256, read.sha256, row.size, read.touched_ns)

    def _send_blocks(self, dataset: str, row: FileRow) -> Sent:
        reading = Reading.of(row)
        outgoing = Outgoing(
            target=row.target,
            size=reading.size,
            blocks=lambda offset: self._guarded(reading, offset),
            upload=row.upload,
            on_upload=lambda upload: self.outbox.claim(row, upload),
            digest=lambda: reading.delivered_sha256,
            so_far=lambda: reading.delivered_sha256,
        )
        held = self.target.send(dataset, outgoing)
        if not reading.complete:
            # Nothing was left to send; our own hash is still to be held against theirs.
            deque(self._guarded(reading, 0), maxlen=0)
        confirmed = reading.confirm()
        if held != reading.delivered_sha256:
            raise self._differs(row)
        return Sent(row, held, reading.source_sha256, reading.size, confirmed.touched_ns)

    def _recorded(self, dataset: str) -> Record | None:
        """What a committed dataset says of itself; None while there is none that can be read."""
        body = self.target.record(dataset)
        try:
            return Record.model_validate_json(body) if body is not None else None
        except ValidationError:
            return None

    def _delivered_before(self, entry: Entry, record: Record) -> Delivered | None:
        """The dataset exists and was made of these very sources: our state was lost and rebuilt since.

        Its documents may differ (they say when they were written); every source file must have the hash recorded.
        """
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
            self._may_go(len(block))
            yield block

    def _may_go(self, size: int) -> None:
        """Wait until so many bytes may go."""
        if self.pace is not None:
            self.pace.spend(size, self.interrupted)
        if self.interrupted():
            raise Interrupted("the delivery was interrupted and resumes soon")

    def _differs(self, row: FileRow) -> Differs:
        self.outbox.reset(row)
        return Differs(f"{row.target} arrived with other bytes than were sent: sending it again")

    def _send_sealed(self, dataset: str, path: str, content: Path) -> str:
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = content.stat().st_size
        outgoing = Outgoing(path, size, lambda offset: _read(content, offset), digest=lambda: digest)
        if self.target.send(dataset, outgoing) != digest:
            raise Differs(f"{path} arrived with other bytes than were sent: sending it again")
        return digest

    def _commit(self, entry: Entry, dataset: str, listed: bytes) -> Held:
        held = self.target.commit(dataset, listed)
        wrong = {*held.missing, *held.different}
        if not wrong and _holds(held, listed):
            return held
        rows = self.outbox.files(entry.acquisition.id)
        again = [row for row in rows if row.target in wrong or held.files.get(row.target) != row.sha256]
        for row in again:
            self.outbox.reset(row)
        if again or wrong & {layout.RECORD, layout.CRATE, layout.PREVIEW}:
            raise Retryable(f"the facility misses {len(again) or len(wrong)} files or holds others: sending them again")
        raise Mismatch(f"the facility does not confirm the dataset {dataset}: it holds {len(held.files)} files")


def _dataset(entry: Entry) -> str:
    if entry.dataset is None:
        raise Retryable("the acquisition has no dataset path yet")
    return entry.dataset


def _goes_whole(row: FileRow) -> bool:
    """As it is, and nothing of it has gone before."""
    return row.description is None and row.upload is None


def _read(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while block := file.read(BLOCK):
            yield block


def _holds(held: Held, listed: bytes) -> bool:
    """The far side holds what the manifest lists."""
    return all(held.files.get(path) == digest for path, digest in manifest.pairs(listed))


@dataclass(frozen=True, slots=True)
class _Entries:
    """What was sent of an acquisition, by path: read anew, some at a time, whenever it is gone through."""

    outbox: Outbox
    acquisition_id: str

    def __iter__(self) -> Iterator[FileEntry]:
        return map(_entry, self.outbox.each_file(self.acquisition_id))


def _known(digest: str | None) -> str:
    if digest is None:
        raise Retryable("a file has no hash yet: sending it again")
    return digest


def _entry(row: FileRow) -> FileEntry:
    """Not validated: it comes from our own outbox, and there may be a hundred thousand."""
    return FileEntry.model_construct(
        _SET,
        path=row.target,
        size=row.delivered_size or 0,
        sha256=_known(row.sha256),
        source_sha256=row.source_sha256 if row.role == "data" else None,
        role=row.role,
        annotated=row.role == "data" and row.sha256 != row.source_sha256,
    )
