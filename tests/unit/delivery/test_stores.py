"""What is special about each kind of target, against the real thing."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.contract.manifest import render
from agent.delivery import disk
from agent.delivery.folder import FolderTarget
from agent.delivery.port import Outgoing, SmallFile
from agent.delivery.settings import DeliverySettings, FolderSettings
from agent.delivery.targets import open_target
from agent.delivery.wire import Body
from agent.errors import Misconfigured, Mismatch, NoSpace, Rejected, Retryable, Unreachable
from agent.testing.target import DATASET, outgoing
from tests import servers
from tests.conftest import free_port, running
from tests.unit.delivery.meddler import Meddler

BIG = os.urandom(16 << 20)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    servers.obstore_or_skip()
    folder = tmp_path_factory.mktemp("weed")
    with servers.seaweedfs(folder) as port:
        yield folder, port


def s3(folder: Path, port: int, owner: str = "a", stall_s: float = 20, **more):
    from agent.delivery.s3 import S3Target

    return S3Target(servers.s3_settings(folder, port, part_mib=5, **more), stall_s, owner)


def test_what_seaweedfs_guarantees(weed) -> None:
    target = s3(*weed)
    found = target.guarantees
    assert (found.checks_sha256, found.checks_parts, found.creates_only, found.completes_only) == (True,) * 4
    assert not found.keeps
    assert found.replaces
    for told in ("may delete", "may overwrite"):
        assert [doubt for doubt in target.doubts() if told in doubt], told
    target.close()


def test_what_a_store_that_lies_guarantees(tmp_path: Path) -> None:
    servers.obstore_or_skip()
    with servers.rclone_s3(tmp_path) as port:
        target = s3(tmp_path, port)
        assert len(target.doubts()) == 6
        # It accepts anything, so what was sent is read back: bytes that rot on the way are noticed.
        plain = target._put

        def rotten(key: str, body: Body, digest: str, *, create: bool) -> bool:
            return plain(key, Body.of(b"".join(body.pieces)[:-1] + b"?"), digest, create=create)

        target._put = rotten
        assert target.send(DATASET, outgoing("data/a", b"abc")) != sha256(b"abc")
        target.close()


def test_credentials_that_were_changed_while_the_agent_runs(tmp_path: Path) -> None:
    servers.obstore_or_skip()
    (tmp_path / "data" / servers.BUCKET).mkdir(parents=True)
    port = free_port()
    command = [servers.program("rclone"), "serve", "s3", str(tmp_path / "data"), "--addr", f"127.0.0.1:{port}"]
    target = s3(tmp_path, port)
    listed = {"data/a": sha256(b"abc"), "data/b": sha256(b"def")}
    with running([*command, "--auth-key", f"{servers.KEY},{servers.SECRET}"], port):
        target.send(DATASET, outgoing("data/a", b"abc"))
        assert target.commit(DATASET, render(listed)).missing == ("data/b",)
    with running([*command, "--auth-key", "newkey,newsecret123"], port):
        with pytest.raises(Misconfigured, match="check the credentials"):
            target.send(DATASET, outgoing("data/b", b"def"))
        (tmp_path / "s3-credentials").write_text("newkey\nnewsecret123\n")
        assert target.send(DATASET, outgoing("data/b", b"def")) == sha256(b"def")
        assert target.commit(DATASET, render(listed)).files == listed
    target.close()


def test_parts_are_gone_on_with_after_a_restart(weed) -> None:
    dataset = DATASET.replace("0badcafe", "00000001")
    places: list[str] = []
    target = s3(*weed)

    def cut(offset: int) -> Iterator[bytes]:
        for at in range(offset, 12 << 20, 1 << 20):
            yield BIG[at : at + (1 << 20)]
        raise Unreachable("cut")

    with pytest.raises(Unreachable):
        target.send(dataset, Outgoing("data/a", len(BIG), cut, on_upload=places.append))
    target.close()
    bad = Meddler(weed[1])
    again = s3(weed[0], bad.port)
    file = outgoing("data/a", BIG, 1 << 20)
    file.upload = places[-1]
    assert again.send(dataset, file) == sha256(BIG)
    put = [head for head in bad.heads if b"/data/a?partNumber" in head]
    assert len(put) == 2, put
    assert again._read_back(again._key(dataset, "data/a")) == sha256(BIG)
    again.close()
    bad.close()


def test_an_object_that_is_another_than_was_acknowledged_is_read_back(weed) -> None:
    """An answer that belonged to another request said that it was stored: the store's own list says otherwise."""
    dataset = DATASET.replace("0badcafe", "00000007")
    target = s3(*weed)
    target.send(dataset, outgoing("data/a", b"first"))
    plain = target._put

    def lost(key: str, body: Body, digest: str, *, create: bool) -> str | None:
        return None if create else "0" * 32

    target._put = lost
    assert target.send(dataset, outgoing("data/a", b"other")) == sha256(b"other")
    target._put = plain
    held = target.commit(dataset, render({"data/a": sha256(b"other")}))
    assert held.different == ("data/a",)
    target.close()


