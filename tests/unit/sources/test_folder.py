"""The folder source on real folders with the real watchdog: nothing is missed."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agent.sources.events import FileSeen, FilesGone, WatchLost
from agent.sources.folder import FolderSource
from agent.sources.identity import identity
from agent.sources.settings import WatchSettings


def source(root, mode="events", known=None, max_pending=65536, **more):
    defaults = {"reconcile_s": 3600, "poll_s": 3600}
    settings = WatchSettings(path=root, mode=mode, **{**defaults, **more})
    return FolderSource(settings, known, max_pending=max_pending)


class Heard:
    """Polls a source until a condition holds and keeps everything it said."""

    def __init__(self, folder):
        self.folder = folder
        self.events, self.gone = [], []
        self.longest = 0.0

    @property
    def paths(self):
        return [event.path for event in self.events if isinstance(event, FileSeen)]

    @property
    def lost(self):
        return [event.reason for event in self.events if isinstance(event, WatchLost)]

    def until(self, condition, seconds=10.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            self.hear()
            self.longest = max(self.longest, time.monotonic() - began)
            if condition():
                return self
            time.sleep(0.01)
        raise AssertionError(f"not within {seconds} s: {len(self.paths)} files, lost {self.lost}")

    def hear(self):
        heard = self.folder.poll()
        self.events += [event for event in heard if not isinstance(event, FilesGone)]
        self.gone += [event for event in heard if isinstance(event, FilesGone)]

    def settle(self, seconds=0.4):
        """Poll on for a while, so that what must not come can come."""
        end = time.monotonic() + seconds
        return self.until(lambda: time.monotonic() >= end, seconds + 5)


@pytest.fixture
def watch():
    running = []

    def start(*args, **kwargs):
        folder = source(*args, **kwargs)
        folder.start()
        running.append(folder)
        return Heard(folder)

    yield start
    for folder in running:
        folder.stop()
    assert not [t for t in threading.enumerate() if "notify" in type(t).__name__.lower()]


@pytest.mark.parametrize("mode", ["events", "poll"])
def test_files_from_before_and_after_the_start_are_told_once(tmp_path, watch, mode):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/before.tif").write_bytes(b"1")
    heard = watch(tmp_path, mode, poll_s=0.1)
    heard.until(lambda: heard.paths == [str(tmp_path / "a/before.tif")])
    (tmp_path / "after.tif").write_bytes(b"22")
    heard.until(lambda: str(tmp_path / "after.tif") in heard.paths)
    heard.settle()
    assert sorted(set(heard.paths)) == [str(tmp_path / "a/before.tif"), str(tmp_path / "after.tif")]
    assert heard.paths.count(str(tmp_path / "a/before.tif")) == 1
    last = heard.events[-1]
    assert (last.size, last.mtime_ns, last.file_id) == identity(tmp_path / "after.tif")
    assert heard.lost == []


def test_a_growing_file_is_told_again(tmp_path, watch):
    heard = watch(tmp_path)
    with (tmp_path / "grows.tif").open("wb", buffering=0) as file:
        for size in (100, 200, 300):
            file.write(b"x" * 100)
            heard.until(lambda size=size: any(getattr(e, "size", 0) == size for e in heard.events))


def test_our_own_reading_tells_nothing(tmp_path, watch):
    file = tmp_path / "a.tif"
    file.write_bytes(b"1")
    heard = watch(tmp_path)
    heard.until(lambda: heard.paths)
    for _ in range(20):
        file.read_bytes()
    assert len(heard.settle().paths) == 1


@pytest.mark.parametrize("mode", ["events", "poll"])
@pytest.mark.parametrize(
    "name",
    [
        ".hidden",
        "~$report.docx",
        "a.tmp",
        "A.PARTIAL",
        "a.tif.crdownload",
        "Thumbs.db",
        "desktop.ini",
        ".git/config",
        "skip/a.tif",
        "deep/skip/b/a.tif",
        "a.txt",
    ],
)
def test_excluded_names_are_never_told(tmp_path, watch, name, mode):
    heard = watch(tmp_path, mode, poll_s=0.05, include=("*.tif*", "*.d*", "*.t?p"), exclude=("skip",))
    heard.until(lambda: heard.folder.idle)
    for one in (name, "good.tif"):
        (tmp_path / one).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one).write_bytes(b"1")
    heard.until(lambda: str(tmp_path / "good.tif") in heard.paths).settle(0.15)
    assert set(heard.paths) == {str(tmp_path / "good.tif")}


def test_patterns_with_a_slash_mean_the_path_below_the_folder(tmp_path, watch):
    for name in ("data/run1/a.tif", "data/a.tif", "other/a.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    heard = watch(tmp_path, include=("data/*/*.tif",))
    assert heard.settle().paths == [str(tmp_path / "data/run1/a.tif")]


def test_a_temporary_name_that_is_renamed_is_told_under_its_final_name(tmp_path, watch):
    heard = watch(tmp_path)
    heard.until(lambda: heard.folder.idle)
    (tmp_path / "a.tif.part").write_bytes(b"1")
    before = identity(tmp_path / "a.tif.part")
    (tmp_path / "a.tif.part").rename(tmp_path / "a.tif")
    heard.until(lambda: heard.paths == [str(tmp_path / "a.tif")])
    assert heard.events[-1].file_id == before.file_id


def test_a_renamed_folder_tells_its_files_with_the_same_identity(tmp_path, watch):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/a.tif").write_bytes(b"1")
    heard = watch(tmp_path)
    heard.until(lambda: len(heard.paths) == 1)
    (tmp_path / "old").rename(tmp_path / "new")
    heard.until(lambda: str(tmp_path / "new/a.tif") in heard.paths)
    assert len({event.file_id for event in heard.events}) == 1


@pytest.mark.parametrize(("old", "new"), [("a.tif", "A.TIF"), ("a.tif", "sub/b.tif"), ("sub", "bus")])
def test_the_old_name_of_what_was_moved_is_told_to_be_gone_without_a_walk(tmp_path, watch, old, new):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.tif").write_bytes(b"1")
    (tmp_path / "sub/c.tif").write_bytes(b"2")
    heard = watch(tmp_path)
    heard.until(lambda: heard.folder.idle and len(heard.paths) == 2)
    heard.gone.clear()
    (tmp_path / old).rename(tmp_path / new)
    heard.until(lambda: str(tmp_path / old) in [event.path for event in heard.gone])
    heard.settle()
    assert [event.path for event in heard.gone] == [str(tmp_path / old)], "each file of a folder was told, too"


@pytest.mark.skipif(sys.platform != "linux", reason="the maps of watchdog for inotify")
def test_folders_that_took_the_names_of_others_do_not_keep_it_from_stopping(tmp_path):
    """watchdog's two maps disagree then, and it raised KeyError."""
    (tmp_path / "a/deep").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    folder = source(tmp_path)
    folder.start()
    heard = Heard(folder).until(lambda: folder.idle and folder._watch is not None)
    group = next(iter(folder._watch._observer.emitters))._inotify
    group._active_callbacks_by_path.pop(os.fsencode(tmp_path / "a/deep"))
    before = threading.active_count()
    folder.stop()
    assert threading.active_count() < before
    assert not heard.lost


