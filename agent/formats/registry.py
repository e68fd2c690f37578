"""The formats in the order in which they are asked; a module is imported when its turn comes."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import cast

from agent.formats.port import Dataset, Format
from agent.sources.names import Names
from agent.sources.settings import WatchSettings
from agent.sources.walk import walk

FORMATS: tuple[tuple[str, str], ...] = (
    ("agent.formats.ome_zarr", "OmeZarr"),
    ("agent.formats.ome_tiff", "OmeTiff"),
    ("agent.formats.tiff", "Tiff"),
    ("agent.formats.unknown", "Unknown"),
)
"""(module, class): the special before the general, the one that takes everything last."""
FALLBACK = "unknown"


@cache
def _load(module: str, name: str) -> Format:
    return cast("Format", getattr(import_module(module), name)())


def identify(path: Path) -> Format:
    """The format of a file or folder; `unknown` when no other one knows it. Never raises for bad content."""
    for module, name in FORMATS[:-1]:
        candidate = _load(module, name)
        if candidate.matches(path):
            return candidate
    return _load(*FORMATS[-1])


def by_name(name: str) -> Format | None:
    """The format that calls itself `name`, as a dataset remembers it."""
    return next((found for entry in FORMATS if (found := _load(*entry)).name == name), None)


def planes_on_disk(dataset: Dataset) -> int | None:
    """Planes whose pixels are really in the files now; None where that is unknown. May raise OSError."""
    found = by_name(dataset.format)
    return None if found is None else found.planes_on_disk(dataset)


def datasets_in(path: Path, limit: int = 100_000) -> list[Dataset]:
    """The datasets of a file or of a folder with everything below it (at most `limit` files), each once.

    A file or Zarr folder gives one. Hidden and temporary names do not count. May raise OSError.
    """
    if not path.is_dir() or identify(path).name != FALLBACK:
        return [identify(path).dataset(path)]
    names = Names(WatchSettings(path=path))
    found: list[Dataset] = []
    taken: set[Path] = set()
    for entry in islice(filter(None, walk(str(path), names)), limit):
        file = Path(entry[0])
        if file not in taken:
            dataset = identify(file).dataset(file)
            found.append(dataset)
            taken.update(dataset.files)
    return found


def datasets_written_to(output: Path) -> list[Dataset]:
    """The datasets of an acquisition that said it writes to `output`; empty when there is nothing yet.

    pymmcore-plus 0.18 turns `x.ome.tiff` into the folder `x` with `x_p000.ome.tiff` and so on when there are
    several positions; older writers put them beside it. May raise OSError.
    """
    if output.exists():
        return datasets_in(output)
    stem, dot, ending = output.name.partition(".")
    folder = output.parent
    inside = (folder / stem).iterdir() if (folder / stem).is_dir() else ()
    beside = folder.iterdir() if folder.is_dir() else ()
    found: dict[Path, Dataset] = {}
    for path in sorted((*inside, *beside)):
        if path.name.startswith(f"{stem}_") and path.name.endswith(dot + ending):
            dataset = identify(path).dataset(path)
            found.setdefault(dataset.main, dataset)
    return list(found.values())