def test_two_agents_never_overwrite_each_other(weed) -> None:
    dataset = DATASET.replace("0badcafe", "00000002")
    one, two = s3(*weed, owner="one"), s3(*weed, owner="two")
    for body in (b"one", BIG):
        name = f"data/{len(body)}"
        assert one.send(dataset, outgoing(name, body, 1 << 20)) == sha256(body)
        with pytest.raises(Mismatch, match="not ours"):
            two.send(dataset, outgoing(name, body[:-1] + b"!", 1 << 20))
        assert two.send(dataset, outgoing(name, body, 1 << 20)) == sha256(body)
        # Our own, uncommitted, of a file that changed since: replaced.
        changed = body[:-1] + b"#"
        assert one.send(dataset, outgoing(name, changed, 1 << 20)) == sha256(changed)
    one.close()
    two.close()


def test_nothing_of_an_abandoned_upload_stays(weed) -> None:
    from agent.delivery import s3_parts

    dataset = DATASET.replace("0badcafe", "00000003")
    target = s3(*weed)
    key = target._key(dataset, "data/a")
    forgotten = s3_parts.begin(target._client, key, len(BIG), 5 << 20, {})
    assert s3_parts.unfinished(target._client, key) == [forgotten.id]
    # A process that was killed before it could write the upload down: the next one ends it.
    assert target.send(dataset, outgoing("data/a", BIG, 1 << 20)) == sha256(BIG)
    assert s3_parts.unfinished(target._client, key) == []
    target.close()


def test_a_store_that_freezes_is_given_up(weed, tmp_path: Path) -> None:
    bad = Meddler(weed[1])
    target = s3(weed[0], bad.port, stall_s=1)
    assert target.guarantees
    bad.frozen = True
    for body in (b"small", BIG):
        with pytest.raises(Unreachable):
            target.send(DATASET.replace("0badcafe", "00000004"), outgoing("data/a", body, 1 << 20))
    bad.frozen = False
    target.close()
    bad.close()


def test_wrong_credentials_are_one_line(weed, tmp_path: Path) -> None:
    target = s3(*weed)
    (weed[0] / "s3-credentials").write_text("nobody\nnothing\n")
    stranger = open_target(
        DeliverySettings(target="s3", s3=target._settings), "a"
    )  # fmt: skip
    with pytest.raises(Misconfigured, match="check the credentials"):
        stranger.check()
    stranger.close()
    target.close()


# A folder


def test_a_share_that_is_away_is_not_mistaken_for_an_empty_folder(tmp_path: Path) -> None:
    share = tmp_path / "share"
    target = FolderTarget(FolderSettings(path=share))
    for _ in range(2):
        with pytest.raises(Unreachable, match="is away"):
            target.send(DATASET, outgoing("data/a", b"a"))
        with pytest.raises(Unreachable):
            target.check()
    share.mkdir()
    target.check()


