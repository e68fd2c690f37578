"""The daemon and acquisitions in processes of their own: hook, folder and log tell of the same runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from agent.acquisition import FoundBy, State
from agent.sources.events import FinishReason
from agent.sources.mmlog import FOUND_BY
from tests.lab import Lab, acquire

pytestmark = pytest.mark.system


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def finish(process) -> None:
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


@pytest.mark.parametrize(
    ("kind", "name", "frames", "files"),
    [
        ("plain", "a.ome.tiff", 6, 1),
        ("positions", "a.ome.tiff", 6, 2),
        ("positions", "a.ome.zarr", 6, None),
        ("burst", "a.ome.tiff", 20, 1),
    ],
)
def test_a_run_seen_by_hook_folder_and_log_is_one(lab, kind, name, frames, files):
    log = lab.logs / "pymmcore-plus.log"
    with lab.daemon():
        finish(acquire(kind, lab.images / name, spool=lab.spool, log=log))
        (run,) = lab.described()
        time.sleep(3)  # by then the log would have told, and the folder
        assert lab.acquisitions() == lab.until(lambda found: len(found) == 1)
    assert (run.reason, run.frames, run.found_by) == (FinishReason.COMPLETED, frames, FoundBy.BOTH)
    assert files is None or len(run.files) == files
    record = lab.record(run)
    assert (record.source, record.actual.frames, record.integrity.notes) == ("both", frames, [])


def test_a_daemon_that_was_away_finds_one_run(lab):
    finish(acquire("plain", lab.images / "a.ome.tiff", spool=lab.spool))
    with lab.daemon():
        lab.described()
        time.sleep(2)
        (run,) = lab.acquisitions()
    assert (run.reason, run.frames) == (FinishReason.COMPLETED, 6)


def test_a_run_that_the_hook_missed_is_found_in_the_log_with_its_files(lab):
    log = lab.logs / "pymmcore-plus.log"
    with lab.daemon():
        finish(acquire("plain", lab.images / "a.ome.tiff", log=log))
        (run,) = lab.described()
        time.sleep(2)
        assert len(lab.acquisitions()) == 1
    assert (run.found_by, run.frames, Path(run.main).name) == (FoundBy.WATCH, 6, "a.ome.tiff")
    record = lab.record(run)
    assert record.software["found_by"] == FOUND_BY
    assert "its files were found by their time" in record.integrity.notes


def test_a_run_that_only_the_log_tells_of_says_so(lab):
    with lab.daemon():
        finish(acquire("plain", log=lab.logs / "pymmcore-plus.log"))
        (run,) = lab.described()
    record = lab.record(run)
    assert (record.software["found_by"], record.finish_reason, record.files) == (FOUND_BY, "unknown", [])
    assert any("no file of this run was found" in note for note in record.integrity.notes)


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_process_that_dies_is_noticed_within_seconds_and_what_it_wrote_is_delivered(lab):
    with lab.daemon():
        process = acquire("long", lab.images / "a.ome.zarr", spool=lab.spool)
        lab.until(lambda found: bool(found) and (lab.images / "a.ome.zarr").exists())
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed = time.monotonic()
        lab.until(lambda found: found[0].state is not State.ACQUIRING, 10)
        noticed = time.monotonic() - killed
        (run,) = lab.described()
    assert noticed < 6
    assert (run.reason, run.plan.frames) == (FinishReason.ABORTED, 4000)
    assert 5 < run.frames < 4000
    assert run.files
    record = lab.record(run)
    assert (record.finish_reason, record.planned.frames, record.actual.frames) == ("aborted", 4000, run.frames)


def test_snaps_live_mode_and_generators_do_not_choke_the_daemon(lab):
    with lab.daemon():
        for kind in ("around", "generator"):
            finish(acquire(kind, spool=lab.spool))
        runs = lab.described(2)
    assert sorted(run.frames for run in runs) == [1, 3]
    assert {run.reason for run in runs} == {FinishReason.COMPLETED}