def test_a_folder_moved_in_from_elsewhere_is_found(tmp_path, watch):
    (tmp_path / "watched").mkdir()
    (tmp_path / "elsewhere/sub").mkdir(parents=True)
    (tmp_path / "elsewhere/sub/a.tif").write_bytes(b"1")
    heard = watch(tmp_path / "watched")
    heard.until(lambda: heard.folder.idle)
    (tmp_path / "elsewhere").rename(tmp_path / "watched/in")
    heard.until(lambda: heard.paths == [str(tmp_path / "watched/in/sub/a.tif")])


_BURST = """
import os, sys
root, count, folders = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for i in range(count):
    folder = os.path.join(root, f"d{i % folders}") if folders else root
    if folders:
        os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"f{i:05}.tif"), "wb") as file:
        file.write(b"x")
"""


@pytest.mark.parametrize("folders", [0, 50])
def test_a_burst_into_a_small_queue_loses_nothing_and_says_so(tmp_path, watch, folders):
    heard = watch(tmp_path, max_pending=64)
    heard.until(lambda: heard.folder.idle)
    writer = subprocess.Popen([sys.executable, "-c", _BURST, str(tmp_path), "5000", str(folders)])
    time.sleep(0.3)  # the queue fills while nobody polls
    heard.until(lambda: len(set(heard.paths)) == 5000, 30)
    assert writer.wait() == 0
    assert any("64 files changed at once" in reason for reason in heard.lost)
    assert heard.longest < 1.0


def test_the_kernel_queue_overflows_and_nothing_is_lost(tmp_path, watch):
    """watchdog says nothing of it to its users: it only logs."""
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    if not limit.exists() or not os.access(limit, os.W_OK):
        pytest.skip("the kernel's queue length cannot be set here")
    before = limit.read_text()
    limit.write_text("32")
    try:
        heard = watch(tmp_path)
        heard.until(lambda: heard.folder.idle)
    finally:
        limit.write_text(before)
    subprocess.run([sys.executable, "-c", _BURST, str(tmp_path), "5000", "0"], check=True)
    heard.until(lambda: len(set(heard.paths)) == 5000, 30)
    assert any("overflowed" in reason for reason in heard.lost)