def test_an_unmounted_share_is_an_empty_folder_and_gets_nothing(tmp_path: Path) -> None:
    """The mount point stays behind, on the disk of the microscope."""
    share = tmp_path / "share"
    share.mkdir()
    settings = FolderSettings(path=share)
    target = FolderTarget(settings)
    target.check()
    assert not list(share.iterdir())
    target.send(DATASET, outgoing("data/a", b"a"))
    target.send(DATASET, outgoing("data/b", BIG, 1 << 20))
    listed = render({"data/a": sha256(b"a"), "data/b": sha256(BIG)})
    away = tmp_path / "away"
    for again in (target, FolderTarget(settings, used=True)):
        share.rename(away)
        share.mkdir()
        for path, body in (("data/a", b"a"), ("data/b", BIG)):
            with pytest.raises(Unreachable, match="is empty, though datasets went there: mount"):
                again.send(DATASET, outgoing(path, body, 1 << 20))
        with pytest.raises(Unreachable, match="mount"):
            again.commit(DATASET, listed)
        assert not list(share.iterdir())
        share.rmdir()
        away.rename(share)
        assert not again.commit(DATASET, listed).missing
        again.close()
    # Whoever ingests from a share takes the datasets away: it is not empty then.
    shutil.rmtree(share / DATASET.split("/")[0])
    emptied = FolderTarget(settings, used=True)
    assert emptied.send(DATASET, outgoing("data/a", b"a")) == sha256(b"a")
    emptied.close()


def test_a_large_file_with_the_longest_name(tmp_path: Path) -> None:
    target = FolderTarget(FolderSettings(path=tmp_path))
    names = [f"data/{'ä' * 120}{number}.tif" for number in range(2)] + [f"data/{'x' * 251}.tif"]
    listed = {name: target.send(DATASET, outgoing(name, BIG, 1 << 20)) for name in names}
    assert not target.commit(DATASET, render(listed)).missing
    assert all((tmp_path / DATASET / name).read_bytes() == BIG for name in names)
    target.close()


def test_a_share_that_vanishes_in_the_middle(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))

    def vanish(offset: int) -> Iterator[bytes]:
        yield BIG[: 1 << 20]
        share.rename(tmp_path / "gone")
        yield BIG[1 << 20 :]

    with pytest.raises(Unreachable):
        target.send(DATASET, Outgoing("data/a", len(BIG), vanish))
    (tmp_path / "gone").rename(share)
    assert target.send(DATASET, outgoing("data/a", BIG, 1 << 20)) == sha256(BIG)


def test_a_share_that_is_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a device that is always full")
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    staged = target._staged(DATASET) / "data"
    staged.mkdir(parents=True)
    large = b"abc" * (1 << 20)
    part = target._part(DATASET, "data/b")
    part.parent.mkdir(parents=True)
    for written, path, body in ((staged / "a", "data/a", b"abc"), (part, "data/b", large)):
        written.symlink_to("/dev/full")
        with pytest.raises(NoSpace, match="make room"):
            target.send(DATASET, outgoing(path, body))
        written.unlink()
        assert target.send(DATASET, outgoing(path, body)) == sha256(body)


@pytest.mark.parametrize("size", [3, 3 << 20])
def test_any_name_of_a_source_file_arrives(tmp_path: Path, size: int) -> None:
    """Also those that look like our own."""
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    names = [
        "data/a",
        "data/a.scope-agent-part",
        "data/.parts",
        "data/.scope-agent/x",
        "manifest-sha256.txt.scope-agent",
    ]
    bodies = {name: name.encode().ljust(size, b"x") for name in names}
    listed = {name: sha256(body) for name, body in bodies.items()}
    for name in reversed(names):
        assert target.send(DATASET, outgoing(name, bodies[name], 1 << 20)) == listed[name]
    assert target.commit(DATASET, render(listed)).files == listed
    assert {name: (share / DATASET / name).read_bytes() for name in names} == bodies
    assert [path for path in (share / ".scope-agent").rglob("*") if path.is_file()] == []
    target.close()


