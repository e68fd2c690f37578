"""Nikon ND2: chunks, and at the end a map of them. Whole when the file ends with the map's signature.

The older ND2 (before 2009) is a chain of JPEG 2000 boxes.
"""

from __future__ import annotations

import re
from pathlib import Path

from agent.formats import binary
from agent.formats.binary import Binary
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.single import alone, judged
from agent.formats.tiff_layout import TroubleError

MAGIC = b"\xda\xce\xbe\x0a"
_LEGACY = b"\0\0\0\x0cjP  \r\n\x87\n"
_MAP = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_END = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_FRAME = re.compile(rb"ImageDataSeq\|(\d+)!")
_MAX_BOXES = 10_000_000


class Nd2:
    """NIS-Elements' own format."""

    name = "nd2"

    def matches(self, path: Path) -> bool:
        start = binary.head(path, 16)
        if not start:
            return path.suffix.lower() == ".nd2" and path.is_file()
        return start.startswith(MAGIC) or (start.startswith(_LEGACY) and path.suffix.lower() == ".nd2")

    def dataset(self, path: Path) -> Dataset:
        return alone(self.name, path)

    def is_whole(self, dataset: Dataset) -> Verdict:
        return judged(dataset.main, _verdict)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Frames times channels; None for the older ND2."""
        with binary.opened(dataset.main) as file:
            try:
                chunks = chunk_map(file)
                frames = sum(1 for name in chunks if _FRAME.fullmatch(name))
                return frames * _components(file, chunks)
            except TroubleError:
                return None

    def metadata(self, dataset: Dataset) -> Metadata:
        def read() -> Metadata:
            with binary.opened(dataset.main) as file:
                if file.read(0, 4, "the header") == MAGIC:
                    # The reader believes every size that the map claims.
                    _verdict_of_chunks(file)
            from agent.formats import nd2_metadata

            return nd2_metadata.read(dataset.main)

        return guarded(dataset.main, read)


def chunk_map(file: Binary) -> dict[bytes, tuple[int, int]]:
    """(place, data length) of every chunk by name. Raises TroubleError."""
    if file.read(0, 4, "the header") != MAGIC:
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as an ND2 file does")
    file.inside(0, 112 + 40, "the header")
    signature, at = file.unpack("<32sQ", file.size - 40, "the map of the chunks")
    if signature != _END:
        raise TroubleError(Wholeness.GROWING, "the map of the chunks is not there yet: it is written last")
    if at >= file.size:
        raise TroubleError(Wholeness.DAMAGED, "the map of the chunks lies outside the file")
    magic, name_length, length = file.unpack("<4sIQ", at, "the map of the chunks")
    if magic != MAGIC:
        raise TroubleError(Wholeness.DAMAGED, "the map of the chunks is not where the file says")
    if at + 16 + name_length + length > file.size:
        raise TroubleError(Wholeness.DAMAGED, "the map of the chunks claims to be longer than the file")
    raw = file.read(at + 16 + name_length, length, "the map of the chunks")
    found: dict[bytes, tuple[int, int]] = {}
    place = 0
    while (end := raw.find(b"!", place)) >= 0:
        name = raw[place : end + 1]
        if name == _END or end + 17 > len(raw):
            return found
        found[name] = (
            int.from_bytes(raw[end + 1 : end + 9], "little"),
            int.from_bytes(raw[end + 9 : end + 17], "little"),
        )
        place = end + 17
    raise TroubleError(Wholeness.DAMAGED, "the map of the chunks has no end")


def _verdict_of_chunks(file: Binary) -> Verdict:
    found = chunk_map(file)
    frames: set[int] = set()
    for name, (at, length) in found.items():
        if number := _FRAME.fullmatch(name):
            frames.add(int(number[1]))
        # Frames are not read for their metadata, and there may be a million of them.
        if at + 16 + length > file.size or (number is None and at + 16 + _claimed(file, at) > file.size):
            raise TroubleError(Wholeness.DAMAGED, f"chunk {name[:40].decode('ascii', 'replace')} lies outside the file")
    if b"ImageAttributesLV!" not in found and b"ImageAttributes!" not in found:
        return binary.damaged("the map names no attributes of the image")
    if frames and max(frames) + 1 != len(frames):
        return binary.damaged(f"{max(frames) + 1 - len(frames)} frames are missing in the map of the chunks")
    return binary.whole(f"the map of all {len(found)} chunks with {len(frames)} frames is there")


def _claimed(file: Binary, at: int) -> int:
    """Length of name and data after the header of the chunk at `at`, as this header says."""
    _, name_length, length = file.unpack("<4sIQ", at, "a chunk")
    return int(name_length + length)


def _verdict(file: Binary) -> Verdict:
    if file.read(0, 12, "the header").startswith(_LEGACY):
        return _legacy(file)
    return _verdict_of_chunks(file)


def _legacy(file: Binary) -> Verdict:
    at, boxes = 0, 0
    while at < file.size:
        length, kind = file.unpack(">I4s", at, f"box {boxes}")
        if length == 1:
            (length,) = file.unpack(">Q", at + 8, f"box {boxes}")
        elif length == 0:
            length = file.size - at
        if length < 8 or boxes > _MAX_BOXES:
            return binary.damaged(f"box {boxes} has an impossible size")
        file.inside(at, length, f"box {boxes} ({kind.decode('ascii', 'replace')})")
        at, boxes = at + length, boxes + 1
    return binary.whole(f"all {boxes} boxes are there, the last one ends with the file")


def _components(file: Binary, chunks: dict[bytes, tuple[int, int]]) -> int:
    """Channels of a frame, from the attributes, which are XML in older files."""
    for name in (b"ImageAttributesLV!", b"ImageAttributes!"):
        if name in chunks:
            at, length = chunks[name]
            _, name_length = file.unpack("<4sI", at, "the attributes")
            raw = file.read(at + 16 + name_length, min(length, 1 << 20), "the attributes")
            key = "uiComp\0".encode("utf-16-le")
            if (place := raw.find(key)) >= 0:
                return int.from_bytes(raw[place + len(key) : place + len(key) + 4], "little")
            if said := re.search(rb'<uiComp[^>]*value="(\d{1,4})"', raw):
                return int(said[1])
    return 1
