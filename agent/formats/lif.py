"""Leica LIF: the XML of all images first, then the pixels of each in a memory block; whole when the chain fits."""

from __future__ import annotations

from pathlib import Path

from agent.formats import binary
from agent.formats.binary import Binary
from agent.formats.guarded import guarded
from agent.formats.ome_xml import UnreadableError
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.safe_xml import parse
from agent.formats.single import alone, judged
from agent.formats.tiff_layout import TroubleError

_START, _NEXT = 0x70, 0x2A
_MAX_BLOCKS = 1_000_000


class Lif:
    """A project of LAS AF or LAS X."""

    name = "lif"

    def matches(self, path: Path) -> bool:
        start = binary.head(path, 16)
        if path.suffix.lower() == ".lif":
            return not start or start[:1] == b"\x70"
        return start[:4] == b"\x70\0\0\0" and start[8:9] == b"\x2a" and start[13:15] == b"<\0"

    def dataset(self, path: Path) -> Dataset:
        return alone(self.name, path)

    def is_whole(self, dataset: Dataset) -> Verdict:
        return judged(dataset.main, _verdict)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Planes of the images whose memory block is there."""
        from agent.formats import lif_metadata

        with binary.opened(dataset.main) as file:
            try:
                return lif_metadata.planes(parse(xml(file)), set(blocks(file)))
            except (TroubleError, UnreadableError, ValueError):
                return None

    def metadata(self, dataset: Dataset) -> Metadata:
        from agent.formats import lif_metadata

        def read() -> Metadata:
            with binary.opened(dataset.main) as file:
                raw = xml(file)
            return lif_metadata.read(dataset.main, raw)

        return guarded(dataset.main, read)


def _xml_length(file: Binary) -> int:
    start, _, mark, letters = file.unpack("<iiBi", 0, "the header")
    if start != _START or mark != _NEXT or letters < 0:
        raise TroubleError(Wholeness.DAMAGED, "the file does not begin as a LIF file does")
    file.inside(13, 2 * letters, "the description of the images")
    return 2 * int(letters)


def xml(file: Binary) -> bytes:
    """The description of all images as UTF-8. Raises TroubleError."""
    raw = file.read(13, _xml_length(file), "the description of the images")
    return raw.decode("utf-16-le", "replace").encode()


def blocks(file: Binary) -> dict[str, int]:
    """Size by name of every memory block; the chain must end where the file ends. Raises TroubleError."""
    at = 13 + _xml_length(file)
    found: dict[str, int] = {}
    wide = _is_wide(file, at) if at < file.size else False
    while at < file.size:
        what = f"memory block {len(found)}"
        start, _, mark = file.unpack("<iiB", at, what)
        if start != _START or mark != _NEXT or len(found) > _MAX_BLOCKS:
            raise TroubleError(Wholeness.DAMAGED, f"{what}: there is none at byte {at}")
        size, second, letters = file.unpack("<qBi" if wide else "<IBi", at + 9, what)
        at += 9 + (13 if wide else 9)
        if second != _NEXT or letters < 0 or size < 0:
            raise TroubleError(Wholeness.DAMAGED, f"{what}: its header is none")
        name = file.read(at, 2 * letters, what).decode("utf-16-le", "replace").rstrip("\0")
        at += 2 * letters
        file.inside(at, size, f"the pixels of {name}")
        found[name] = size
        at += size
    return found


def _is_wide(file: Binary, at: int) -> bool:
    """Sizes have 8 bytes since version 2: the mark behind the size tells, as the XML may be damaged."""
    return file.read(at, min(22, file.size - at), "memory block 0")[13:14] != b"\x2a"


def _verdict(file: Binary) -> Verdict:
    found = blocks(file)
    try:
        root = parse(xml(file), "the description of the images")
    except UnreadableError as error:
        return binary.damaged(str(error))
    for memory in root.iter("Memory"):
        name, size = memory.get("MemoryBlockID", ""), memory.get("Size", "0")
        if size.isdecimal() and int(size) > 0 and name not in found:
            return binary.growing(f"the pixels of {name} are announced and not there")
        if size.isdecimal() and found.get(name, int(size)) < int(size):
            return binary.damaged(f"{name} is shorter than the description says")
    return binary.whole(f"all {len(found)} memory blocks are there, the last one ends with the file")
