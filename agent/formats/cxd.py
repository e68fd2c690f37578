"""Hamamatsu HCImage CXD: a compound file with a stream of pixels for each frame."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from agent.formats import binary, ole
from agent.formats.binary import Binary
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict
from agent.formats.single import alone, judged
from agent.formats.tiff_layout import TroubleError

_FRAME = re.compile(r"(?:^|/)Field (\d+)/.*(?:i_Image\d+/)?Bitmap \d+$")


class Cxd:
    """A sequence."""

    name = "hcimage-cxd"

    def matches(self, path: Path) -> bool:
        start = binary.head(path, 8)
        return path.suffix.lower() == ".cxd" and (not start or start == ole.MAGIC[: len(start)]) and path.is_file()

    def dataset(self, path: Path) -> Dataset:
        return alone(self.name, path)

    def is_whole(self, dataset: Dataset) -> Verdict:
        return judged(dataset.main, _verdict)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Frames with a bitmap."""
        with binary.opened(dataset.main) as file:
            try:
                return sum(_FRAME.search(name) is not None for name in ole.Compound(file).streams)
            except TroubleError:
                return None

    def metadata(self, dataset: Dataset) -> Metadata:
        def read() -> Metadata:
            with binary.opened(dataset.main) as file:
                compound = ole.Compound(file)
                small = [name for name, stream in compound.streams.items() if stream.size <= 64]
                values = {name: _value(compound.read(name, 64)) for name in sorted(small)[:2000]}
            return Metadata(
                not_carried_over={"cxd": {"streams": sorted(compound.streams)[:5000], "values": values}},
                notes=("nobody documents what the streams of CXD mean: they are kept as they are",),
            )

        return guarded(dataset.main, read)


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
