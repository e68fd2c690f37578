"""The superblock of an HDF5 file: does it end where the file ends, and has its writer let go of it?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.formats import binary
from agent.formats.guarded import attempt
from agent.formats.port import Verdict, Wholeness
from agent.formats.tiff_layout import TroubleError

MAGIC = b"\x89HDF\r\n\x1a\n"
_UNDEFINED = (1 << 64) - 1


def is_hdf5(path: Path) -> bool:
    """True by its first bytes."""
    return binary.head(path, 8) == MAGIC


def begins(path: Path, suffix: str) -> bool:
    """A file with this suffix that is HDF5, or so far only the beginning of its magic bytes."""
    return path.suffix.lower() == suffix and path.is_file() and MAGIC.startswith(binary.head(path, 8))


def verdict(path: Path) -> Verdict:
    """Whole when the end of the file is where the superblock says; never raises for bad content."""
    try:
        with binary.opened(path) as file:
            return _superblock(file)
    except TroubleError as trouble:
        return trouble.verdict


def _superblock(file: binary.Binary) -> Verdict:
    if file.read(0, 8, "the header") != MAGIC:
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as an HDF5 file does")
    (version,) = file.unpack("<B", 8, "the superblock")
    if version in (0, 1):
        offsets, _ = file.unpack("<BB", 13, "the superblock")
        at = (24 if version == 0 else 28) + 2 * offsets
        flags = 0
    elif version in (2, 3):
        offsets, _, flags = file.unpack("<BBB", 9, "the superblock")
        at = 12 + 2 * offsets
    else:
        raise TroubleError(Wholeness.DAMAGED, f"HDF5 superblock version {version} is not known")
    if offsets not in (4, 8):
        raise TroubleError(Wholeness.DAMAGED, "the HDF5 superblock is damaged")
    (end,) = file.unpack("<Q" if offsets == 8 else "<I", at, "the superblock")
    # Bits 0 and 2: open for writing, and for single writer and many readers. Only version 3 means them.
    if version == 3 and flags & 5:
        return binary.growing("the HDF5 file is marked as open for writing")
    if end in (0, _UNDEFINED):
        return binary.growing("the HDF5 file is not closed yet")
    if file.size < end:
        return binary.growing(f"{end} bytes are announced, {file.size} are there")
    if file.size > end:
        return binary.unknown(f"{file.size - end} bytes follow behind the end that the HDF5 header announces")
    # A writer that flushes or closes in between, to go on later, leaves no mark.
    return binary.whole("the file ends where its HDF5 header says").without_end()


def counted(path: Path, count: Callable[[Any], int]) -> int | None:
    """What `count` finds in the open file; None where it is not whole, without h5py, and where it cannot be read."""
    if verdict(path).state is not Wholeness.WHOLE:
        return None

    def read() -> int:
        import h5py

        with h5py.File(path, "r", locking=False) as file:
            return count(file)

    return attempt(path, read)[0]
