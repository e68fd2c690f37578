"""What pymmcore-plus and ome-writers really write: complete, cancelled and killed."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from ome_types import validate_xml

from agent.formats import Wholeness, datasets_in, datasets_written_to, identify, planes_on_disk
from agent.formats.inspection import inspect


def only(folder):
    (dataset,) = datasets_in(folder)
    return dataset, identify(dataset.main).is_whole(dataset), identify(dataset.main).metadata(dataset)


def check_images(ome, names):
    assert [image.name for image in ome.images] == names
    for position, image in enumerate(ome.images):
        pixels = image.pixels
        sizes = (pixels.size_x, pixels.size_y, pixels.size_z, pixels.size_c, pixels.size_t)
        assert sizes == (64, 48, 3, 2, 2)
        assert pixels.type.value == "uint8"
        assert [channel.name for channel in pixels.channels] == ["DAPI", "FITC"]
        assert (pixels.physical_size_x, pixels.physical_size_y, pixels.physical_size_z or 1.0) == (0.65, 0.65, 1.0)
        assert pixels.physical_size_x_unit.value == "µm"
        assert abs(image.acquisition_date - datetime.now(UTC)) < timedelta(minutes=10)
        assert len(pixels.planes) == 12
        assert {(p.the_t, p.the_c, p.the_z) for p in pixels.planes} == {
            (t, c, z) for t in range(2) for c in range(2) for z in range(3)
        }
        assert all(p.exposure_time == 0.002 for p in pixels.planes)
        assert all(abs(p.position_x - 10 * position) < 0.1 for p in pixels.planes)


def test_a_file_for_each_position_is_one_whole_dataset(demo):
    first, second = sorted((demo / "x").iterdir())
    assert [first.name, second.name] == ["x_p000.ome.tiff", "x_p001.ome.tiff"]
    found = identify(second)
    dataset = found.dataset(second)
    assert found.name == dataset.format == "ome-tiff"
    assert dataset == found.dataset(first)
    assert dataset.files == (first, second)
    assert (dataset.main, dataset.root, dataset.missing) == (first, demo / "x", ())
    assert found.is_whole(dataset).state is Wholeness.WHOLE
    assert planes_on_disk(dataset) == 24
    ome = found.metadata(dataset).ome
    check_images(ome, ["0", "1"])
    files = [image.pixels.tiff_data_blocks[0].uuid.file_name for image in ome.images]
    assert files == [first.name, second.name]


def test_a_zarr_folder_is_one_whole_dataset_from_any_of_its_files(demo):
    top = demo / "y.ome.zarr"
    answers = [identify(path).dataset(path) for path in (top, top / "zarr.json", top / "0/0/c/0/0/0/0/0")]
    assert answers[0] == answers[1] == answers[2]
    dataset = answers[0]
    assert (dataset.format, dataset.main, dataset.root) == ("ome-zarr", top, demo)
    assert len(dataset.files) == 24 + 6
    assert all(path.is_file() for path in dataset.files)
    assert identify(top).is_whole(dataset).state is Wholeness.WHOLE
    assert planes_on_disk(dataset) == 24
    check_images(identify(top).metadata(dataset).ome, ["y.ome.zarr/0", "y.ome.zarr/1"])


def test_one_position_is_one_file(acquire):
    dataset, verdict, metadata = only(acquire("x.ome.tiff", positions=1))
    assert [path.name for path in dataset.files] == ["x.ome.tiff"]
    assert verdict.state is Wholeness.WHOLE
    assert planes_on_disk(dataset) == 12
    check_images(metadata.ome, ["0"])


@pytest.mark.parametrize("positions", [1, 2])
def test_a_cancelled_run_is_closed_with_the_planes_that_were_taken(acquire, positions):
    dataset, verdict, metadata = only(acquire("x.ome.tiff", how="cancel", positions=positions))
    assert verdict.state is Wholeness.WHOLE, verdict
    assert planes_on_disk(dataset) in (7, 8)
    assert sum(len(image.pixels.planes) for image in metadata.ome.images) == planes_on_disk(dataset)


@pytest.mark.parametrize("positions", [1, 2])
def test_a_killed_run_is_never_called_whole(acquire, positions):
    dataset, verdict, _ = only(acquire("x.ome.tiff", how="kill", positions=positions))
    assert verdict.state is Wholeness.GROWING, verdict
    assert planes_on_disk(dataset) < 7


def test_a_killed_zarr_run_proves_nothing(acquire):
    dataset, verdict, _ = only(acquire("y.ome.zarr", how="kill"))
    assert verdict.state is Wholeness.UNKNOWN
    assert planes_on_disk(dataset) <= 7


@pytest.mark.parametrize("name", ["x", "y.ome.zarr"])
def test_inspect_gives_valid_xml_and_touches_nothing(demo, name):
    def state():
        return {
            (str(p), p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest())
            for p in (demo / name).rglob("*")
            if p.is_file()
        }

    before = state()
    found = inspect(demo / name)
    assert found.exit_code == 0
    text = found.to_ome_xml()
    validate_xml(text)
    assert text.count("<Image ") == 2
    assert '"planes_on_disk": 24' in found.to_json()
    assert state() == before


def test_what_was_written_is_found_from_what_was_said(demo, acquire, tmp_path):
    assert not (demo / "x.ome.tiff").exists()
    (set_of_two,) = datasets_written_to(demo / "x.ome.tiff")
    assert [path.name for path in set_of_two.files] == ["x_p000.ome.tiff", "x_p001.ome.tiff"]
    (zarr,) = datasets_written_to(demo / "y.ome.zarr")
    assert zarr.main == demo / "y.ome.zarr"
    (folder,) = datasets_written_to(demo / "x")
    assert folder == set_of_two
    (beside,) = datasets_written_to(acquire("x.ome.tiff", positions=1) / "x.ome.tiff")
    assert len(beside.files) == 1
    for file in set_of_two.files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (flat,) = datasets_written_to(tmp_path / "x.ome.tiff")
    assert len(flat.files) == 2
    assert datasets_written_to(tmp_path / "none/z.ome.tiff") == []
