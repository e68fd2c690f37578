"""What a simulated writer is, and the TIFF files that most of them make.

A writer is a list of operations; `sure` says that the files themselves tell when it is over, so that it may
pause as long as it likes without a handle that shows.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import Any

SIDE = 24
_TEXTS = (".xml", ".json", ".mdoc", ".hdr")


@dataclass(frozen=True)
class Op:
    """Append `data` to a file, or put it at `at`, then give it `size` bytes; without either it closes the file."""

    name: str
    data: bytes = b""
    at: int | None = None
    size: int | None = None

    @property
    def closes(self) -> bool:
        return not self.data and self.size is None


@dataclass
class Run:
    """What one acquisition writes."""

    format: str
    ops: list[Op] = field(default_factory=list)
    sure: bool = True

    def append(self, name: str, data: bytes, dice: random.Random) -> None:
        """In pieces of random size, as a buffer empties itself; a text is smaller than its buffer."""
        if name.endswith(_TEXTS):
            self.say(name, data)
        else:
            self.flow(name, data, dice)

    def say(self, name: str, data: bytes) -> None:
        """In one piece."""
        self.ops.append(Op(name, data))

    def flow(self, name: str, data: bytes, dice: random.Random) -> None:
        """In pieces of random size."""
        while data:
            cut = dice.randint(1, max(1, min(len(data), 900)))
            self.ops.append(Op(name, data[:cut]))
            data = data[cut:]

    def patch(self, name: str, at: int, data: bytes) -> None:
        self.ops.append(Op(name, data, at))

    def resize(self, name: str, size: int) -> None:
        """Some programs take the space ahead and cut the file in the end."""
        self.ops.append(Op(name, size=size))

    def close(self, name: str) -> None:
        self.ops.append(Op(name))


def tags(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    body = b"".join(struct.pack("<HHII", *one) for one in sorted(entries))
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def page(description: int, length: int, data: int, extra: list[tuple[int, int, int, int]] = []) -> list[Any]:  # noqa: B006
    """Tags of a gray image of `SIDE` x `SIDE` bytes."""
    return [
        (256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (270, 2, length, description), (273, 4, 1, data), (277, 3, 1, 1), (278, 4, 1, SIDE), (279, 4, 1, SIDE * SIDE),
        *extra,
    ]  # fmt: skip


def noise(dice: random.Random, count: int = 1) -> bytes:
    return dice.randbytes(SIDE * SIDE * count)


def tiff(
    dice: random.Random, text: bytes, private: tuple[int, int, bytes] | None, index_first: bool
) -> list[tuple[int | None, bytes]]:
    """Pieces of a TIFF of one page as (place or None for append, bytes)."""
    text = text.ljust(8, b" ") + b"\0"
    block = private[2] if private else b""
    pixels = noise(dice)
    entries = 10 + bool(private)
    size = 2 + entries * 12 + 4
    if index_first:
        at_text = 8 + size
        at_block, at_pixels = at_text + len(text), at_text + len(text) + len(block)
        extra = [(private[0], private[1], len(block), at_block)] if private else []
        head = b"II*\0" + struct.pack("<I", 8) + tags(page(at_text, len(text), at_pixels, extra))
        return [(None, head + text + block), (None, pixels)]
    at_text, at_block = 8 + len(pixels), 8 + len(pixels) + len(text)
    at_tags = at_block + len(block)
    extra = [(private[0], private[1], len(block), at_block)] if private else []
    index = tags(page(at_text, len(text), 8, extra))
    return [(None, b"II*\0\0\0\0\0" + pixels), (None, text + block + index), (4, struct.pack("<I", at_tags))]


def put(run: Run, name: str, pieces: list[tuple[int | None, bytes]], dice: random.Random) -> None:
    for at, data in pieces:
        if at is None:
            run.flow(name, data, dice)
        else:
            run.patch(name, at, data)
    run.close(name)


_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
Value = tuple[int, int, bytes]
"""Tag, type and bytes."""


def one_page(at: int, values: list[Value], pixels: bytes, following: int = 0) -> tuple[bytes, int]:
    """An IFD at this place with its values and pixels behind it, and where its link to the next one lies."""
    said = [(256, 4, struct.pack("<I", SIDE)), (257, 4, struct.pack("<I", SIDE)), (258, 3, b"\x08\0"),
            (259, 3, b"\1\0"), (262, 3, b"\1\0"), (277, 3, b"\1\0"), (278, 4, struct.pack("<I", SIDE)),
            (279, 4, struct.pack("<I", SIDE * SIDE)), *values]  # fmt: skip
    size = 2 + (len(said) + 1) * 12 + 4
    behind, entries = b"", []
    for code, kind, raw in said:
        place = int.from_bytes(raw.ljust(4, b"\0"), "little") if len(raw) <= 4 else at + size + len(behind)
        behind += raw if len(raw) > 4 else b""
        entries.append((code, kind, len(raw) // _SIZES[kind], place))
    entries.append((273, 4, 1, at + size + len(behind)))
    return tags(entries, following) + behind + pixels, at + size - 4


def chain(run: Run, name: str, pages: list[list[Value]], dice: random.Random, close: bool = True) -> int:
    """A TIFF whose pages are linked when they are written; gives its size."""
    run.append(name, b"II*\0\0\0\0\0", dice)
    at, link = 8, 4
    for values in pages:
        piece, its_link = one_page(at, values, noise(dice))
        run.append(name, piece, dice)
        run.patch(name, link, struct.pack("<I", at))
        at, link = at + len(piece), its_link
    if close:
        run.close(name)
    return at