def test_a_large_file_cannot_be_taken_for_another_whose_name_is_that_of_its_part(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    first, second = b"1" * (3 << 20), b"2" * (3 << 20)

    def both(_offset: int) -> Iterator[bytes]:
        yield first[: 1 << 20]
        target.send(DATASET, outgoing("data/a.scope-agent-part", second, 1 << 20))
        yield first[1 << 20 :]

    target.send(DATASET, Outgoing("data/a", len(first), both))
    listed = {"data/a": sha256(first), "data/a.scope-agent-part": sha256(second)}
    assert target.commit(DATASET, render(listed)).files == listed
    assert (share / DATASET / "data" / "a").read_bytes() == first
    target.close()


def test_what_was_gathered_of_a_dataset_that_nobody_goes_on_with_is_removed(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    kept = DATASET.replace("0badcafe", "00000009")
    for dataset in (DATASET, kept):
        target.send(dataset, outgoing("data/a", b"abc"))
        target.send(dataset, outgoing("data/b", BIG, 1 << 20))
        part = target._part(dataset, "data/c")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")
    target.abandon(f"staged:{DATASET}")
    target.abandon(f"staged:{DATASET}")
    left = {path.name for path in share.rglob("*") if path.is_file()}
    assert left == {"a", "b", target._part(kept, "data/c").name}
    listed = {"data/a": sha256(b"abc"), "data/b": sha256(BIG)}
    assert target.commit(DATASET, render(listed)).missing == ("data/a", "data/b")
    assert target.commit(kept, render(listed)).files == listed
    target.abandon(f"staged:{kept}")
    assert target.held(kept).files == listed
    with pytest.raises(Rejected):
        target.abandon("staged:../../x")
    target.close()


def test_what_another_kind_of_target_left_is_nothing_to_end(tmp_path: Path) -> None:
    servers.obstore_or_skip()
    (tmp_path / "share").mkdir()
    # Nobody listens there: a request would fail.
    made = [
        s3(tmp_path, free_port(), stall_s=1),
        open_target(DeliverySettings(url=f"http://127.0.0.1:{free_port()}", stall_s=1), "a"),
        FolderTarget(FolderSettings(path=tmp_path / "share")),
    ]
    uploads = {"s3": '["key", "id", 5, []]', "facility": "/uploads/x", "folder": f"staged:{DATASET}"}
    for target in made:
        for kind, upload in uploads.items():
            if kind != target.name:
                target.abandon(upload)
        target.close()


def test_bytes_that_rot_on_the_share_are_noticed(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    target.send(DATASET, outgoing("data/a", b"abc"))
    (target._staged(DATASET) / "data" / "a").write_bytes(b"abd")
    held = target.commit(DATASET, render({"data/a": sha256(b"abc")}))
    assert held.different == ("data/a",)
    with pytest.raises(Rejected):
        target.held(DATASET)


def test_bytes_that_rot_after_they_were_looked_at_are_noticed(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    listed = {}
    for number in range(600):
        body = number.to_bytes(8, "big")
        listed[f"data/{number}"] = target.send(DATASET, outgoing(f"data/{number}", body))
    target._small.finish()
    rotten = target._staged(DATASET) / "data" / "7"
    assert target._seen.digest(str(rotten), rotten.stat()) == listed["data/7"]
    rotten.write_bytes(b"rot".rjust(8))
    assert target.commit(DATASET, render(listed)).different == ("data/7",)
    target.send(DATASET, outgoing("data/7", (7).to_bytes(8, "big")))
    assert not target.commit(DATASET, render(listed)).different
    assert not len(target._seen)
    target.close()


def test_a_large_file_is_read_back_while_it_is_written(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    blocks = [bytes([number]) * (1 << 20) for number in range(40)]
    part = target._part(DATASET, "data/a")

    def rot(at: int) -> Callable[[int], Iterator[bytes]]:
        def handed_out(_offset: int) -> Iterator[bytes]:
            yield from blocks[:-1]
            with part.open("r+b") as file:
                file.seek(at)
                file.write(b"rot")
            yield blocks[-1]

        return handed_out

    with pytest.raises(Retryable, match="other bytes than were written"):
        target.send(DATASET, Outgoing("data/a", 40 << 20, rot(35 << 20)))
    assert target.send(DATASET, outgoing("data/a", b"".join(blocks), 1 << 20)) == sha256(b"".join(blocks))
    assert (target._staged(DATASET) / "data" / "a").read_bytes() == b"".join(blocks)


@pytest.mark.parametrize("at_once", [True, False])
def test_many_small_files_are_brought_to_the_disk(tmp_path: Path, monkeypatch, at_once: bool) -> None:
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    if not at_once:
        monkeypatch.setattr("agent.delivery.disk.file_system", lambda _: "cifs")
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), real(handle)))
    bodies = {f"data/{number}": bytes([number]) * 9 for number in range(40)}
    for path, body in bodies.items():
        target.send(DATASET, outgoing(path, body))
    held = target.commit(DATASET, render({path: sha256(body) for path, body in bodies.items()}))
    assert held.files == {path: sha256(body) for path, body in bodies.items()}
    if not at_once or sys.platform != "linux":
        assert len(synced) >= len(bodies)
    elif disk.file_system(share) in disk._AT_ONCE:
        assert len(synced) < len(bodies) // 2


def test_a_small_file_that_rots_on_its_way_to_the_disk_is_different(tmp_path: Path, monkeypatch) -> None:
    target = FolderTarget(FolderSettings(path=tmp_path))
    bodies = {f"data/{number}": bytes([number]) * 9 for number in range(40)}

    def sync_all(_folder: Path) -> bool:
        victim = target._staged(DATASET) / "data" / "35"
        times = victim.stat()
        victim.write_bytes(b"rotten...")
        os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))
        return True

    monkeypatch.setattr("agent.delivery.small_files.sync_all", sync_all)
    target.take(DATASET, [SmallFile(path, body, sha256(body)) for path, body in bodies.items()])
    held = target.commit(DATASET, render({path: sha256(body) for path, body in bodies.items()}))
    assert held.different == ("data/35",)
    assert not (tmp_path / DATASET).exists()


