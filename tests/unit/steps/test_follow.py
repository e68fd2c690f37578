"""Files that are renamed, moved, touched, replaced or deleted, while the daemon is on and while it is off."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.acquisition import State
from agent.errors import Unreachable
from agent.outbox import Release
from agent.sources.identity import Identity, identity
from tests.unit.steps.rig import Rig, spread, thor_set
from tests.unit.steps.test_steps import finished, image, started


@pytest.fixture
def rigs(tmp_path: Path) -> Iterator[list[Rig]]:
    made = [Rig(tmp_path)]
    yield made
    made[-1].close()


def on(rigs: list[Rig]) -> Rig:
    return rigs[-1]


def off(rigs: list[Rig]) -> Rig:
    """After a restart."""
    rigs.append(rigs[-1].restart())
    return rigs[-1]


WHEN = pytest.mark.parametrize("when", [on, off], ids=["on", "off"])


@WHEN
def test_a_file_renamed_after_its_delivery_is_followed_and_not_delivered_again(rigs: list[Rig], when) -> None:
    path = image(rigs[0].watched / "a.tif")
    rigs[0].turn(6)
    path.rename(path.with_name("b.tif"))
    rig = when(rigs)
    rig.turn(10)
    (run,) = rig.all()
    assert run.state is State.VERIFIED
    assert [row.source for row in rig.rows()] == [str(path.with_name("b.tif"))]
    assert rig.changes() == [("moved", "a.tif", "b.tif")]
    off(rigs).turn(5)
    assert len(rigs[-1].all()) == 1


@WHEN
def test_a_folder_of_a_delivered_dataset_is_renamed_and_moved(rigs: list[Rig], when) -> None:
    main = thor_set(rigs[0].watched / "run")
    rigs[0].turn(8)
    files = sorted(path.name for path in main.parent.iterdir())
    (rigs[0].watched / "archive").mkdir()
    main.parent.rename(rigs[0].watched / "archive" / "done")
    rig = when(rigs)
    rig.turn(10)
    assert [run.state for run in rig.all()] == [State.VERIFIED]
    assert sorted(row.source for row in rig.rows()) == [str(rig.watched / "archive/done" / name) for name in files]
    assert {what for what, _, _ in rig.changes()} == {"moved"}


@WHEN
@pytest.mark.parametrize("stage", ["growing", "complete", "queued", "unreachable"])
def test_a_dataset_renamed_on_its_way_is_delivered_once_from_where_it_is(rigs: list[Rig], when, stage: str) -> None:
    rig = rigs[0]
    main = thor_set(rig.watched / "run")
    if stage == "growing":
        rig.turn(1)
        assert rig.all() == []
    elif stage == "complete":
        while not rig.all():
            rig.clock.pass_(0.5)
            rig.pipeline.hear()
    else:
        rig.until_queued()
    if stage == "unreachable":
        rig.target.fail_next = Unreachable("the network is away")
        rig.pipeline.deliver()
    files = sorted(path.name for path in main.parent.iterdir())
    main.parent.rename(rig.watched / "renamed")
    rig = when(rigs)
    rig.turn(55)
    (run,) = rig.all()
    assert run.state is State.VERIFIED, run
    assert rig.delivered() == [[f"data/{name}" for name in files]]
    assert sorted(Path(row.source).parent.name for row in rig.rows()) == ["renamed"] * len(files)
    if stage != "growing":
        assert any("renamed or moved" in note for note in run.notes)


@WHEN
def test_a_file_renamed_while_queued_is_delivered_once(rigs: list[Rig], when) -> None:
    path = image(rigs[0].watched / "a.tif")
    content = path.read_bytes()
    rigs[0].until_queued()
    path.rename(path.with_name("b.tif"))
    rig = when(rigs)
    rig.turn(30)
    (run,) = rig.all()
    assert run.state is State.VERIFIED
    assert run.main == str(path.with_name("b.tif"))
    (dataset,) = rig.target.committed.values()
    assert "data/b.tif" in dataset
    assert path.with_name("b.tif").read_bytes() == content


@WHEN
def test_other_bytes_under_the_same_name_are_another_acquisition_and_the_first_stays(rigs: list[Rig], when) -> None:
    path = image(rigs[0].watched / "a.tif")
    rigs[0].turn(6)
    first = {name: dict(files) for name, files in rigs[0].target.committed.items()}
    image(path, planes=4)
    rig = when(rigs)
    rig.turn(10)
    second, before = rig.all() if rig.all()[0].frames == 4 else rig.all()[::-1]
    assert (second.state, before.state) == (State.VERIFIED, State.VERIFIED)
    assert any(before.id in note for note in second.notes)
    assert [what for what, _, _ in rig.changes()] == ["replaced"]
    assert {name: rig.target.committed[name] for name in first} == first


def test_bytes_of_the_same_length_and_an_older_time_are_noticed(rigs: list[Rig]) -> None:
    path = rigs[0].watched / "stream.raw"
    path.write_bytes(b"1" * 1000)
    rigs[0].turn(8)
    time = identity(path).mtime_ns
    path.write_bytes(b"2" * 1000)
    spread(path, time - 10**9)
    rigs[0].turn(10)
    assert len(rigs[0].all()) == 2
    assert [what for what, _, _ in rigs[0].changes()] == ["replaced"]


@WHEN
def test_a_touched_or_restored_file_is_the_same(rigs: list[Rig], when) -> None:
    touched, restored = image(rigs[0].watched / "a.tif"), image(rigs[0].watched / "b.tif", 3)
    rigs[0].turn(6)
    spread(touched, identity(touched).mtime_ns + 10**9 + 1)
    shutil.copyfile(restored, rigs[0].folder / "copy")
    restored.unlink()
    shutil.copyfile(rigs[0].folder / "copy", restored)
    rig = when(rigs)
    rig.turn(10)
    assert len(rig.all()) == 2
    assert sorted(rig.changes()) == [("touched", "a.tif", "a.tif"), ("touched", "b.tif", "b.tif")]


def test_a_file_number_that_is_given_again_is_no_rename(rigs: list[Rig]) -> None:
    """The new file has number, size and time (whole seconds) of the deleted one: only its bytes tell."""
    path, other = rigs[0].watched / "a.raw", rigs[0].watched / "other.raw"
    path.write_bytes(b"1" * 1000)
    spread(path, 1_600_000_000 * 10**9)
    rigs[0].turn(8)
    path.unlink()
    other.write_bytes(b"2" * 1000)
    spread(other, 1_600_000_000 * 10**9)
    with rigs[0].outbox._transaction():
        # As if the file system had given the number of the deleted file again, as ext4 does when it likes.
        given = identity(other).file_id
        rigs[0].outbox._connection.execute("UPDATE files SET file_id = ? WHERE source = ?", (given, str(path)))
    rigs[0].turn(40)
    assert [run.state for run in rigs[0].all()] == [State.VERIFIED] * 2
    assert rigs[0].changes() == [("gone", "a.raw", "no file has this name")]


@WHEN
def test_a_file_moved_to_another_disk_is_known_by_its_bytes(rigs: list[Rig], when) -> None:
    """Its number is another one; its time stays, as every mover sees to it."""
    path = image(rigs[0].watched / "a.tif")
    rigs[0].turn(6)
    (rigs[0].watched / "disk").mkdir()
    shutil.copy2(path, rigs[0].watched / "disk" / "a.tif")
    path.unlink()
    rig = when(rigs)
    rig.turn(10)
    assert len(rig.all()) == 1
    assert [row.source for row in rig.rows()] == [str(rig.watched / "disk/a.tif")]


def test_a_copy_beside_its_original_is_a_file_of_its_own(rigs: list[Rig]) -> None:
    path = image(rigs[0].watched / "a.tif")
    rigs[0].turn(6)
    shutil.copy2(path, rigs[0].watched / "b.tif")
    rigs[0].turn(10)
    assert [run.state for run in rigs[0].all()] == [State.VERIFIED] * 2


def test_a_remount_that_numbers_devices_anew_delivers_nothing_again(rigs: list[Rig]) -> None:
    image(rigs[0].watched / "a.tif")
    thor_set(rigs[0].watched / "run")
    rigs[0].turn(8)
    rows = rigs[0].rows()
    with rigs[0].outbox._transaction():
        rigs[0].outbox._connection.execute("UPDATE files SET file_id = '99' || substr(file_id, instr(file_id, ':'))")
    assert {row.file_id for row in rigs[0].rows()} != {row.file_id for row in rows}
    rig = off(rigs)
    rig.turn(15)
    assert len(rig.all()) == 2
    assert {row.file_id for row in rig.rows()} == {row.file_id for row in rows}
    assert rig.changes() == []


@WHEN
def test_a_deleted_source_of_a_delivered_dataset_is_written_down(rigs: list[Rig], when) -> None:
    path, kept = image(rigs[0].watched / "a.tif"), image(rigs[0].watched / "b.tif", 3)
    rigs[0].turn(6)
    path.unlink()
    rig = when(rigs)
    rig.turn(40)
    assert rig.changes() == [("gone", "a.tif", "no file has this name")]
    assert [run.state for run in rig.all()] == [State.VERIFIED] * 2
    assert len(rig.target.committed) == 2
    rig.turn(40)
    assert len(rig.changes()) == 1
    assert kept.exists()


def test_a_deleted_folder_is_written_down_file_by_file(rigs: list[Rig]) -> None:
    main = thor_set(rigs[0].watched / "run")
    image(rigs[0].watched / "a.tif")
    rigs[0].turn(8)
    names = sorted(path.name for path in main.parent.iterdir())
    shutil.rmtree(main.parent)
    rigs[0].turn(40)
    assert sorted(name for what, name, _ in rigs[0].changes() if what == "gone") == names


def test_a_share_that_is_away_says_nothing_of_its_files(rigs: list[Rig]) -> None:
    """Neither are delivered files called deleted, nor is a queued acquisition given up."""
    image(rigs[0].watched / "a.tif")
    rigs[0].turn(6)
    image(rigs[0].watched / "b.tif", 3)
    rigs[0].until_queued()
    away = rigs[0].folder / "unmounted"
    rigs[0].watched.rename(away)
    rigs[0].turn(150)
    assert State.REJECTED not in {run.state for run in rigs[0].all()}
    away.rename(rigs[0].watched)
    rigs[0].turn(60)
    assert [run.state for run in rigs[0].all()] == [State.VERIFIED] * 2
    assert rigs[0].changes() == []


def test_a_file_that_changes_while_queued_is_delivered_once_as_it_is_now(rigs: list[Rig]) -> None:
    path = image(rigs[0].watched / "a.tif")
    rigs[0].until_queued()
    image(path, planes=5)
    rigs[0].turn(30)
    (run,) = rigs[0].all()
    assert (run.state, run.frames) == (State.VERIFIED, 5)
    assert any("changed" in note for note in run.notes)


def test_a_file_that_joins_a_delivered_dataset_is_not_missed(rigs: list[Rig]) -> None:
    """The dataset's main file is as it was: it must not hide the new one."""
    main = thor_set(rigs[0].watched / "run")
    rigs[0].turn(8)
    shutil.copyfile(main.parent / "ChanA_001_001_001_001.tif", main.parent / "ChanB_001_001_001_001.tif")
    rigs[0].turn(90)
    assert "data/ChanB_001_001_001_001.tif" in {name for files in rigs[0].delivered() for name in files}
    assert all(run.state is State.VERIFIED for run in rigs[0].all())


