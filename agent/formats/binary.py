"""Exact reads from a binary file: never more than is there, never past its end, never the size a header claims."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from agent.formats.port import Verdict, Wholeness
from agent.formats.tiff_layout import TroubleError

MAX_PIECE = 64 << 20
"""Headers and indexes above it are not believed."""


class Binary:
    """An open file and its size. Every read that the file cannot serve raises TroubleError."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size

    def read(self, at: int, length: int, what: str) -> bytes:
        """`length` bytes at `at`. TroubleError says growing when the file ends before, damaged when absurd."""
        if at < 0 or length < 0 or length > MAX_PIECE:
            raise TroubleError(Wholeness.DAMAGED, f"{what}: impossible place or size ({at}, {length})")
        self.inside(at, length, what)
        self.file.seek(at)
        raw = self.file.read(length)
        if len(raw) < length:
            raise TroubleError(Wholeness.GROWING, f"{what}: cut off by the end of the file")
        return raw

    def inside(self, at: int, length: int, what: str) -> None:
        """Raises TroubleError unless these bytes lie in the file."""
        if at + length > self.size:
            raise TroubleError(Wholeness.GROWING, f"{what}: behind the end of the file, {self.size} bytes are there")

    def unpack(self, form: str, at: int, what: str) -> tuple[Any, ...]:
        """Values of a struct format at `at`."""
        return struct.unpack(form, self.read(at, struct.calcsize(form), what))


@contextmanager
def opened(path: Path) -> Iterator[Binary]:
    """The file, for reading only."""
    with path.open("rb") as file:
        yield Binary(file)


def head(path: Path, length: int) -> bytes:
    """The first bytes of a file; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError:
        return b""


def growing(reason: str) -> Verdict:
    return Verdict(Wholeness.GROWING, reason)


def damaged(reason: str) -> Verdict:
    return Verdict(Wholeness.DAMAGED, reason)


def whole(reason: str) -> Verdict:
    return Verdict(Wholeness.WHOLE, reason)


def unknown(reason: str) -> Verdict:
    return Verdict(Wholeness.UNKNOWN, reason)
