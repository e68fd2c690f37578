"""The formats in the order in which they are asked; a module is imported when its turn comes."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import cast

from agent.formats.port import Dataset, Format
from agent.formats.settings import FormatSettings
from agent.sources.names import Names
from agent.sources.settings import WatchSettings
from agent.sources.walk import walk

FORMATS: tuple[tuple[str, str], ...] = (
    ("agent.formats.czi", "Czi"),
    ("agent.formats.lif", "Lif"),
    ("agent.formats.nd2", "Nd2"),
    ("agent.formats.ndtiff", "NdTiff"),
    ("agent.formats.micromanager", "MicroManager14"),
    ("agent.formats.micromanager", "MicroManager20"),
    ("agent.formats.imagexpress", "ImageXpress"),
    ("agent.formats.cellvoyager", "CellVoyager"),
    ("agent.formats.cellvoyager", "CellVoyager1000"),
    ("agent.formats.metamorph_nd", "MetaMorphNd"),
    ("agent.formats.leica_matrix", "LeicaMatrix"),
    ("agent.formats.operetta", "Operetta"),
    ("agent.formats.leica_export", "LeicaTifExport"),
    ("agent.formats.fluoview", "Oib"),
    ("agent.formats.fluoview", "Oif"),
    ("agent.formats.cxd", "Cxd"),
    ("agent.formats.vsi", "Vsi"),
    ("agent.formats.deltavision", "DeltaVision"),
    ("agent.formats.imaris", "Imaris"),
    ("agent.formats.ome_zarr", "OmeZarr"),
    ("agent.formats.prairieview", "PrairieView"),
    ("agent.formats.thorimage", "ThorImage"),
    ("agent.formats.ome_documents", "OmeCompanion"),
    ("agent.formats.ome_documents", "ScanR"),
    ("agent.formats.ome_documents", "OmeXml"),
    ("agent.formats.ome_tiff", "OmeTiff"),
    ("agent.formats.scanimage", "ScanImage"),
    ("agent.formats.dm", "Dm3"),
    ("agent.formats.dm", "Dm4"),
    ("agent.formats.serialem_mdoc", "SerialEm"),
    ("agent.formats.mrc", "Mrc"),
    ("agent.formats.ser_emi", "SerEmi"),
    ("agent.formats.emd_velox", "EmdVelox"),
    ("agent.formats.sif", "AndorSif"),
    ("agent.formats.spe", "PrincetonSpe"),
    ("agent.formats.femtonics_mesc", "FemtonicsMesc"),
    ("agent.formats.inscopix_isxd", "InscopixIsxd"),
    ("agent.formats.miniscope_avi", "MiniscopeAvi"),
    ("agent.formats.hamamatsu_streak", "HamamatsuStreak"),
    ("agent.formats.slides", "Ndpi"),
    ("agent.formats.slides", "Svs"),
    ("agent.formats.slides", "QpTiff"),
    ("agent.formats.tem_tiff", "TemTiff"),
    ("agent.formats.sem_tiff", "SemTiff"),
    ("agent.formats.lsm", "Lsm"),
    ("agent.formats.metamorph_stk", "MetaMorphStack"),
    ("agent.formats.metamorph_stk", "MetaMorphTiff"),
    ("agent.formats.imagej_tiff", "ImageJTiff"),
    ("agent.formats.tiff", "Tiff"),
    ("agent.formats.unknown", "Unknown"),
)
"""(module, class): the special before the general, the one that takes everything last."""
FALLBACK = "unknown"


@cache
def _load(module: str, name: str) -> Format:
    return cast("Format", getattr(import_module(module), name)())


def configure(settings: FormatSettings) -> None:
    """Once when a process starts: who is asked about files that no format here knows."""
    from agent.formats.bioformats import BioFormats
    from agent.formats.unknown import Unknown

    unknown = _load(*FORMATS[-1])
    if isinstance(unknown, Unknown):
        unknown.reader = BioFormats(settings) if settings.bioformats is not None else None


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
