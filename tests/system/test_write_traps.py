"""Runs that end as completed and whose files say otherwise: each record says so (a real disk, real writers)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import Lab, acquire

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 6 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small file system")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def told(lab: Lab, kind: str, output: Path):
    """The acquisition, its record, and how the acquisition software ended."""
    with lab.daemon():
        process = acquire(kind, output, spool=lab.spool)
        _, errors = process.communicate(timeout=60)
        (run,) = lab.described(seconds=60)
    return run, lab.record(run), (process.returncode, errors)


@pytest.mark.parametrize("name", ["a.ome.tiff", "a.ome.zarr"])
def test_a_full_disk(tmp_path, small_disk, name):
    run, record, (code, errors) = told(Lab(tmp_path), "large", small_disk / name)
    assert code == 0, errors  # the software took it for completed
    assert run.frames == 40
    assert (record.finish_reason, record.actual.frames) == ("errored", 40)
    said = "OME-XML is cut off" if name.endswith("tiff") else "of 40 planes are on disk"
    assert any(said in note for note in record.integrity.notes), record.integrity.notes


def test_a_writer_that_outlives_the_end_and_loses_the_metadata(tmp_path):
    lab = Lab(tmp_path, settle={"quiet_s": 0.5, "patience_s": 60})
    run, record, (code, errors) = told(lab, "slow", lab.images / "a.ome.tiff")
    assert code == 0, errors
    # Every plane is there, for the agent waited for the writer; what it lost is said.
    assert (run.frames, record.actual.frames, record.finish_reason) == (26, 26, "errored")
    assert any("holds no OME-XML" in note for note in record.integrity.notes), record.integrity.notes


def test_a_writer_that_dies_with_its_process_after_the_end(tmp_path):
    lab = Lab(tmp_path, settle={"quiet_s": 0.5, "patience_s": 60})
    run, record, _ = told(lab, "torn", lab.images / "a.ome.tiff")
    assert (run.frames, record.finish_reason) == (26, "errored")
    assert any("announces" in note for note in record.integrity.notes), record.integrity.notes


def test_a_frame_that_stayed_in_the_camera_has_a_blank_plane_on_disk(tmp_path):
    lab = Lab(tmp_path)
    run, record, (code, errors) = told(lab, "missed", lab.images / "a.ome.tiff")
    assert code == 0, errors
    assert (run.frames, record.planned.frames, record.actual.frames) == (19, 20, 19)
    assert record.finish_reason == "errored"
    assert any(note.startswith("20 planes are on disk for 19 frames") for note in record.integrity.notes)
