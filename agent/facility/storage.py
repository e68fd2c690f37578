"""The port behind which the bytes lie, so that another store can take the place of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from agent.contract.upload import CommitAnswer


class Upload(BaseModel):
    """One file on its way: `offset` bytes of `length` have arrived and were checked; `sha256` once it is whole."""

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str
    dataset: str
    path: str
    length: int
    offset: int = 0
    sha256: str | None = None

    @property
    def left(self) -> int:
        return self.length - self.offset


class Reception(Protocol):
    """A chunk that is arriving. Its bytes count only once `Storage.accept` found the checksum right."""

    def write(self, block: bytes) -> None:
        """Append bytes; raises NoSpace."""
        ...

    def discard(self) -> None:
        """Forget the chunk; safe to call again, and after `accept`."""
        ...


class Storage(Protocol):
    """Uploads, and the datasets they become. Every call may block; all are safe from several threads."""

    def create(self, owner: str, dataset: str, path: str, length: int) -> Upload:
        """A new upload; complete at once for an empty file. Raises Conflict, NoSpace."""
        ...

    def upload(self, upload_id: str) -> Upload:
        """Where an upload stands, also after a restart. Raises Unknown."""
        ...

    def expires_ns(self, upload_id: str) -> int:
        """When an upload is removed if nothing happens to it (UTC ns)."""
        ...

    def receive(self, upload: Upload) -> Reception:
        """Begin a chunk at the upload's offset."""
        ...

    def accept(self, reception: Reception, sha256: bytes) -> Upload:
        """The chunk is whole: check it, and stage the file with its last one. Raises WrongChecksum, Conflict."""
        ...

    def remove(self, upload_id: str) -> None:
        """End an upload and forget its bytes."""
        ...

    def commit(self, dataset: str, manifest: bytes) -> CommitAnswer:
        """Make a dataset visible if it is what the manifest says; the same manifest again changes nothing."""
        ...

    def verify(self, dataset: str) -> CommitAnswer:
        """Hash what is stored now. Raises Unknown."""
        ...

    def is_committed(self, dataset: str) -> bool: ...

    def datasets(self) -> Iterator[str]:
        """Every committed dataset, in no order."""
        ...

    def manifest(self, dataset: str) -> dict[str, str]:
        """`{path: sha256}` of a committed dataset. Raises Unknown, Damaged."""
        ...

    def file(self, dataset: str, path: str) -> Path:
        """A committed file, as a local path to read. Raises Unknown."""
        ...

    def expire(self) -> int:
        """Remove what was abandoned; how many uploads and datasets."""
        ...

    def free_bytes(self) -> int: ...
