"""Large files in a folder: brought to the disk and read back, some megabytes at a time, while the next are written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from agent.delivery.disk import forget, to_disk
from agent.errors import Retryable

WINDOW = 32 << 20
"""So many bytes are written, brought to the disk, read back and compared, while the next are written."""
_BLOCK = 1 << 20


class Window:
    """The last bytes that were written: when they are many, they go to the disk and are read back in a thread."""

    def __init__(self, out: BinaryIO, path: Path, pool: ThreadPoolExecutor | None) -> None:
        self._out, self._path, self._pool = out, path, pool
        self._blocks: list[bytes] = []
        self._size = 0
        self._last: Future[None] | None = None
        self.at = 0
        """Bytes written so far."""

    def add(self, block: bytes) -> None:
        self.at += len(block)
        if self._pool is None:
            return
        self._blocks.append(block)
        self._size += len(block)
        if self._size >= WINDOW:
            self._flush(self._pool)

    def finish(self) -> None:
        """The last bytes too; raises Retryable when any are not there as they were written."""
        self._wait()
        self._settle(self.at - self._size, self._blocks)

    def _flush(self, pool: ThreadPoolExecutor) -> None:
        self._wait()
        self._last = pool.submit(self._settle, self.at - self._size, self._blocks)
        self._blocks, self._size = [], 0

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def _settle(self, at: int, blocks: list[bytes]) -> None:
        """Bring what was written to the disk; Retryable unless the file then holds these bytes from `at` on."""
        to_disk(self._out)
        with self._path.open("rb", buffering=0) as file:
            file.seek(at)
            buffer = memoryview(bytearray(_BLOCK))
            same = all(_follows(file, block, buffer) for block in blocks)
            forget(file.fileno())
            if not same:
                raise Retryable(f"{self._path} holds other bytes than were written: writing it again")


@contextmanager
def written(out: BinaryIO, path: Path, *, look_back: bool) -> Iterator[Window]:
    """A window whose bytes are on the disk, and as they should be, when the block ends without an error."""
    if not look_back:
        window = Window(out, path, None)
        yield window
        window.finish()
        return
    with ThreadPoolExecutor(1, "scope-agent-read-back") as pool:
        window = Window(out, path, pool)
        yield window
        window.finish()


def _follows(file: FileIO, block: bytes, buffer: memoryview) -> bool:
    """The next bytes of the file are those of `block`."""
    at = 0
    while at < len(block):
        got = file.readinto(buffer[: len(block) - at])
        # Comparing views would look at every byte by itself.
        if not got or not block.startswith(buffer[:got], at):
            return False
        at += got
    return True
