"""When a folder is walked whole and when only what changed is listed; nothing is missed in between."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.sources.events import FileSeen, FilesGone
from agent.sources.folder import FolderSource
from agent.sources.settings import WatchSettings
from agent.testing.clock import HeldClock


class Costly(HeldClock):
    """A clock on which every look costs time, so that whole walks are long."""

    def __init__(self, cost_s: float) -> None:
        super().__init__(4_000_000_000 * 10**9)  # long after every file's time: folders at rest
        self.cost_s = cost_s

    def monotonic(self) -> float:
        self.pass_(self.cost_s)
        return super().monotonic()


class Polled:
    def __init__(self, root: Path, cost_s: float = 0.0, poll_s: float = 10.0) -> None:
        self.clock = Costly(cost_s)
        self.source = FolderSource(WatchSettings(path=root, mode="poll", poll_s=poll_s), clock=self.clock)
        self.source.start()
        self.kinds: list[str] = []

    def turn(self, seconds: float = 0.0) -> tuple[list[str], list[str]]:
        """Names of the files that were told, and of what may be gone, until the source rests."""
        self.clock.pass_(seconds)
        events = self.source.poll()
        while not self.source.idle:
            kind = self.source._walks._kind
            if kind is not None and self.kinds[-1:] != [kind.value]:
                self.kinds.append(kind.value)
            events += self.source.poll()
        told = [Path(event.path).name for event in events if isinstance(event, FileSeen)]
        return sorted(told), [Path(event.path).name for event in events if isinstance(event, FilesGone)]


def fill(root: Path, folders: int = 20, files: int = 30) -> None:
    for number in range(folders):
        folder = root / f"d{number:02}"
        folder.mkdir()
        for index in range(files):
            (folder / f"{number:02}-{index:02}.tif").write_bytes(b"1")


def test_between_two_whole_walks_only_folders_that_changed_are_listed(tmp_path, monkeypatch):
    fill(tmp_path)
    polled = Polled(tmp_path, cost_s=0.3)
    assert len(polled.turn()[0]) == 600
    listed: list[str] = []
    real = os.scandir
    monkeypatch.setattr("agent.sources.walk.os.scandir", lambda path: (listed.append(str(path)), real(path))[1])
    (tmp_path / "d07" / "new.tif").write_bytes(b"1")
    (tmp_path / "d11" / "11-03.tif").unlink()
    (tmp_path / "d12" / "born" / "deep").mkdir(parents=True)
    (tmp_path / "d12" / "born" / "deep" / "late.tif").write_bytes(b"1")
    told, gone = polled.turn(10)
    assert told == ["late.tif", "new.tif"]
    assert gone == ["d11"]
    assert len(listed) < 8, listed
    assert polled.turn(10) == ([], [])


def test_a_file_that_was_written_to_without_an_event_is_found_by_the_next_whole_walk(tmp_path):
    fill(tmp_path)
    polled = Polled(tmp_path, cost_s=0.3)
    polled.turn()
    with (tmp_path / "d03" / "03-03.tif").open("ab") as file:
        file.write(b"more")
    assert polled.turn(10)[0] == []
    waited = 0
    while not (told := polled.turn(10)[0]):
        waited += 1
        assert waited < 100
    assert told == ["03-03.tif"]


def test_a_small_folder_is_always_walked_whole(tmp_path):
    fill(tmp_path, 3, 5)
    polled = Polled(tmp_path)
    polled.turn()
    for number in range(3):
        (tmp_path / "d01" / "01-01.tif").write_bytes(b"1" * (number + 2))
        assert polled.turn(10)[0] == ["01-01.tif"]


def test_whole_walks_take_a_tenth_of_the_time_at_most_where_walking_is_all_there_is(tmp_path):
    fill(tmp_path)
    polled = Polled(tmp_path, cost_s=0.5, poll_s=1.0)
    polled.turn()
    walks = polled.source._walks
    assert walks._busy_s > 1
    assert walks._next_whole - polled.clock.monotonic() > 9 * walks._busy_s


def test_a_deleted_folder_is_told_once_and_the_first_walk_asks_about_everything(tmp_path):
    fill(tmp_path, 4, 3)
    polled = Polled(tmp_path)
    assert polled.turn()[1] == [tmp_path.name]
    (tmp_path / "d01" / "sub").mkdir()
    (tmp_path / "d01" / "sub" / "a.tif").write_bytes(b"1")
    polled.turn(10)
    shutil.rmtree(tmp_path / "d01")
    assert polled.turn(10)[1] == ["d01"]
    assert polled.turn(10)[1] == []


def test_without_room_a_walk_waits_and_then_goes_on(tmp_path):
    fill(tmp_path, 5, 200)
    polled = Polled(tmp_path)
    room = [True]
    polled.source.room = lambda: room[0]
    told: list[str] = []
    while not told:
        told += [event.path for event in polled.source.poll() if isinstance(event, FileSeen)]
    room[0] = False
    for _ in range(5):
        assert polled.source.poll() == []
    room[0] = True
    rest, _ = polled.turn()
    assert len(told) + len(rest) == 1000


@pytest.mark.skipif(sys.platform != "linux", reason="bind mounts are of Linux")
def test_a_bind_mount_that_leads_back_up_ends_in_no_loop(tmp_path):
    (tmp_path / "root" / "back").mkdir(parents=True)
    (tmp_path / "root" / "a.tif").write_bytes(b"1")
    command = ["mount", "--bind", str(tmp_path / "root"), str(tmp_path / "root" / "back")]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert Polled(tmp_path / "root").turn()[0] == ["a.tif"]
    finally:
        subprocess.run(["umount", str(tmp_path / "root" / "back")], check=True)
