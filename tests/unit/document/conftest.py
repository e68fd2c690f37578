"""Real runs for all tests of this folder; the recorder is shared with the snapshot's tests."""

from tests.unit.snapshot.conftest import tiff_run, zarr_run

__all__ = ["tiff_run", "zarr_run"]
