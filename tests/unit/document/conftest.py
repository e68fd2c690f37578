"""Real runs for all tests of this folder; the recorder is shared with the snapshot's tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "snapshot"))

from demo_runs import Recorded, record


@pytest.fixture(scope="session")
def tiff_run(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("tiff"), "out.ome.tif")


@pytest.fixture(scope="session")
def zarr_run(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("zarr"), "out.ome.zarr")
