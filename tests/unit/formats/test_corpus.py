"""Real files against what independent readers say of them."""

import os
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from ome_types import validate_xml

from agent.formats import Wholeness, identify, planes_on_disk
from agent.formats.inspection import inspect


def copy(item, tmp_path):
    """The corpus is read-only and shared: what is changed is a copy."""
    target = tmp_path / item.name
    if item.is_dir():
        shutil.copytree(item, target, copy_function=shutil.copyfile)
        for folder, _, _ in os.walk(target):
            Path(folder).chmod(0o755)
    else:
        shutil.copyfile(item, target)
    return target


@pytest.mark.parametrize(
    ("path", "format_name", "planes"),
    [
        ("ome-tiff/s_1_t_1_c_1_z_1.ome.tiff", "ome-tiff", 1),
        ("ome-tiff-multifile/tubhiswt-2D/tubhiswt_C1.ome.tif", "ome-tiff", 2),
        ("imagej-tiff/xy_16bit__nuclei_high_dynamic_range.tif", "imagej-tiff", 1),
        ("imagej-tiff/xyz_8bit__mitotic_plate_calibrated.tif", "imagej-tiff", 6),
        ("sem-tiff/fei-sem-rbc.tif", "sem-tiff", 1),
        ("tem-tiff/olympus_SIS.tif", "tem-tiff", 2),
        ("ome-zarr/WD1_15-02_WT_confocalonly/WD1_15-02_WT_confocalonly_segmented.zarr", "ome-zarr", 36),
    ],
)
def test_complete_files_are_whole(corpus, path, format_name, planes):
    found = inspect(corpus / path)
    assert (found.format, found.exit_code, found.planes) == (format_name, 0, planes), found.verdict
    assert found.metadata.errors == ()
    validate_xml(found.to_ome_xml())


def test_every_tiff_of_the_corpus_has_a_chain_that_ends(corpus, truths):
    """`evidence` was measured by another reader."""
    from agent.formats.tiff_layout import layout

    checked = 0
    for item in truths.values():
        for name, said in (item["completion"]["evidence"] or {}).items():
            if isinstance(said, dict) and "n_ifds" in said:
                paths = [corpus / f["path"] for f in item["files"] if f["path"].endswith(f"/{name}")]
                if len(paths) != 1 or not paths[0].is_file():
                    continue
                path = paths[0]
                found = layout(path)
                assert found.ifds == said["n_ifds"], path
                assert (found.verdict.state is Wholeness.WHOLE) == said["data_within_file"], (path, found.verdict)
                checked += 1
    assert checked >= 20


@pytest.mark.parametrize("item", ["ome-tiff/s_1_t_1_c_1_z_1.ome.tiff", "ome-tiff-multifile/tubhiswt-2D/"])
def test_the_metadata_says_what_the_truth_says(corpus, truths, item):
    truth = truths[item]["truth"]["ome"]
    path = corpus / item
    found = inspect(path).metadata.ome
    assert len(found.images) == truth["n_images"]
    for image, said in zip(found.images, truth["images"], strict=True):
        pixels = image.pixels
        assert image.name == said["name"]
        assert image.acquisition_date == datetime.fromisoformat(said["acq"])
        sizes = [pixels.size_x, pixels.size_y, pixels.size_z, pixels.size_c, pixels.size_t]
        assert sizes == said["size"]
        assert pixels.type.value == said["type"]
        lengths = [pixels.physical_size_x, pixels.physical_size_y, pixels.physical_size_z]
        assert lengths == pytest.approx(said["px"]) if said["px"][0] else lengths == said["px"]
        assert len(pixels.planes) == said["n_planes"]
        assert [block.uuid.file_name for block in pixels.tiff_data_blocks] == said["tiffdata_files"]
    for instrument, said in zip(found.instruments, truth["instruments"], strict=True):
        for objective, o in zip(instrument.objectives, said.get("objectives", []), strict=True):
            assert (objective.model, objective.lens_na, objective.nominal_magnification) == (
                o["model"],
                o["na"],
                o["mag"],
            )


def test_a_calibrated_imagej_stack(corpus):
    pixels = inspect(corpus / "imagej-tiff/xyz_8bit__mitotic_plate_calibrated.tif").metadata.ome.images[0].pixels
    assert (pixels.size_z, pixels.size_t, pixels.size_c) == (6, 1, 1)
    assert pixels.physical_size_x == pytest.approx(1000000 / 11737581)
    assert pixels.physical_size_x_unit.value == "µm"
    assert pixels.physical_size_z == 3.0


def test_a_set_waits_for_its_missing_file_and_names_it(corpus, tmp_path):
    folder = copy(corpus / "ome-tiff-multifile/tubhiswt-2D", tmp_path)
    other = folder / "tubhiswt_C1.ome.tif"
    moved = other.rename(tmp_path / other.name)
    main = folder / "tubhiswt_C0.ome.tif"
    dataset = identify(main).dataset(main)
    assert dataset.missing == ("tubhiswt_C1.ome.tif",)
    verdict = identify(main).is_whole(dataset)
    assert verdict.state is Wholeness.GROWING
    assert "tubhiswt_C1.ome.tif" in verdict.reason
    moved.rename(other)
    dataset = identify(other).dataset(other)
    assert identify(other).is_whole(dataset).state is Wholeness.WHOLE


def test_a_companion_names_its_absent_files(corpus):
    found = inspect(corpus / "ome-companion/c3_z33.companion.ome")
    assert found.exit_code == 3
    assert len(found.dataset.missing) == 3
    assert len(found.metadata.ome.images[0].pixels.planes) == 99


def test_a_renamed_single_file_is_still_itself(corpus, tmp_path):
    renamed = tmp_path / "renamed.ome.tif"
    shutil.copyfile(corpus / "ome-tiff/s_1_t_1_c_1_z_1.ome.tiff", renamed)
    found = inspect(renamed)
    assert (found.exit_code, found.dataset.files, found.dataset.missing) == (0, (renamed,), ())
    assert found.metadata.ome.images[0].pixels.tiff_data_blocks[0].uuid.file_name == "renamed.ome.tif"


def test_zarr_metadata_that_names_an_absent_array_is_not_whole(corpus, tmp_path):
    top = copy(corpus / "ome-zarr/WD1_15-02_WT_confocalonly/WD1_15-02_WT_confocalonly_segmented.zarr", tmp_path)
    chunk = top / "0/0/3/0/0/0/0"
    chunk.unlink()
    found = inspect(top)
    assert (found.verdict.state, found.planes, found.exit_code) == (Wholeness.UNKNOWN, 35, 3)
    shutil.rmtree(top / "0/1")
    found = inspect(top)
    assert found.verdict.state is Wholeness.GROWING
    assert found.dataset.missing == ("WD1_15-02_WT_confocalonly_segmented.zarr/0/1",)
    (top / "0/.zattrs").write_text('{"multiscales": [')
    assert "not complete JSON" in inspect(top).verdict.reason


def test_files_nobody_knows_are_said_to_be_unknown(corpus, tmp_path):
    (tmp_path / "notes.xyz").write_bytes(b"hello")
    found = inspect(tmp_path / "notes.xyz")
    assert (found.format, found.exit_code, found.planes) == ("unknown", 4, None)
    assert found.dataset.files == (tmp_path / "notes.xyz",)
    validate_xml(found.to_ome_xml())
    assert planes_on_disk(found.dataset) is None
