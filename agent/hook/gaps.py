"""What a journal says in place of frames whose details it does not hold."""

from __future__ import annotations

from typing import Any

from .lines import encode, run_of

TELL_NS = 10_000_000_000
"""How often a gap that goes on is written down: a killed process must not take all of it along."""


class Gap:
    """Entries left out, one after the other: how many, until when, and how many frames of which run."""

    lines: int
    first: int
    until: int
    size: int

    def __init__(self) -> None:
        self._clear()

    def __bool__(self) -> bool:
        return self.lines > 0

    def add(self, at_ns: int, data: bytes | tuple[Any, ...], size: int = 0) -> None:
        """Leave out a frame: its encoded content, or the call that would make it, the run first."""
        run: int = run_of(data) if isinstance(data, bytes) else data[1].id
        self.frames[run] = self.frames.get(run, 0) + 1
        self.skip(at_ns, size)

    def skip(self, at_ns: int, size: int = 0) -> None:
        """Leave out an entry that is not a frame's, of `size` bytes in the file."""
        self.first = self.first or at_ns
        self.lines, self.until, self.size = self.lines + 1, at_ns, self.size + size

    def due(self, at_ns: int) -> bool:
        """Whether the gap is to be written now, though it goes on."""
        return at_ns - self.first > TELL_NS

    def take(self) -> bytes:
        """The content of the gap's line; what follows is a new gap. `bytes` is what it stands for in the file."""
        said = {"lines": self.lines, "frames": self.frames, "until": self.until, "bytes": self.size}
        self._clear()
        return encode(said)

    def _clear(self) -> None:
        self.lines = self.first = self.until = self.size = 0
        self.frames: dict[int, int] = {}
