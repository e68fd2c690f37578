"""Hamamatsu HCImage CXD: a compound file with a stream of pixels for each frame."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from agent.formats import binary, ole
from agent.formats.binary import Binary
from agent.formats.guarded import attempt, guarded
from agent.formats.port import Dataset, Metadata, Verdict
from agent.formats.single import alone, judged

_SMALL, _MAX_STREAMS, _MAX_COMMENTS = 64, 20_000, 1 << 16
_FRAME = re.compile(r"(?:^|/)Field (\d+)/(?:.*/)?(?:Bitmap[^/]*|[^/]*Image[^/]*/Data)$")


class Cxd:
    """A sequence."""

    name = "hcimage-cxd"

    def matches(self, path: Path) -> bool:
        return ole.is_compound(path, ".cxd")

    def dataset(self, path: Path) -> Dataset:
        return alone(self.name, path)

    def is_whole(self, dataset: Dataset) -> Verdict:
        return judged(dataset.main, _verdict)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Frames with a bitmap."""
        return ole.counted(dataset.main, _frames)

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset.main))


def _read(path: Path) -> Metadata:
    from agent.formats import cxd_metadata

    with binary.opened(path) as file:
        compound = ole.Compound(file)
        names = sorted(compound.streams)
        small = [name for name in names if compound.streams[name].size <= _SMALL or name.endswith("Comments")]
        said = {name: compound.read(name, _MAX_COMMENTS) for name in small[:_MAX_STREAMS]}
    ome, errors = attempt(path, lambda: cxd_metadata.ome(path.stem, said, _frames(compound)))
    rest = {"streams": names[:5000], "values": {name: _value(raw) for name, raw in list(said.items())[:2000]}}
    note = "nobody documents what the streams of CXD mean: all of them are kept as they are"
    return Metadata(ome, {}, {"cxd": rest}, errors, (note,))


def _frames(compound: ole.Compound) -> int:
    return sum(_FRAME.search(name) is not None for name in compound.streams)


def _verdict(file: Binary) -> Verdict:
    compound = ole.Compound(file)
    compound.check()
    return binary.whole(f"the compound file is sound and holds all its {len(compound.streams)} streams")


def _value(raw: bytes) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {"bytes": raw.hex()}
    if len(raw) == 4:
        found["integer"] = struct.unpack("<i", raw)[0]
    if len(raw) == 8:
        found["double"] = str(struct.unpack("<d", raw)[0])
    return found
