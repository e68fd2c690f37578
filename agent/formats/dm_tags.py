"""The tag tree of Gatan DigitalMicrograph files, versions 3 and 4. Arrays of pixels stay in the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from agent.formats.binary import Binary
from agent.formats.port import Wholeness
from agent.formats.tiff_layout import TroubleError

_GROUP, _DATA = 20, 21
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_SIMPLE = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "?", 9: "b", 10: "B", 11: "q", 12: "Q"}
_USHORT = 4
_MAX_DEPTH = 48
_MAX_TAGS = 300_000
_MAX_KEPT = 2048
"""Bytes of an array that go into the metadata; text may have more."""
_MAX_TEXT = 1 << 18
_CUT = "a tag is not understood"

Tree = dict[str, Any]


@dataclass(slots=True)
class Dm:
    """A file's tags. `end` is where the tree ends; an array too long to keep is {"array": type, "length": values}."""

    version: int
    length: int
    order: str
    tree: Tree = field(default_factory=dict)
    end: int = 0


class _Reader:
    def __init__(self, file: Binary, version: int, order: str) -> None:
        self.file, self.order = file, order
        self.wide = version == 4
        self.word = ">Q" if self.wide else ">I"
        self.width = 8 if self.wide else 4
        self.at = 0
        self.tags = 0

    def take(self, form: str) -> Any:
        """One value; the reader moves on."""
        (value,) = self.file.unpack(form, self.at, "a tag")
        self.at += struct.calcsize(form)
        return value

    def group(self, depth: int) -> Tree:
        """The tags of a group by name; those without a name by number."""
        if depth > _MAX_DEPTH:
            raise TroubleError(Wholeness.DAMAGED, "the tags are nested too deep")
        self.at += 2
        count = self.take(self.word)
        found: Tree = {}
        for number in range(count):
            self.tags += 1
            if self.tags > _MAX_TAGS:
                raise TroubleError(Wholeness.DAMAGED, "the file has too many tags to be true")
            kind, length = self.take("B"), self.take(">H")
            name = self.file.read(self.at, length, "a tag's name").decode("latin-1") or str(number)
            self.at += length + (8 if self.wide else 0)
            if kind == _GROUP:
                found[name] = self.group(depth + 1)
            elif kind == _DATA:
                found[name] = self.data()
            else:
                raise TroubleError(Wholeness.DAMAGED, _CUT)
        return found

    def data(self) -> Any:
        """The value of a tag."""
        mark = self.take("4s")
        count = self.take(self.word)
        if mark != b"%%%%" or not 0 < count < 1024:
            raise TroubleError(Wholeness.DAMAGED, _CUT)
        info = self.file.unpack(f">{count}{self.word[1]}", self.at, "a tag")
        self.at += count * self.width
        kind = info[0]
        if kind in _SIMPLE:
            return self.take(self.order + _SIMPLE[kind])
        if kind == _STRUCT:
            return list(self._struct(info[3:], 1)[0])
        if kind == _STRING and count > 1:
            return self._text(info[1])
        if kind == _ARRAY and count > 2:
            return self._array(info)
        raise TroubleError(Wholeness.DAMAGED, _CUT)

    def _struct(self, fields: tuple[int, ...], count: int) -> list[tuple[Any, ...]]:
        kinds = [_SIMPLE.get(kind) for kind in fields[1::2]]
        if None in kinds or not kinds:
            raise TroubleError(Wholeness.DAMAGED, _CUT)
        form = struct.Struct(self.order + "".join(map(str, kinds)))
        raw = self.file.read(self.at, form.size * count, "a tag")
        self.at += len(raw)
        return list(form.iter_unpack(raw))

    def _text(self, length: int) -> str:
        raw = self.file.read(self.at, length, "a text")
        self.at += length
        return raw.decode("utf-16-le" if self.order == "<" else "utf-16-be", errors="replace")

    def _array(self, info: tuple[int, ...]) -> Any:
        length = info[-1]
        if info[1] == _STRUCT:
            kinds = [_SIMPLE.get(kind) for kind in info[5:-1:2]]
            size = struct.calcsize(self.order + "".join(map(str, kinds))) if kinds and None not in kinds else 0
            if size and 0 < length * size <= _MAX_KEPT:
                return [list(one) for one in self._struct(info[4:-1], length)]
            return self._skip("struct", length, size)
        form = _SIMPLE.get(info[1])
        if form is None:
            raise TroubleError(Wholeness.DAMAGED, _CUT)
        size = struct.calcsize("=" + form)
        if info[1] == _USHORT and length * size <= _MAX_TEXT:
            return self._text(length * size)
        if length * size > _MAX_KEPT:
            return self._skip(form, length, size)
        raw = self.file.read(self.at, length * size, "a tag")
        self.at += len(raw)
        return list(struct.unpack(f"{self.order}{length}{form}", raw))

    def _skip(self, form: str, length: int, size: int) -> Tree:
        if size <= 0:
            raise TroubleError(Wholeness.DAMAGED, _CUT)
        self.file.inside(self.at, length * size, "the pixels")
        at, self.at = self.at, self.at + length * size
        return {"array": form, "length": length, "offset": at, "bytes": length * size}


def header(file: Binary) -> Dm:
    """Version, length and byte order. Raises TroubleError."""
    (version,) = file.unpack(">I", 0, "the header")
    if version not in (3, 4):
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as a DigitalMicrograph file does")
    length, little = file.unpack(">QI" if version == 4 else ">II", 4, "the header")
    if little > 1:
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as a DigitalMicrograph file does")
    return Dm(version, length, "<" if little else ">")


def read(file: Binary) -> Dm:
    """All tags. Raises TroubleError: growing when the file ends before its tags do."""
    found = header(file)
    reader = _Reader(file, found.version, found.order)
    reader.at = 16 if found.version == 4 else 12
    found.tree = reader.group(0)
    found.end = reader.at
    return found