def test_files_in_folders_born_in_the_same_burst_are_found(tmp_path, watch):
    heard = watch(tmp_path)
    heard.until(lambda: heard.folder.idle)
    for i in range(60):
        folder = tmp_path / f"run{i}/pos0/deep"
        folder.mkdir(parents=True)
        (folder / "a.tif").write_bytes(b"1")
        (folder.parent / "b.tif").write_bytes(b"1")
    heard.until(lambda: len(set(heard.paths)) == 120)


def test_what_the_events_missed_the_next_walk_finds(tmp_path, watch, monkeypatch):
    heard = watch(tmp_path, reconcile_s=0.3)
    heard.until(lambda: heard.folder.idle)
    monkeypatch.setattr("agent.sources.folder_events.EventWatch.on_event", lambda *_: None)
    deaf = watch(tmp_path, reconcile_s=0.3)
    deaf.until(lambda: deaf.folder.idle)
    (tmp_path / "a.tif").write_bytes(b"1")
    deaf.until(lambda: deaf.paths == [str(tmp_path / "a.tif")], 3)


@pytest.mark.parametrize("mode", ["events", "poll"])
def test_a_vanished_folder_is_said_once_and_recovered(tmp_path, watch, mode):
    root = tmp_path / "share"
    root.mkdir()
    (root / "a.tif").write_bytes(b"1")
    heard = watch(root, mode, poll_s=0.1)
    heard.until(lambda: len(heard.paths) == 1)
    root.rename(tmp_path / "gone")
    heard.until(lambda: heard.lost).settle()
    assert heard.lost == ["the folder is away"]
    (tmp_path / "gone/while_away.tif").write_bytes(b"1")
    (tmp_path / "gone").rename(root)
    heard.until(lambda: str(root / "while_away.tif") in heard.paths)
    (root / "later.tif").write_bytes(b"1")
    heard.until(lambda: str(root / "later.tif") in heard.paths)
    assert heard.lost == ["the folder is away"]


@pytest.mark.parametrize("how", ["vanishes", "stops"])
def test_a_walk_that_is_cut_short_is_done_again(tmp_path, watch, how):
    root = tmp_path / "share"
    subprocess.run([sys.executable, "-c", _BURST, str(root), "5000", "8"], check=True)
    heard = watch(root)
    heard.hear()
    assert 0 < len(heard.paths) < 5000
    if how == "vanishes":
        root.rename(tmp_path / "gone")
        heard.until(lambda: heard.lost)
        (tmp_path / "gone").rename(root)
    else:
        heard.folder.stop()
        heard.folder.start()
    heard.until(lambda: len(set(heard.paths)) == 5000)


def test_a_folder_that_is_not_there_at_the_start_is_waited_for(tmp_path, watch):
    heard = watch(tmp_path / "later")
    heard.until(lambda: heard.lost == ["the folder is away"])
    (tmp_path / "later").mkdir()
    (tmp_path / "later/a.tif").write_bytes(b"1")
    heard.until(lambda: heard.paths == [str(tmp_path / "later/a.tif")])


def test_a_replaced_folder_is_watched_anew(tmp_path, watch):
    root = tmp_path / "data"
    root.mkdir()
    heard = watch(root)
    heard.until(lambda: heard.folder.idle)
    root.rename(tmp_path / "old")
    root.mkdir()
    (root / "new.tif").write_bytes(b"1")
    heard.until(lambda: heard.paths == [str(root / "new.tif")])
    assert len(heard.lost) == 1
    (root / "newer.tif").write_bytes(b"1")
    heard.until(lambda: len(heard.paths) == 2)


def test_a_dead_watcher_is_started_again(tmp_path, watch):
    heard = watch(tmp_path)
    heard.until(lambda: heard.folder.idle)
    heard.folder._watch._observer.stop()
    heard.folder._watch._observer.join()
    (tmp_path / "a.tif").write_bytes(b"1")
    heard.until(lambda: heard.paths == [str(tmp_path / "a.tif")])
    assert heard.lost == ["the watcher died and is started again"]
    (tmp_path / "b.tif").write_bytes(b"1")
    heard.until(lambda: len(heard.paths) == 2)


