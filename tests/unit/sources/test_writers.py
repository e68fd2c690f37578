"""Who still writes: asked of the real kernel with real writers."""

import mmap
import subprocess
import sys

import pytest

from agent.sources.identity import Identity, identity, identity_of
from agent.sources.mounts import away_below, is_network
from agent.sources.quiet import Quiet
from agent.sources.writers import is_open_for_writing

linux = pytest.mark.skipif(sys.platform != "linux", reason="read leases are of Linux")


@linux
def test_an_open_writer_is_seen_and_a_closed_one_not(tmp_path):
    path = tmp_path / "a.tif"
    with path.open("wb"):
        assert is_open_for_writing(path) is True
    assert is_open_for_writing(path) is False
    with path.open("rb"):
        assert is_open_for_writing(path) is False


@linux
def test_a_memory_mapped_writer_is_seen_after_its_file_is_closed(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file:
        pages = mmap.mmap(file.fileno(), 4096)
    assert is_open_for_writing(path) is True
    pages.close()
    assert is_open_for_writing(path) is False


@linux
def test_a_writer_in_another_process_is_seen(tmp_path):
    path = tmp_path / "a.tif"
    code = "import sys; f = open(sys.argv[1], 'wb'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"open\n"
        assert is_open_for_writing(path) is True
        writer.stdin.close()
        assert writer.wait() == 0
    assert is_open_for_writing(path) is False


@linux
def test_probing_neither_delays_a_writer_nor_ends_this_process(tmp_path):
    """A writer that opens while the lease is held breaks it; the signal for that must not be deadly."""
    path = tmp_path / "a.tif"
    path.write_bytes(b"")
    code = """
import sys, time
worst = 0.0
for i in range(3000):
    began = time.perf_counter()
    with open(sys.argv[1], "ab") as file:
        file.write(b"x")
    worst = max(worst, time.perf_counter() - began)
print(worst)
"""
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    answers = {True: 0, False: 0, None: 0}
    while writer.poll() is None:
        answers[is_open_for_writing(path)] += 1
    worst = float(writer.communicate()[0])
    assert path.stat().st_size == 3000
    assert answers[True] > 0
    assert answers[False] > 0
    assert worst < 1.0, f"a write took {worst} s"


def test_a_vanished_file_is_an_error_and_other_things_are_not_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        is_open_for_writing(tmp_path / "none.tif")


@linux
def test_a_network_share_says_nothing_of_writers_elsewhere(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    path.write_bytes(b"")
    monkeypatch.setattr("agent.sources.writers.is_network", lambda _: True)
    assert is_open_for_writing(path) is None
    with path.open("wb"):
        assert is_open_for_writing(path) is True


def test_local_folders_are_no_network(tmp_path):
    assert is_network(tmp_path) is False
    assert is_network(tmp_path / "none") is None


def test_an_empty_mount_point_is_away_and_an_emptied_folder_is_not(tmp_path):
    device, number = identity_of(tmp_path.stat()).file_id.split(":")
    away = away_below([str(tmp_path)])
    assert not away(str(tmp_path / "a.tif"), f"{device}:{number}")
    assert away(str(tmp_path / "a.tif"), f"{int(device) + 1}:{number}")
    assert not away(str(tmp_path.parent / "a.tif"), f"{int(device) + 1}:{number}")
    (tmp_path / "b.tif").write_bytes(b"1")
    assert not away(str(tmp_path / "a.tif"), f"{int(device) + 1}:{number}")
    assert away_below([str(tmp_path / "none")])(str(tmp_path / "none/a.tif"), "")


def test_quiet_ignores_what_the_files_clock_says():
    quiet = Quiet()
    assert not quiet.settled("a", 100.0, 0)
    future = Identity(10, 9_000_000_000_000_000_000, "1:2")
    quiet.note("a", future, 100.0)
    assert not quiet.settled("a", 101.0, 5)
    quiet.note("a", future, 104.0)
    assert quiet.settled("a", 105.0, 5)
    for changed in (future._replace(size=11), future._replace(mtime_ns=1), future._replace(file_id="1:3")):
        quiet.note("a", changed, 200.0)
        assert not quiet.settled("a", 204.9, 5)
        assert quiet.settled("a", 205.0, 5)
        quiet.note("a", future, 206.0)
    quiet.note("a", None, 300.0)
    assert not quiet.settled("a", 400.0, 5)
    quiet.forget("a")
    quiet.note("a", future, 500.0)
    assert not quiet.settled("a", 500.1, 5)


def test_identity_is_of_regular_files_only(tmp_path):
    (tmp_path / "a").write_bytes(b"12")
    assert identity(tmp_path / "a").size == 2
    assert identity(tmp_path) is None
    assert identity(tmp_path / "none") is None
    assert identity("nul\0byte") is None
    before = identity(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert identity(tmp_path / "b") == before
