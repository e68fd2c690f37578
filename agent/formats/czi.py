"""ZEISS CZI, one file or a main file with its parts `name (1).czi`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from agent.formats import binary, czi_layout
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.single import judged
from agent.formats.tiff_layout import TroubleError


class Czi:
    """ZEN's own format."""

    name = "czi"

    def matches(self, path: Path) -> bool:
        start = binary.head(path, 16)
        return start.startswith(czi_layout.MAGIC) or (not start and path.suffix.lower() == ".czi" and path.is_file())

    def dataset(self, path: Path) -> Dataset:
        own = _header(path)
        stem = path.stem if own is None or own.part == 0 else re.sub(r" ?\(\d+\)$", "", path.stem)
        main = path if own is None or own.part == 0 else path.with_name(f"{stem}{path.suffix}")
        files = {path, *_parts(main, stem, own)}
        if not main.is_file():
            return Dataset(self.name, path, path.parent, tuple(sorted(files)), (main.name,))
        return Dataset(self.name, main, path.parent, tuple(sorted({main, *files})))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            return binary.growing(f"the main file {dataset.missing[0]} is not there")
        verdicts = [judged(path, czi_layout.verdict) for path in dataset.files]
        return next((one for one in verdicts if one.state is not Wholeness.WHOLE), verdicts[0])

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Different positions in scene, channel, depth, time and so on; the tiles of a mosaic count once."""
        planes = set()
        with binary.opened(dataset.main) as file:
            try:
                for block in czi_layout.blocks(file, czi_layout.header(file)):
                    if not block.reduced:
                        planes.add(tuple((k, v[0]) for k, v in sorted(block.dims.items()) if k not in "XYM"))
            except TroubleError:
                return None
        return len(planes)

    def metadata(self, dataset: Dataset) -> Metadata:
        from agent.formats import czi_metadata

        return guarded(dataset.main, lambda: czi_metadata.read(dataset.main))


def _header(path: Path) -> czi_layout.Header | None:
    try:
        with binary.opened(path) as file:
            return czi_layout.header(file)
    except (TroubleError, OSError):
        return None


def _parts(main: Path, stem: str, own: czi_layout.Header | None) -> Iterator[Path]:
    """Parts are numbered from 1 and name the same primary file."""
    for number in count(1):
        for name in (f"{stem} ({number}){main.suffix}", f"{stem}({number}){main.suffix}"):
            part = main.with_name(name)
            found = _header(part) if own is not None and part.is_file() else None
            if own is not None and found is not None and found.part > 0 and found.primary == own.primary:
                yield part
                break
        else:
            return
