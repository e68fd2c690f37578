"""One read of a source file serves hashing, annotating and sending; a change under the read is noticed.

Size, time and identity show most changes. A file that was rewritten in place with its times restored shows by its
change time (touch.py); then, and when a writer still holds it open, it is read a second time and compared.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.delivery.touch import Standing, standing, touched
from agent.document import annotate
from agent.errors import Retryable, SourceChanged
from agent.outbox import FileRow
from agent.sources.identity import Identity
from agent.sources.writers import is_open_for_writing, refuses_lease

BLOCK = 1 << 20
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
REPLACEMENT = "replacement-"
"""A description whose name begins so is delivered instead of the source, not put into it."""


@dataclass(slots=True)
class Reading:
    """Reads one file for one delivery. `blocks` may be called again: the hashes start anew."""

    row: FileRow
    before: Standing
    """What the file was before its first byte was read."""
    patch: annotate.Patch | None = None
    replacement: bytes | None = None
    """Delivered instead of the source: small JSON whose pixels lie in other files (root of an OME-Zarr)."""
    complete: bool = False
    """Every byte was read and hashed."""
    _source: hashlib._Hash = field(default_factory=hashlib.sha256)
    _delivered: hashlib._Hash = field(default_factory=hashlib.sha256)

    @classmethod
    def of(cls, row: FileRow) -> Reading:
        """Plan the reading; SourceChanged when the file is not the one that was queued."""
        reading = cls(row, unchanged(row))
        if row.description is not None and Path(row.description).name.startswith(REPLACEMENT):
            reading.replacement = _bytes_of(Path(row.description))
        elif row.description is not None:
            with _readable(row):
                reading.patch = annotate.plan(Path(row.source), _bytes_of(Path(row.description)))
        return reading

    @property
    def size(self) -> int:
        """Bytes to deliver."""
        if self.replacement is not None:
            return len(self.replacement)
        return annotate.delivered_size(self.row.size, self.patch)

    @property
    def source_sha256(self) -> str:
        """Hash of the bytes that were read, after the last block."""
        return self._source.hexdigest()

    @property
    def delivered_sha256(self) -> str:
        """Hash of the bytes that were handed out, after the last block."""
        return self._delivered.hexdigest()

    def blocks(self, offset: int) -> Iterator[bytes]:
        """Delivered bytes from `offset`; what lies before is read and hashed, but not handed out."""
        self._source = hashlib.sha256()
        # Hashing costs more than everything else together: what is sent as it is read is hashed once.
        as_it_is = self.patch is None and self.replacement is None
        self._delivered = self._source if as_it_is else hashlib.sha256()
        self.complete = False
        at = 0
        with _readable(self.row):
            for source, delivered in self._pairs():
                self._source.update(source)
                if not as_it_is:
                    self._delivered.update(delivered)
                at += len(delivered)
                if at > self.size:
                    raise SourceChanged(f"{self.row.source} grew while it was delivered")
                if at > offset:
                    begin = max(0, len(delivered) - (at - offset))
                    yield delivered[begin:] if begin else delivered
            if at < self.size:
                raise SourceChanged(f"{self.row.source} became shorter while it was delivered")
            self.complete = True

    def confirm(self) -> Standing:
        """After the last block: SourceChanged unless what was read is what the file is now, all of it."""
        after = unchanged(self.row)
        touched = after.touched_ns is None or after.touched_ns != self.before.touched_ns
        if touched or _has_writer(self.row):
            if sha256_of(self.row) != self.source_sha256:
                raise SourceChanged(f"{self.row.source} was rewritten while it was delivered")
            return unchanged(self.row)
        return after

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        if self.replacement is not None:
            return iter([(Path(self.row.source).read_bytes(), self.replacement)])
        if self.patch is None:
            return _plain(self.row.source)
        return annotate.blocks(Path(self.row.source), self.patch, BLOCK)


@dataclass(frozen=True, slots=True)
class Whole:
    """A small file: all of its bytes, which were its bytes before and after they were read."""

    body: bytes
    sha256: str
    touched_ns: int | None


def whole(row: FileRow) -> Whole:
    """Read a file at once. SourceChanged unless it is, before and after, the one that was queued."""
    before = _touched(row)
    try:
        body, written = _read_at_once(row)
    except FileNotFoundError as error:
        raise SourceChanged(f"{row.source} was deleted before it was delivered") from error
    except OSError as error:
        raise Retryable(f"{row.source} cannot be read now: {error}") from error
    after = _touched(row)
    digest = hashlib.sha256(body).hexdigest()
    if written or after is None or after != before:
        if sha256_of(row) != digest:
            raise SourceChanged(f"{row.source} was rewritten while it was delivered")
        after = _touched(row)
    return Whole(body, digest, after)


def _read_at_once(row: FileRow) -> tuple[bytes, bool]:
    """The bytes, and whether somebody is known to hold the file open for writing."""
    descriptor = os.open(row.source, _FLAGS)
    try:
        # One byte more than it should have: a file that grew shows.
        body = os.read(descriptor, row.size + 1)
        while len(body) < row.size and (more := os.read(descriptor, row.size + 1)):
            body += more
        written = refuses_lease(descriptor) if sys.platform == "linux" else _has_writer(row)
    finally:
        os.close(descriptor)
    if len(body) != row.size:
        raise SourceChanged(f"{row.source} has {len(body)} bytes or more, no longer {row.size}")
    return body, written is True


def _plain(source: str) -> Iterator[tuple[bytes, bytes]]:
    """To its end, whatever its size was when it was opened."""
    with open(source, "rb", buffering=0) as file:  # noqa: PTH123 - tens of thousands of small files
        while block := file.read(BLOCK):
            yield block, block


def unchanged(row: FileRow) -> Standing:
    """What the file is now; SourceChanged when size, time or identity are not those that were queued."""
    known = Identity(row.size, row.mtime_ns, row.file_id)
    found = standing(row.source)
    if found is None:
        raise SourceChanged(f"{row.source} was deleted before it was delivered")
    if found.identity != known:
        raise SourceChanged(f"{row.source} was changed after it was whole ({known} is now {found.identity})")
    return found


def _touched(row: FileRow) -> int | None:
    """`unchanged(row).touched_ns`."""
    try:
        return touched(row.source, row.size, row.mtime_ns, row.file_id)
    except LookupError:
        # Says what is different.
        return unchanged(row).touched_ns


def still(row: FileRow) -> None:
    """SourceChanged when a file that was sent is no longer what was sent; read again only when it was touched."""
    if _touched(row) != row.touched_ns and sha256_of(row) != row.source_sha256:
        raise SourceChanged(f"{row.source} was rewritten after it was sent")


def sha256_of(row: FileRow) -> str:
    """SHA-256 (hex) of the source as it is now. SourceChanged when it is gone."""
    with _readable(row), Path(row.source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _readable(row: FileRow) -> Iterator[None]:
    """Faults of the source's file system, as ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceChanged(f"{row.source} was deleted before it was delivered") from error
    except OSError as error:
        raise Retryable(f"{row.source} cannot be read now: {error}") from error


def _has_writer(row: FileRow) -> bool:
    """Known to be open for writing: a mapped page can change without any mark until it is written back."""
    with suppress(OSError):
        return is_open_for_writing(Path(row.source)) is True
    return False


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Retryable(f"{path} cannot be read now: {error}") from error
