"""The port behind which the bytes lie, so that another store can take the place of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
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


class Stored(Protocol):
    """A file of a committed dataset, to be read."""

    @property
    def size(self) -> int: ...

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Its bytes from `start` up to `end`, a megabyte or so at a time."""
        ...

    def all(self, limit: int = 1 << 28) -> bytes:
        """Its bytes at once. Raises Refusal for more than `limit`."""
        ...


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

    keeps_running_hash: bool
    """`receive` may be asked for `running`."""
    lends_in_place: bool
    """`lend` costs nothing, because the files lie on this machine."""

    def create(self, owner: str, dataset: str, path: str, length: int) -> Upload:
        """A new upload; complete at once for an empty file. Raises Conflict, NoSpace."""
        ...

    def upload(self, upload_id: str) -> Upload:
        """Where an upload stands, also after a restart. Raises Unknown."""
        ...

    def expires_ns(self, upload_id: str) -> int:
        """When an upload is removed if nothing happens to it (UTC ns)."""
        ...

    def receive(self, upload: Upload, *, running: bool = False) -> Reception:
        """Begin a chunk at the upload's offset. `running`: its checksum is that of all bytes from the start of the
        file; raises Forgotten when the hash of those before the chunk is not known.
        """
        ...

    def accept(self, reception: Reception, sha256: bytes) -> Upload:
        """The chunk is whole: check it, and stage the file with its last one. Raises Refusal, Conflict."""
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

    def open(self, dataset: str, path: str) -> Stored:
        """A file of a committed dataset, manifest included. Raises Unknown."""
        ...

    def lend(self, dataset: str, paths: Iterable[str]) -> AbstractContextManager[Path]:
        """A folder with these files of a committed dataset, for as long as the context lasts; not to be changed."""
        ...

    def note(self, name: str) -> bytes | None:
        """What the facility noted beside the datasets under a name; None where it noted nothing."""
        ...

    def keep_note(self, name: str, text: bytes) -> None:
        """Note something, over what was noted under the name."""
        ...

    def drop_note(self, name: str) -> None:
        """Forget a note; nothing happens where there is none."""
        ...

    def notes(self, folder: str) -> Iterator[str]:
        """Names of all notes below a folder of names."""
        ...

    def expire(self) -> int:
        """Remove what was abandoned; how many uploads and datasets."""
        ...

    def free_bytes(self) -> int: ...
