"""Runs that are no full grid, which ome-writers stores as one row of frames: each plane finds its place again."""

import os
import shutil
from pathlib import Path

import ome_types
import pytest
import tifffile

from agent.document import Context, build
from agent.document.annotate import blocks, plan
from agent.snapshot import take
from tests.unit.document.test_ome_documents import errors, schema
from tests.unit.snapshot.demo_runs import Recorded, record

__all__ = ["schema"]
CONTEXT = Context("lab", "demo", "0.1.0", "0" * 64)
JAR = os.environ.get("SCOPE_AGENT_BIOFORMATS_JAR")
OWN_SEQUENCES = {
    "stage_positions": [
        {"x": 0, "y": 0, "name": "a"},
        {"x": 5, "y": 5, "name": "b", "sequence": {"z_plan": {"range": 2, "step": 1}}},
        {"x": 9, "y": 9, "sequence": {"time_plan": {"interval": 0, "loops": 2}}},
    ],
    "channels": [{"config": "DAPI", "exposure": 2}, {"config": "FITC", "exposure": 3}],
    "axis_order": "tpcz",
}
SKIPPING = {
    "channels": [{"config": "DAPI", "exposure": 2}, {"config": "FITC", "exposure": 3, "do_stack": False}],
    "z_plan": {"range": 2, "step": 1},
    "time_plan": {"interval": 0, "loops": 2},
}


def delivered(run: Recorded, folder: Path) -> tuple[Path, bytes]:
    """(the annotated copy, the companion)"""
    made = build(CONTEXT, run.acquisition, take(run.acquisition, run.profile, run.capture, run.metadata))
    (file,) = run.acquisition.files
    copy = folder / "out" / file.name
    copy.parent.mkdir()
    with copy.open("wb") as out:
        out.writelines(
            sent for _, sent in blocks(Path(file.path), plan(Path(file.path), made.embedded[file.name]), 4096)
        )
    return copy, made.ome_xml


@pytest.mark.parametrize(
    ("sequence", "shapes"),
    [(OWN_SEQUENCES, [(1, 2, 1), (3, 2, 1), (1, 2, 2)]), (SKIPPING, [(3, 2, 2)])],
    ids=["own sequences", "skipping"],
)
def test_a_row_in_a_tiff_is_described_as_the_run_that_it_was(
    schema, tmp_path: Path, sequence: dict, shapes: list[tuple[int, int, int]]
) -> None:
    run = record(tmp_path / "run", "out.ome.tiff", sequence)
    copy, companion = delivered(run, tmp_path)
    frames = run.capture.frames
    with tifffile.TiffFile(copy) as tiff:
        embedded = tiff.pages[0].description.encode()
    for text in (companion, embedded):
        assert errors(schema, text) == []
        said = ome_types.from_xml(text)
        assert [(i.pixels.size_z, i.pixels.size_c, i.pixels.size_t) for i in said.images] == shapes
        assert all([c.name for c in i.pixels.channels] == ["DAPI", "FITC"] for i in said.images)
        assert sum(len(image.pixels.planes) for image in said.images) == len(frames)
        for number, image in enumerate(said.images):
            planes = {(p.the_z, p.the_c, p.the_t): p for p in image.pixels.planes}
            placed = {(b.first_z, b.first_c, b.first_t): b.ifd for b in image.pixels.tiff_data_blocks}
            assert placed.keys() == planes.keys()
            for (z, c, t), ifd in placed.items():
                # The directory that a plane is sent to is the frame that was taken there, in the order of arrival.
                index = dict(zip(frames.axes, frames.index[ifd], strict=True))
                taken = {axis: max(place, 0) for axis, place in index.items()}
                assert {"p": number, "z": z, "c": c, "t": t} | taken == {"p": number, "z": z, "c": c, "t": t}
                assert planes[z, c, t].exposure_time == pytest.approx(frames.exposure_ms[ifd] / 1000)
                assert planes[z, c, t].position_x == pytest.approx(frames.x_um[ifd], abs=0.02)
    with tifffile.TiffFile(copy) as tiff, tifffile.TiffFile(run.acquisition.files[0].path) as source:
        assert [p.asarray().tobytes() for p in tiff.pages] == [p.asarray().tobytes() for p in source.pages]
        assert sum(page is not None for series in tiff.series for page in series.pages) == len(frames)
    if JAR and shutil.which("java"):
        from tests.unit.document.test_bioformats import bioformats
        from tests.unit.document.test_bioformats import shapes as seen

        assert [shape[2:5] for shape in seen(bioformats(copy))] == shapes


def test_a_row_in_a_zarr_says_of_each_plane_where_it_belongs(schema, tmp_path: Path) -> None:
    """Arrays cannot be addressed plane by plane: the document keeps their shape."""
    run = record(tmp_path / "run", "out.ome.zarr", OWN_SEQUENCES)
    made = build(CONTEXT, run.acquisition, take(run.acquisition, run.profile, run.capture, run.metadata))
    said = ome_types.from_xml(made.ome_xml)
    assert errors(schema, made.ome_xml) == []
    (image,) = said.images
    frames = run.capture.frames
    assert (image.pixels.size_z, image.pixels.size_c, image.pixels.size_t) == (1, 1, len(frames))
    known = {one.id: {m.k: m.value for m in one.value.ms} for one in said.structured_annotations.map_annotations}
    names = {0: "a", 1: "b", 2: "2"}
    for plane in image.pixels.planes:
        (ref,) = plane.annotation_refs
        index = dict(zip(frames.axes, frames.index[plane.the_t], strict=True))
        assert known[ref.id]["Channel"] == ("DAPI", "FITC")[index["c"]]
        assert known[ref.id]["Position"] == names[index["p"]]
        assert plane.exposure_time == pytest.approx(frames.exposure_ms[plane.the_t] / 1000)
