"""Bio-Formats reads an annotated OME-TIFF as we mean it; SCOPE_AGENT_BIOFORMATS_JAR names its package."""

import os
import shutil
import subprocess
from pathlib import Path

import ome_types
import pytest

from agent.formats import registry
from tests.unit.document.test_annotate import canceled_run
from tests.unit.document.test_corpus_round_trip import (
    CORPUS,
    EMBEDDED,
    ON_DEMAND,
    delivered,
    described,
    lost,
    tiffs,
)
from tests.unit.document.test_ome_documents import annotated
from tests.unit.snapshot.demo_runs import Recorded

JAR = os.environ.get("SCOPE_AGENT_BIOFORMATS_JAR")


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not JAR or not shutil.which("java"), reason="SCOPE_AGENT_BIOFORMATS_JAR is not set, or no java"),
]


def bioformats(path: Path) -> ome_types.OME:
    """What it says of a file."""
    done = subprocess.run(
        ["java", "-Xmx1g", "-cp", JAR, "loci.formats.tools.ImageInfo", "-nopix", "-omexml-only", path],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return ome_types.from_xml(done.stdout[done.stdout.index("<?xml") :].encode())


def shapes(said: ome_types.OME) -> list[tuple]:
    """Sizes and pixel type of every image."""
    sizes = ("size_x", "size_y", "size_z", "size_c", "size_t", "type")
    return [tuple(getattr(image.pixels, name) for name in sizes) for image in said.images]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of microscope files: set SCOPE_AGENT_CORPUS")
@pytest.mark.parametrize("folder", sorted((EMBEDDED | ON_DEMAND) - {"metamorph-nd"}))
def test_bioformats_sees_the_images_of_every_set(folder: str, tmp_path: Path) -> None:
    """From an annotated file, and from the companion above the data, which leads to files that stay as they are."""
    for number, dataset in enumerate(tiffs(CORPUS / folder, tmp_path)):
        if dataset.main.name.startswith("orion"):
            continue  # it takes this file for another vendor's, as it does with the original
        acquisition, _, made = described(dataset)
        target = tmp_path / f"out{number}"
        files = [copy for _, copy, annotated in delivered(acquisition, made, target / "data") if annotated]
        companion = target / "metadata.companion.ome"
        companion.write_bytes(made.ome_xml)
        wanted = shapes(ome_types.from_xml(made.ome_xml))
        assert bool(files) == (folder in EMBEDDED)
        for file in files[-1:]:
            assert shapes(bioformats(file)) == wanted
        # A set of one file whose planes are not all there cannot be said from outside of it.
        if "explore" not in dataset.root.name:
            assert shapes(bioformats(companion)) == wanted


def test_bioformats_reads_what_a_canceled_run_left(tmp_path: Path) -> None:
    acquisition, _, made = described(registry.datasets_in(canceled_run(tmp_path))[0])
    ((_, copy, _),) = delivered(acquisition, made, tmp_path / "out")
    assert [shape[2:5] for shape in shapes(bioformats(copy))] == [(3, 2, 2)]


def test_bioformats_reads_what_was_embedded(tiff_run: Recorded, tmp_path: Path) -> None:
    copy, _ = annotated(tiff_run, tmp_path)
    theirs, ours = bioformats(copy), ome_types.from_tiff(copy)
    kept = ("instruments", "experimenters")
    before, after = (one.model_dump(mode="json", include=set(kept), exclude_unset=True) for one in (ours, theirs))
    assert lost(before, after) == []
    for mine, seen in zip(ours.images, theirs.images, strict=True):
        assert seen.name == mine.name
        assert seen.objective_settings.id == mine.objective_settings.id
        fields = ("size_x", "size_z", "size_c", "size_t", "type", "physical_size_x", "physical_size_z")
        assert [getattr(seen.pixels, f) for f in fields] == [getattr(mine.pixels, f) for f in fields]
        for ours_, theirs_ in zip(mine.pixels.channels, seen.pixels.channels, strict=True):
            assert theirs_.light_path.dichroic_ref.id == ours_.light_path.dichroic_ref.id
            assert theirs_.emission_wavelength == ours_.emission_wavelength
        times = [(p.the_z, p.the_c, p.the_t, p.exposure_time, p.position_z) for p in mine.pixels.planes]
        assert (
            times
            == [(p.the_z, p.the_c, p.the_t, p.exposure_time, p.position_z) for p in seen.pixels.planes][: len(times)]
        )
