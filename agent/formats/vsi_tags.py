"""The tree of numbered tags in an Olympus .vsi file, behind its TIFF header; nothing is believed beyond the file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.formats.binary import Binary

IMAGE, FRAME, EXTERNAL, DIMENSION = 2001, 2002, 2018, 2007
_DEPTH, _MAX_TAGS = 24, 200_000
_VALUE_BYTES = 4096
_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "q", 8: "Q", 9: "f", 10: "d", 12: "B", 17: "d"}
_VECTORS = {256: "2i", 257: "3i", 258: "4i", 259: "4i", 260: "2d", 261: "3d", 262: "4d"}
_UTF16 = 8192
_TEXT = (13, _UTF16)
_START = 8
_MARK = (24, 0x5349)
"""What each container begins with. In .vsi files some lead to others without; nothing is concluded from those."""


@dataclass(slots=True)
class Node:
    """A tag with its value or its children; `second` numbers the dimension or the part it belongs to."""

    tag: int
    second: int | None = None
    value: object = None
    children: list[Node] = field(default_factory=list)

    def find(self, *tags: int) -> Iterator[Node]:
        """Every node below with one of these tags, in the order of the file."""
        for one in self.children:
            if one.tag in tags:
                yield one
            yield from one.find(*tags)

    def first(self, tag: int) -> object:
        """The first value of a tag below; None where there is none."""
        return next((one.value for one in self.find(tag) if one.value is not None), None)


def read(file: Binary) -> Node:
    """The tree. Raises TroubleError when the file ends within it."""
    root = Node(0)
    _Reader(file).container(_START, root, 0)
    return root


def begins(start: bytes) -> bool:
    """Do these bytes, from byte 8 of a file on, begin a tree? Soft Imaging's TIFF files hold one, too."""
    return start[:4] == b"\x18\0IS"


def end(file: Binary, at: int = _START) -> int:
    """Where the last tag or value ends, in the file or not. Raises TroubleError when the file ends within a tag."""
    reader = _Reader(file)
    reader.container(at, Node(0), 0)
    return reader.end


class _Reader:
    def __init__(self, file: Binary) -> None:
        self.file = file
        self.left = _MAX_TAGS
        self.end = 0

    def container(self, at: int, parent: Node, depth: int) -> int:
        """The tags of a container into `parent`; gives where it ends."""
        if depth > _DEPTH or at + 24 > self.file.size:
            return at
        length, mark, _, start, flags = self.file.unpack("<hhiqi", at, "the tags")
        place = at + int(start)
        sound = (length, mark) == _MARK
        for _ in range(flags & 0xFFFFFFF):
            self.end = max(self.end, place + 16 if sound else 0)
            if self.left <= 0 or not 0 <= place <= self.file.size - 16:
                return place
            self.left -= 1
            form, tag, following, size = self.file.unpack("<iiIi", place, "the tags")
            place += 16
            second = None
            if form >> 27 & 1:
                (second,) = self.file.unpack("<i", place, "the tags")
                place += 4
            inline, extended = bool(form >> 30 & 1), bool(form >> 28 & 1)
            if tag < 0:
                return place + (0 if inline else max(int(size), 0))
            node = Node(tag, second)
            parent.children.append(node)
            if extended and form & 0xFFFFFF in (0, 1, 2):
                self._volume(place, size, node, depth, single=form & 0xFFFFFF != 0)
            else:
                self.end = max(self.end, place + int(size) if sound and not inline else 0)
                node.value = size if inline else self._value(place, size, form & 0xFFFFFF)
            if following == 0:
                return place + (0 if inline else max(int(size), 0))
            place = at + int(following)
        return place

    def _volume(self, place: int, size: int, node: Node, depth: int, *, single: bool) -> None:
        if single:
            self.container(place, node, depth + 1)
            return
        end = place + size
        while place < end:
            after = self.container(place, node, depth + 1)
            if after <= place:
                return
            place = after

    def _value(self, place: int, size: int, kind: int) -> object:
        if not 0 < size <= _VALUE_BYTES or place + size > self.file.size:
            return None
        raw = self.file.read(place, size, "a tag")
        if kind in _TEXT:
            # Single letters are said, and two bytes a letter are written.
            return raw.decode("utf-16-le" if raw[1:2] == b"\0" or kind == _UTF16 else "latin-1", "replace").rstrip("\0")
        form = _NUMBERS.get(kind) or _VECTORS.get(kind)
        if form is None or struct.calcsize("<" + form) > len(raw):
            return None
        values = struct.unpack_from("<" + form, raw)
        return values[0] if kind in _NUMBERS else list(values)
