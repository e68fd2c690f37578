"""Every TIFF of the corpus as it would be delivered: same pixels, nothing of its metadata lost, readable by others."""

import gzip
import hashlib
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import ome_types
import pytest
import tifffile

from agent.acquisition import Acquisition, FoundBy, State
from agent.document import Context, Documents, build
from agent.document.annotate import blocks, plan
from agent.document.settings import DocumentSettings
from agent.formats import registry
from agent.formats.port import Dataset, Metadata
from agent.snapshot import Profile, take
from tests.unit.document.test_ome_documents import errors, schema
from tests.unit.snapshot.demo_runs import source_file

__all__ = ["schema"]
CORPUS = Path(os.environ.get("SCOPE_AGENT_CORPUS", Path(__file__).parents[4] / "shared" / "data"))
CONTEXT = Context("lab", "demo", "0.1.0", "0" * 64)
ENDINGS = (".tif", ".tiff", ".tf2", ".tf8", ".btf", ".stk", ".svs", ".ndpi")
EMBEDDED = frozenset(
    ["cellvoyager", "imagej-tiff", "leica-matrix-ome-tiff", "micromanager-1.4", "micromanager-2.0", "ndtiff",
     "ome-tiff", "ome-tiff-multifile", "prairieview", "sem-tiff", "tem-tiff", "thorimage"]
)  # fmt: skip
"""Folders of the corpus whose TIFF files carry OME-XML when they are delivered."""
ON_DEMAND = frozenset(["hamamatsu-streak", "imagexpress", "metamorph-tif", "scanimage"])
"""The same where the configuration says `vendor_tiff = "embed"`: their vendors' readers want their text first."""
NEVER = frozenset(["metamorph-nd", "ndpi", "stk", "svs"])
"""Stacks with one directory for all planes, and slides, whose pyramid lies between them."""
MANY = 4
"""Data sets of a folder that are alike are not all tried, but for SCOPE_AGENT_WHOLE_CORPUS=1."""

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of microscope files: set SCOPE_AGENT_CORPUS")


def tiffs(folder: Path, scratch: Path) -> list[Dataset]:
    """The datasets of a folder of the corpus that have a TIFF; packed files are unpacked first."""
    if any(folder.rglob("*.tif.gz")):
        folder = Path(shutil.copytree(folder, scratch / folder.name, copy_function=shutil.copyfile))
        for packed in list(folder.rglob("*.gz")):
            packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
            packed.unlink()
    found = [one for one in registry.datasets_in(folder) if any(is_tiff(path) for path in one.files)]
    return found if os.environ.get("SCOPE_AGENT_WHOLE_CORPUS") else found[:MANY]


def is_tiff(path: Path) -> bool:
    return path.name.lower().endswith(ENDINGS)


def described(dataset: Dataset, context: Context = CONTEXT) -> tuple[Acquisition, Metadata, Documents]:
    metadata = registry.by_name(dataset.format).metadata(dataset)
    acquisition = Acquisition(
        id="0198b1e0-0000-7000-8000-000000000001",
        origin=f"watch:{dataset.main.name}",
        found_by=FoundBy.WATCH,
        name=dataset.main.stem,
        state=State.COMPLETE,
        started_ns=1_700_000_000_000_000_000,
        finished_ns=1_700_000_060_000_000_000,
        format=dataset.format,
        main=str(dataset.main),
        files=tuple(source_file(one, dataset.root) for one in dataset.files),
    )
    return acquisition, metadata, build(context, acquisition, take(acquisition, Profile(), None, metadata))


def delivered(acquisition: Acquisition, made: Documents, target: Path) -> list[tuple[Path, Path, bool]]:
    """(source, copy, carries OME-XML) of each TIFF; a file without is copied as it is."""
    pairs = []
    for file in acquisition.files:
        text, copy = made.embedded.get(file.name), target / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        patch = plan(Path(file.path), text) if text is not None else None
        assert text is None or patch is not None, file.name
        with copy.open("wb") as out:
            out.writelines(sent for _, sent in blocks(Path(file.path), patch, 1 << 20))
        if is_tiff(copy):
            pairs.append((Path(file.path), copy, patch is not None))
    return pairs


def pixels(path: Path) -> list[str]:
    """Hashes of every page's image, and of the stored strips and tiles."""
    found = []
    with tifffile.TiffFile(path) as tiff:
        for page in tiff.pages:
            try:
                found.append(hashlib.sha256(page.asarray().tobytes()).hexdigest())
            except (ValueError, KeyError, NotImplementedError):
                found.append("a codec that is not installed")
            for at, size in zip(page.dataoffsets, page.databytecounts, strict=True):
                tiff.filehandle.seek(at)
                found.append(hashlib.sha256(tiff.filehandle.read(size)).hexdigest())
    return found