def test_a_dataset_appears_by_one_rename(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    target.send(DATASET, outgoing("data/a", b"abc"))
    target.send(DATASET, outgoing("data/left-over", b"x"))
    assert not (share / DATASET).exists()
    target.commit(DATASET, render({"data/a": sha256(b"abc")}))
    assert sorted(p.name for p in (share / DATASET).rglob("*") if p.is_file()) == ["a", "manifest-sha256.txt"]
    assert not list((share / ".scope-agent").rglob("*/*.bin"))


@pytest.mark.parametrize("at_once", [True, False])
def test_what_cannot_be_brought_to_the_disk_is_missing_and_sent_again(
    tmp_path: Path, monkeypatch, at_once: bool
) -> None:
    """A system tells of a write that failed behind its back once only: the next sync says all is well."""
    share = tmp_path / "share"
    share.mkdir()
    target = FolderTarget(FolderSettings(path=share))
    manifest = render({"data/a": sha256(b"abc")})
    target.send(DATASET, outgoing("data/a", b"abc"))
    plain = os.fsync
    failing = [OSError(5, "Input/output error")]

    def sync(descriptor: int) -> None:
        if failing:
            raise failing.pop()
        plain(descriptor)

    def sync_all(_folder: Path) -> bool:
        sync(os.open(share, os.O_RDONLY))
        return True

    if at_once:
        monkeypatch.setattr("agent.delivery.small_files.sync_all", sync_all)
    else:
        monkeypatch.setattr("agent.delivery.disk.file_system", lambda _: "cifs")
        monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(Unreachable, match="Input/output"):
        target.commit(DATASET, manifest)
    assert target.commit(DATASET, manifest).missing == ("data/a",)
    target.send(DATASET, outgoing("data/a", b"abc"))
    assert not target.commit(DATASET, manifest).missing
    assert dict(target.held(DATASET).files) == {"data/a": sha256(b"abc")}
