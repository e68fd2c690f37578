"""One read of a source file serves hashing, annotating and sending; a change under the read is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent.document import annotate
from agent.errors import Retryable, SourceChanged
from agent.outbox import FileRow
from agent.sources.identity import Identity, identity

BLOCK = 1 << 20
REPLACEMENT = "replacement-"
"""A description whose name begins so is delivered instead of the source, not put into it."""


@dataclass(slots=True)
class Reading:
    """Reads one file for one delivery. `blocks` may be called again: the hashes start anew."""

    row: FileRow
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
        reading = cls(row)
        reading.check()
        if row.description is not None and Path(row.description).name.startswith(REPLACEMENT):
            reading.replacement = _bytes_of(Path(row.description))
        elif row.description is not None:
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
        self._source, self._delivered = hashlib.sha256(), hashlib.sha256()
        self.complete = False
        at = 0
        try:
            for source, delivered in self._pairs():
                self._source.update(source)
                self._delivered.update(delivered)
                at += len(delivered)
                if at > self.size:
                    raise SourceChanged(f"{self.row.source} grew while it was delivered")
                if at > offset:
                    yield delivered[max(0, len(delivered) - (at - offset)) :]
            if at < self.size:
                raise SourceChanged(f"{self.row.source} became shorter while it was delivered")
            self.complete = True
        except FileNotFoundError as error:
            raise SourceChanged(f"{self.row.source} was deleted before it was delivered") from error
        except OSError as error:
            raise Retryable(f"{self.row.source} cannot be read now: {error}") from error

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        if self.replacement is not None:
            return iter([(Path(self.row.source).read_bytes(), self.replacement)])
        return annotate.blocks(Path(self.row.source), self.patch, BLOCK)

    def check(self) -> None:
        """SourceChanged when size, time or identity of the file are not those that were queued."""
        known = Identity(self.row.size, self.row.mtime_ns, self.row.file_id)
        found = identity(Path(self.row.source))
        if found is None:
            raise SourceChanged(f"{self.row.source} was deleted before it was delivered")
        if found != known:
            raise SourceChanged(f"{self.row.source} was changed after it was whole ({known} is now {found})")


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Retryable(f"{path} cannot be read now: {error}") from error
