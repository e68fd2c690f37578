"""One real run for all tests of this folder."""

import pytest

from tests.unit.snapshot.demo_runs import Recorded, record


@pytest.fixture(scope="session")
def tiff_run(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("tiff"), "out.ome.tif")


@pytest.fixture(scope="session")
def zarr_run(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("zarr"), "out.ome.zarr")