def lost(before: Any, after: Any, place: str = "") -> list[str]:
    """What the file said before and does not say any more; what came in addition does not matter."""
    if before in ([], {}):
        return []
    if isinstance(before, dict):
        told = {key: value for key, value in before.items() if value != []}
        if not isinstance(after, dict):
            return [place]
        gone = [f"{place}.{key}" for key in told if key not in after]
        kept = [key for key in told if key in after]
        return gone + [one for key in kept for one in lost(told[key], after[key], f"{place}.{key}")]
    if isinstance(before, list):
        if len(after) < len(before):
            return [f"{place}: {len(before)} became {len(after)}"]
        return [one for n, (x, y) in enumerate(zip(before, after, strict=False)) for one in lost(x, y, f"{place}[{n}]")]
    same = before == after or (isinstance(before, float) and before == pytest.approx(after, rel=1e-12))
    return [] if same else [f"{place}: {before!r} became {after!r}"]


def said(ome: ome_types.OME) -> dict[str, Any]:
    """What a document says of images and hardware, without what each copy has of its own."""
    whole = ome.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    for key in ("uuid", "creator", "kind"):
        whole.pop(key, None)
    for image in whole.get("images", ()):
        for key in ("tiff_data_blocks", "metadata_only", "bin_data_blocks"):
            image["pixels"].pop(key, None)
        for plane in image["pixels"].get("planes", ()):
            in_our_units(plane)
    return whole


def in_our_units(plane: dict[str, Any]) -> None:
    """Times in seconds and lengths in micrometres, for the same time may be written in another unit."""
    for name in ("delta_t", "exposure_time", "position_x", "position_y", "position_z"):
        unit = plane.pop(f"{name}_unit", None)
        if name in plane:
            plane[name] *= {"ms": 1e-3, "mm": 1e3, "nm": 1e-3, "m": 1e6}.get(unit, 1.0)


FOLDERS = sorted(p.name for p in CORPUS.iterdir() if p.is_dir()) if CORPUS.is_dir() else []


def test_every_folder_with_tiffs_is_decided_about(tmp_path: Path) -> None:
    found = {name for name in FOLDERS if tiffs(CORPUS / name, tmp_path)}
    assert found == EMBEDDED | ON_DEMAND | NEVER


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted(EMBEDDED | ON_DEMAND | NEVER))
def test_delivered_tiffs_are_the_same_to_every_reader(schema, tmp_path: Path, folder: str) -> None:
    carried = check_folder(schema, folder, CONTEXT, tmp_path)
    assert (carried > 0) == (folder in EMBEDDED)


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted(ON_DEMAND))
def test_vendors_tiffs_too_where_the_configuration_says_so(schema, tmp_path: Path, folder: str) -> None:
    wanted = Context("lab", "demo", "0.1.0", "0" * 64, DocumentSettings(vendor_tiff="embed"))
    assert check_folder(schema, folder, wanted, tmp_path) > 0


def check_folder(schema, folder: str, context: Context, tmp_path: Path) -> int:
    """Checks every delivered file; how many of them carry OME-XML."""
    carried = 0
    for number, dataset in enumerate(tiffs(CORPUS / folder, tmp_path)):
        acquisition, metadata, made = described(dataset, context)
        assert errors(schema, made.ome_xml) == []
        if metadata.ome is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert lost(said(metadata.ome), said(ome_types.from_xml(made.ome_xml))) == []
        for source, copy, annotated in delivered(acquisition, made, tmp_path / f"out{number}"):
            assert pixels(copy) == pixels(source), source.name
            if not annotated:
                assert copy.read_bytes() == source.read_bytes()
                continue
            carried += 1
            check_annotated(schema, source, copy, whole=not metadata.places)
    return carried


def check_annotated(schema, source: Path, copy: Path, *, whole: bool) -> None:
    """tifffile sees the same series, ome-types the whole document; no other description is lost.

    `whole`: the file's own OME-XML knows all planes of the run; PrairieView's knows those of its own cycle.
    """
    with tifffile.TiffFile(source) as old, tifffile.TiffFile(copy) as new:
        assert new.is_ome
        texts = [tag.value for tag in old.pages[0].tags if tag.code == 270]
        kept = texts[1:] if old.is_ome else texts
        assert [tag.value for tag in new.pages[0].tags if tag.code == 270][1:] == kept
        assert errors(schema, new.pages[0].description.encode()) == []
        ome = ome_types.from_tiff(copy)
        own = [b for i in ome.images for b in i.pixels.tiff_data_blocks if b.uuid and b.uuid.file_name == copy.name]
        assert {b.uuid.value for b in own} == {ome.uuid}
        if old.is_ome and whole:
            # A file may announce others that the corpus does not hold: tifffile says so, before and after.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                shapes = [(s.shape, s.axes) for s in old.series if s.kind == "ome"]
                assert [(s.shape, s.axes) for s in new.series][: len(shapes)] == shapes
        elif not old.is_shaped:
            # tifffile believes its own description more, also where it is the second one.
            # Of a set of files every one leads to all planes.
            planes = sum(block.plane_count or 1 for i in ome.images for block in i.pixels.tiff_data_blocks)
            assert sum(page is not None for series in new.series for page in series.pages) == planes
