"""A dataset as a zip, made while it is sent: no file of it, no more of it in memory than a block."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping

from agent.contract.layout import MANIFEST, check_member
from agent.errors import Damaged
from agent.facility.storage import Storage

_EARLIEST = 1980
_FILE = 0o644 << 16
"""A plain file: never a link, whatever lies in the store."""


class _Sink(io.RawIOBase):
    """Where the zip writes to; what was written is taken away again."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def zip_blocks(storage: Storage, dataset: str, hashes: Mapping[str, str]) -> Iterator[bytes]:
    """The bytes of the zip. Everything lies in one folder named like the dataset, below checked names only.

    Raises Damaged where a file is not what the manifest says: the zip then has no directory, and no tool opens it.
    """
    leaf = dataset.rpartition("/")[2]
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path in [*sorted(hashes), MANIFEST]:
            digest = hashlib.sha256()
            info = zipfile.ZipInfo(f"{leaf}/{check_member(path)}", _date(dataset))
            info.external_attr = _FILE
            with archive.open(info, "w", force_zip64=True) as target:
                for block in storage.open(dataset, path).blocks():
                    digest.update(block)
                    target.write(block)
                    yield sink.take()
            if path != MANIFEST and digest.hexdigest() != hashes[path]:
                raise Damaged(f"{path} is not what the manifest says")
    yield sink.take()


def _date(dataset: str) -> tuple[int, int, int, int, int, int]:
    """Of the acquisition, so that the same dataset makes the same zip."""
    year, month, day = (int(level) for level in dataset.split("/")[2:5])
    return (max(_EARLIEST, year), min(max(month, 1), 12), min(max(day, 1), 28), 0, 0, 0)
