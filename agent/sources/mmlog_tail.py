"""Follows one log file across its rotation (`x.log` becomes `x.log.1`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CHUNK = 1 << 20


class LogTail:
    """A log and how far it was read: `position` in the file whose identity is `file_id`."""

    def __init__(self, path: Path, position: int = 0, file_id: str = "") -> None:
        self.path = path
        self.position = position
        self.file_id = file_id

    def at_end(self) -> None:
        """Begin with what is written from now on."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return
        self.file_id, self.position = _identity(status), status.st_size

    def read(self) -> Iterator[tuple[str, int, bytes]]:
        """(file identity, offset, line) of every new whole line, about `CHUNK` of them. Raises OSError."""
        current = _identity(self.path.stat())
        if self.file_id and current != self.file_id:
            yield from self._rest()
        if current != self.file_id or self.path.stat().st_size < self.position:
            self.file_id, self.position = current, 0
        yield from self._lines(self.path)

    def _rest(self) -> Iterator[tuple[str, int, bytes]]:
        """What was written to the file after it was read last, and to those that came between."""
        rotated = _rotated(self.path)
        numbers = [number for number, path in rotated.items() if _identity(path.stat()) == self.file_id]
        if not numbers:
            return  # so old that it was removed
        for number in range(numbers[0], 0, -1):
            if number in rotated:
                if number != numbers[0]:
                    self.file_id, self.position = _identity(rotated[number].stat()), 0
                while lines := list(self._lines(rotated[number])):
                    yield from lines

    def _lines(self, path: Path) -> Iterator[tuple[str, int, bytes]]:
        with path.open("rb") as file:
            file.seek(self.position)
            data = file.read(CHUNK)
        for raw in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            start, self.position = self.position, self.position + len(raw)
            yield self.file_id, start, raw


def _rotated(path: Path) -> dict[int, Path]:
    """Older files of a log by their number; 1 is the youngest."""
    found = {}
    for other in path.parent.glob(f"{path.name}.*"):
        number = other.name.removeprefix(f"{path.name}.")
        if number.isdecimal():
            found[int(number)] = other
    return found


def _identity(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"
