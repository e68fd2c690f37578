"""Bio-Formats reads an annotated OME-TIFF as we mean it; SCOPE_AGENT_BIOFORMATS_JAR names its package."""

import os
import shutil
import subprocess
from pathlib import Path

import ome_types
import pytest

from tests.unit.document.test_corpus_round_trip import lost
from tests.unit.document.test_ome_documents import annotated
from tests.unit.snapshot.demo_runs import Recorded

JAR = os.environ.get("SCOPE_AGENT_BIOFORMATS_JAR")


@pytest.mark.slow
@pytest.mark.skipif(not JAR or not shutil.which("java"), reason="SCOPE_AGENT_BIOFORMATS_JAR is not set, or no java")
def test_bioformats_reads_what_was_embedded(tiff_run: Recorded, tmp_path: Path) -> None:
    copy, _ = annotated(tiff_run, tmp_path)
    done = subprocess.run(
        ["java", "-Xmx1g", "-cp", JAR, "loci.formats.tools.ImageInfo", "-nopix", "-omexml-only", copy],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    theirs = ome_types.from_xml(done.stdout[done.stdout.index("<?xml") :].encode())
    ours = ome_types.from_tiff(copy)
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