@pytest.mark.skipif(sys.platform != "linux", reason="the reader thread is of Linux")
def test_a_dead_reader_behind_the_watcher_is_noticed(tmp_path, watch):
    from agent.sources.folder_events import _threads

    heard = watch(tmp_path)
    heard.until(lambda: heard.folder.idle)
    reader = _threads(next(iter(heard.folder._watch._observer.emitters)))[1]
    reader.stop()
    (tmp_path / "a.tif").write_bytes(b"1")
    reader.join(2)
    heard.until(lambda: heard.paths == [str(tmp_path / "a.tif")])
    assert heard.lost == ["the watcher died and is started again"]
    (tmp_path / "b.tif").write_bytes(b"1")
    heard.until(lambda: len(heard.paths) == 2)


def test_a_folder_without_watches_left_is_walked(tmp_path, watch, monkeypatch):
    def full(_):
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("agent.sources.folder_events.EventWatch.start", full)
    heard = watch(tmp_path, poll_s=0.1)
    (tmp_path / "a.tif").write_bytes(b"1")
    heard.until(lambda: heard.paths)
    (tmp_path / "b.tif").write_bytes(b"1")
    heard.until(lambda: len(heard.paths) == 2)
    assert len(heard.lost) == 1
    assert "walked instead" in heard.lost[0]


def test_known_files_are_not_told_unless_they_changed(tmp_path, watch):
    for name in ("same.tif", "changed.tif", "new.tif"):
        (tmp_path / name).write_bytes(b"1")
    book = {str(tmp_path / name): tuple(identity(tmp_path / name)) for name in ("same.tif", "changed.tif")}
    (tmp_path / "changed.tif").write_bytes(b"22")
    heard = watch(tmp_path, known=book.get).settle()
    assert sorted(heard.paths) == [str(tmp_path / "changed.tif"), str(tmp_path / "new.tif")]


def test_links_and_loops_are_not_followed(tmp_path, watch):
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "root/sub/a.tif").write_bytes(b"1")
    (tmp_path / "secret.tif").write_bytes(b"1")
    try:
        (tmp_path / "root/sub/loop").symlink_to(tmp_path / "root", target_is_directory=True)
        (tmp_path / "root/link.tif").symlink_to(tmp_path / "secret.tif")
    except OSError:
        pytest.skip("symbolic links need a privilege here")
    heard = watch(tmp_path / "root").settle()
    assert heard.paths == [str(tmp_path / "root/sub/a.tif")]


def test_odd_names_and_times_are_told_as_they_are(tmp_path, watch):
    names = ["in the future.tif", "ä.tif", "a\u0308.tif", "x" * 200 + ".tif", "日本語.tif", "a%20b#?.tif"]
    if os.name == "nt":
        names.remove("a%20b#?.tif")
    heard = watch(tmp_path)
    heard.until(lambda: heard.folder.idle)
    deep = tmp_path.joinpath(*["folder" * 8] * 8)
    if os.name != "nt":
        deep.mkdir(parents=True)
        names.append(str((deep / "deep.tif").relative_to(tmp_path)))
    for name in names:
        (tmp_path / name).write_bytes(b"1")
    os.utime(tmp_path / names[0], (4e9, 4e9))
    heard.until(lambda: {str(tmp_path / name) for name in names} <= set(heard.paths))


def test_one_poll_stays_short_on_a_big_folder(tmp_path, watch):
    subprocess.run([sys.executable, "-c", _BURST, str(tmp_path), "6000", "20"], check=True)
    heard = watch(tmp_path)
    heard.until(lambda: len(heard.paths) == 6000, 30)
    assert len(set(heard.paths)) == 6000
    assert heard.longest < 0.5


def test_forgotten_files_leave_the_memory(tmp_path, watch):
    for i in range(50):
        (tmp_path / f"{i}.tif").write_bytes(b"1")
    heard = watch(tmp_path, "poll", poll_s=0.05)
    heard.until(lambda: len(heard.folder._walks.told) == 50)
    for i in range(50):
        (tmp_path / f"{i}.tif").unlink()
    heard.until(lambda: not len(heard.folder._walks.told))


def test_stop_ends_the_threads_quickly_and_start_works_again(tmp_path):
    folder = source(tmp_path)
    heard = Heard(folder)
    before = threading.active_count()
    for name in ("a.tif", "b.tif"):
        folder.start()
        (tmp_path / name).write_bytes(b"1")
        heard.until(lambda name=name: str(tmp_path / name) in heard.paths)
        began = time.monotonic()
        folder.stop()
        folder.stop()
        assert time.monotonic() - began < 2
        assert threading.active_count() == before
        assert folder.poll() == []
    assert len(heard.paths) == 2