@WHEN
def test_two_delivered_files_that_swap_their_names_are_followed(rigs: list[Rig], when) -> None:
    one, other = image(rigs[0].watched / "a.tif", 2), image(rigs[0].watched / "b.tif", 3)
    rigs[0].turn(6)
    sources = {row.target: row.source_sha256 for row in rigs[0].rows()}
    one.rename(rigs[0].watched / "c.tif")
    other.rename(one)
    (rigs[0].watched / "c.tif").rename(other)
    rig = when(rigs)
    rig.turn(40)
    assert len(rig.all()) == 2
    assert sorted(rig.changes()) == [("moved", "a.tif", "b.tif"), ("moved", "b.tif", "a.tif")]
    assert {row.target: row.source_sha256 for row in rig.rows()} == sources


def test_one_file_under_two_spellings_of_its_name_is_one(rigs: list[Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes NFC and NFD for one name tells either; a case-insensitive one, any case."""
    composed = rigs[0].watched / "\u00e4.tif"
    image(composed)
    rigs[0].turn(6)
    decomposed = rigs[0].watched / "a\u0308.TIF"
    os.link(composed, decomposed)
    rigs[0].turn(10)
    assert len(rigs[0].all()) == 1


def test_identity_tells_reused_numbers_from_renamed_files() -> None:
    one = Identity(10, 5, "1:7")
    assert one.is_same_file(Identity(10, 5, "2:7"))
    assert not one.is_same_file(Identity(11, 5, "1:7"))
    assert not one.is_same_file(Identity(10, 6, "1:7"))
    assert not one.is_same_file(Identity(10, 5, "1:8"))
    assert not Identity(10, 5, "1:0").is_same_file(Identity(10, 5, "1:0"))
    assert Identity(10, 5_000_000_000, "1:7").doubtful
    assert Identity(10, 5, "1:0").doubtful
    assert not one.doubtful


def test_a_source_that_we_released_ourselves_is_not_called_deleted(rigs: list[Rig]) -> None:
    path = image(rigs[0].watched / "a.tif")
    image(rigs[0].watched / "b.tif", 3)
    rigs[0].turn(6)
    (row,) = rigs[0].outbox.files_at(str(path))
    release = Release(row.source, row.acquisition_id, str(row.source_sha256), str(path.parent / ".kept/a.tif"), 1)
    rigs[0].outbox.plan_release([release])
    (path.parent / ".kept").mkdir()
    path.rename(release.kept)
    rigs[0].outbox.release_moved(release, 2)
    rigs[0].folder_source._tell_gone(str(path), deep=True)
    rigs[0].turn(40)
    assert rigs[0].changes() == []


@pytest.mark.parametrize(
    "mtime", [-(10**18), 0, 1, 4 * 10**18, 5 * 10**18], ids=["1938", "1970", "1970+", "2096", "2128"]
)
def test_a_file_whose_clock_is_wrong_is_delivered_like_any_other(rigs: list[Rig], mtime: int) -> None:
    path = rigs[0].watched / "a.raw"
    path.write_bytes(b"1" * 100)
    spread(path, mtime)
    rigs[0].turn(1)
    assert rigs[0].all() == []
    rigs[0].turn(8)
    (run,) = rigs[0].all()
    assert run.state is State.VERIFIED
    assert run.started_ns <= rigs[0].clock.now_ns()


def test_a_growing_file_with_a_time_in_the_future_is_not_taken_early(rigs: list[Rig]) -> None:
    path = rigs[0].watched / "a.raw"
    for size in range(1, 8):
        path.write_bytes(b"1" * size)
        spread(path, 4_000_000_000 * 10**9 + size)
        rigs[0].turn(1.5)
        assert rigs[0].all() == []
    rigs[0].turn(8)
    assert [run.state for run in rigs[0].all()] == [State.VERIFIED]


def test_a_wall_clock_that_is_set_back_delays_nothing(rigs: list[Rig]) -> None:
    image(rigs[0].watched / "a.tif")
    rigs[0].turn(1)
    rigs[0].clock.set_back(10 * 365 * 86400)
    rigs[0].turn(8)
    assert [run.state for run in rigs[0].all()] == [State.VERIFIED]


def test_a_file_that_is_locked_is_not_ready_and_holds_up_nobody(rigs: list[Rig], monkeypatch) -> None:
    """Windows refuses to open what another program has locked; no system here can do that."""
    from agent.formats import tiff

    locked = image(rigs[0].watched / "a.tif")
    image(rigs[0].watched / "b.tif", 3)
    real = tiff.Tiff.is_whole

    def refuse(self, dataset):
        if dataset.main == locked:
            raise PermissionError(13, "The process cannot access the file because it is being used", str(locked))
        return real(self, dataset)

    with monkeypatch.context() as patch:
        patch.setattr(tiff.Tiff, "is_whole", refuse)
        rigs[0].turn(20)
    assert [run.name for run in rigs[0].all()] == ["b"]
    rigs[0].turn(40)
    assert sorted(run.state for run in rigs[0].all()) == [State.VERIFIED] * 2


def test_a_file_that_cannot_even_be_identified_waits(rigs: list[Rig], monkeypatch) -> None:
    from agent.steps import candidates

    image(rigs[0].watched / "a.tif")
    real = candidates.identify

    def refuse(path: Path) -> object:
        raise PermissionError(13, "The process cannot access the file because it is being used", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(candidates, "identify", refuse)
        rigs[0].turn(10)
    assert rigs[0].all() == []
    assert candidates.identify is real
    rigs[0].turn(40)
    assert [run.state for run in rigs[0].all()] == [State.VERIFIED]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_run_of_the_hook_whose_files_are_renamed_before_they_are_whole_is_followed(rigs: list[Rig], what) -> None:
    rig = rigs[0]
    (rig.watched / "run").mkdir()
    path = image(rig.watched / "run" / "a.tif", planes=2)
    rig.pipeline.listen.sources = [rig.source, rig.folder_source]
    rig.source.events += [started((str(path),), 3), finished(3)]
    rig.turn(1.5)
    assert [run.state for run in rig.all()] == [State.SETTLING]
    if what == "file":
        now = path.rename(path.with_name("b.tif"))
    else:
        now = path.parent.rename(rig.watched / "renamed") / "a.tif"
    rig.turn(80)
    (run,) = rig.all()
    assert (run.state, run.origin) == (State.VERIFIED, "hook:j:1")
    assert run.files[0].path == str(now)
    assert any("renamed or moved" in note for note in run.notes)


def test_many_files_at_once_do_not_hold_up_the_thread_that_hears_the_hook(rigs: list[Rig], monkeypatch) -> None:
    from agent.steps import candidates

    rig = rigs[0]
    for number in range(40):
        (rig.watched / f"{number}.raw").write_bytes(b"%d" % number)
    asked: list[Path] = []
    real = candidates.identify

    def slow(path: Path) -> object:
        asked.append(path)
        rig.clock.pass_(0.05)
        return real(path)

    monkeypatch.setattr(candidates, "identify", slow)
    most = 0
    for _ in range(400):
        before = len(asked)
        rig.pipeline.candidates.step()
        most = max(most, len(asked) - before)
        rig.pipeline.listen.step()
        rig.clock.pass_(0.1)
    assert 1 < most <= 10
    assert len(rig.all()) == 40
