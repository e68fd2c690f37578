"""Tiny files that are on their way at the same time: to a real store, through a network on bad days."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.contract.manifest import parse
from agent.delivery.batch import TINY, send_all
from agent.delivery.folder import FolderTarget
from agent.delivery.s3 import S3Target
from agent.delivery.s3_client import OWNER, SHA256, b64
from agent.delivery.settings import FolderSettings
from agent.delivery.worker import Worker
from agent.errors import Retryable, ScopeAgentError, SourceChanged, Unreachable
from agent.outbox import FileRow, FileState, Outbox, Sent
from tests import servers
from tests.unit.delivery.meddler import Meddler
from tests.unit.delivery.test_delivery import DATASET, outbox, queued, written  # noqa: F401

MANY = 40


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    servers.obstore_or_skip()
    folder = tmp_path_factory.mktemp("weed")
    with servers.seaweedfs(folder) as port:
        yield folder, port


@pytest.fixture
def bad(weed) -> Iterator[Meddler]:
    made = Meddler(weed[1])
    yield made
    made.close()


@pytest.fixture
def target(weed, bad: Meddler, request: pytest.FixtureRequest) -> Iterator[S3Target]:
    # Each test finds an empty place.
    settings = servers.s3_settings(
        weed[0], bad.port, part_mib=5, prefix=f"{request.node.name[:30]}{request.node.name[-8:]}"
    )
    made = S3Target(settings, 1.0, "a")
    assert made.guarantees.checks_sha256
    yield made
    made.close()


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "sources"
    folder.mkdir()
    for number in range(MANY):
        (folder / f"{number:03} ä%.bin").write_bytes(os.urandom(5000 + number))
    (folder / "empty.bin").write_bytes(b"")
    return sorted(folder.iterdir())


def small(outbox: Outbox, target: S3Target) -> Worker:  # noqa: F811
    return Worker(
        outbox, target, lambda *_: written(outbox._path.with_name("acquisition.json"), "{}"), lambda: False, 4
    )


def delivered(outbox: Outbox, target: S3Target, tries: int = 1) -> None:  # noqa: F811
    """Deliver, and read everything back."""
    for left in reversed(range(tries)):
        try:
            small(outbox, target).deliver(outbox.get("00-1"))
            break
        except Unreachable:
            if not left:
                raise
    held = target.held(DATASET)
    rows = outbox.files("00-1")
    assert rows
    assert not held.missing
    assert not held.different
    assert {row.target: row.sha256 for row in rows}.items() <= dict(held.files).items()


def test_a_creation_is_signed_like_any_other_request(target: S3Target) -> None:
    digest = "ab" * 32
    client, key = target._client, "a b/ü+(1)~%.bin"
    moment = client._now()
    client._now = lambda: moment
    path, told = client.signed(
        "PUT",
        key,
        {},
        {
            "Content-Type": "application/octet-stream",
            "x-amz-checksum-sha256": b64(digest),
            "If-None-Match": "*",
            OWNER: "a",
            SHA256: digest,
        },
        digest,
    )
    lines = client.creation(key, "a", digest, 7).decode().split("\r\n")
    assert lines[0] == f"PUT {path} HTTP/1.1"
    assert dict(line.split(": ", 1) for line in lines[1:-2]) == told | {
        "Host": client.wire.host,
        "Content-Length": "7",
    }


def test_many_arrive_over_few_connections(bad, target, outbox, sources) -> None:  # noqa: F811
    queued(outbox, *sources)
    bad.heads.clear()
    delivered(outbox, target)
    puts = [head for head in bad.heads if head.startswith(b"PUT") and b"/data/" in head]
    assert len(puts) == MANY + 1
    assert len(target._client.wire._free) <= 4


def test_what_is_there_already_is_recognised_or_replaced(bad, target, outbox, sources, weed) -> None:  # noqa: F811
    queued(outbox, *sources)
    small(outbox, target)._send_left(outbox.get("00-1"), DATASET, data=True)
    # The state is lost; of one file other bytes lie there, which nobody can see yet.
    sources[3].write_bytes(b"rewritten since")
    queued(outbox, *sources)
    delivered(outbox, target)
    record = {row.target: row.sha256 for row in outbox.files("00-1")}
    assert parse(target._manifest(DATASET)).items() >= record.items()


def test_answers_that_are_lost_are_asked_again(bad, target, outbox, sources) -> None:  # noqa: F811
    queued(outbox, *sources)
    seen = iter(range(1000))
    bad.lose = lambda head: head.startswith(b"PUT") and next(seen) % 7 == 3
    delivered(outbox, target, 30)
    assert bad.cuts >= 4


def test_connections_that_are_reset_in_the_middle(bad, target, outbox, sources) -> None:  # noqa: F811
    queued(outbox, *sources)
    bad.cut_after = 30_000
    delivered(outbox, target, 30)
    assert bad.cuts >= 4


@pytest.mark.parametrize("way", ["twice", "swap"])
def test_answers_that_come_twice_or_to_another(bad, target, outbox, sources, way) -> None:  # noqa: F811
    queued(outbox, *sources[:8])
    small(outbox, target)._send_left(outbox.get("00-1"), DATASET, data=True)
    setattr(bad, way, True)
    queued(outbox, *sources[:8])
    with suppress(ScopeAgentError):
        small(outbox, target)._send_left(outbox.get("00-1"), DATASET, data=True)
    setattr(bad, way, False)
    for _ in range(5):
        try:
            delivered(outbox, target, 5)
            return
        except Retryable:
            continue
    raise AssertionError("never delivered")


@pytest.mark.parametrize("status", [b"500 No", b"503 Slow Down", b"403 No", b"200"])
def test_an_error_between_is_the_ordinary_one(bad, target, outbox, sources, status) -> None:  # noqa: F811
    queued(outbox, *sources)
    bad.say = [b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\nno" % status] * 3
    for _ in range(5):
        try:
            small(outbox, target).deliver(outbox.get("00-1"))
        except ScopeAgentError:
            continue
        break
    assert not bad.say
    delivered(outbox, target)


def test_a_frozen_store_is_given_up_once_for_all_that_are_on_their_way(
    bad, target, outbox, sources  # noqa: F811
) -> None:  # fmt: skip
    queued(outbox, *sources)
    seen: list[bytes] = []

    def freeze(head: bytes) -> bool:
        seen.append(head)
        bad.frozen = len(seen) > 20
        return False

    bad.lose = freeze
    began = time.monotonic()
    with pytest.raises(Unreachable, match="stalled"):
        small(outbox, target).deliver(outbox.get("00-1"))
    assert time.monotonic() - began < 4
    states = [row.state for row in outbox.files("00-1")]
    assert states.count(FileState.SENT) >= 12, "what arrived before is not sent again"
    bad.frozen, bad.lose = False, lambda _: False
    delivered(outbox, target)


def test_a_store_that_does_not_check_gets_them_one_by_one(tmp_path, outbox, sources) -> None:  # noqa: F811
    servers.obstore_or_skip()
    queued(outbox, *sources)
    with servers.rclone_s3(tmp_path) as port:
        lax = S3Target(servers.s3_settings(tmp_path, port), 5, "a")
        assert lax.begin(DATASET, "data/a", b"abc", "0" * 64)() is False
        delivered(outbox, lax)
        lax.close()


def test_a_folder_takes_many_at_once(tmp_path, outbox, sources, monkeypatch) -> None:  # noqa: F811
    taken: list[int] = []
    real = FolderTarget.take
    monkeypatch.setattr(FolderTarget, "take", lambda *told: (taken.append(len(told[2])), real(*told))[1])
    folder = FolderTarget(FolderSettings(path=tmp_path))
    queued(outbox, *sources)
    delivered(outbox, folder)
    assert sum(taken) == MANY + 1
    assert len(taken) < 5
    # The state is lost: what is committed is recognised, and nothing is written into it.
    queued(outbox, *sources)
    marks = {path: path.stat().st_ctime_ns for path in (tmp_path / DATASET / "data").iterdir()}
    delivered(outbox, folder)
    assert {path: path.stat().st_ctime_ns for path in (tmp_path / DATASET / "data").iterdir()} == marks
    folder.close()


def test_one_that_fails_in_a_folder_holds_up_no_other_of_its_lot(tmp_path, outbox, sources) -> None:  # noqa: F811
    folder = FolderTarget(FolderSettings(path=tmp_path))
    queued(outbox, *sources)
    sources[20].write_bytes(b"rewritten since")
    with pytest.raises(SourceChanged):
        small(outbox, folder).deliver(outbox.get("00-1"))
    assert [row.state for row in outbox.files("00-1")].count(FileState.SENT) >= 20
    queued(outbox, *sources)
    delivered(outbox, folder)
    folder.close()


# How they are shared out


def rows(count: int, size: int = 10) -> list[FileRow]:
    return [
        FileRow("i", str(n), "", "data", FileState.PENDING, size, 0, "", None, None, None, None, None)
        for n in range(count)
    ]


def sent(row: FileRow) -> Sent:
    return Sent(row, "", "", row.size)


def test_one_thread_has_several_on_their_way_and_ends_them_in_order() -> None:
    on_way: list[str] = []
    most, threads, got = 0, set(), []

    def begin(row: FileRow) -> Callable[[], Sent]:
        nonlocal most
        threads.add(threading.get_ident())
        on_way.append(row.target)
        most = max(most, len(on_way))

        def end() -> Sent:
            assert on_way.pop(0) == row.target
            return sent(row)

        return end

    send_all(rows(500), begin, got.extend, 4, overlapping=True)
    assert (most, len(threads), [one.file.target for one in got]) == (4, 1, [str(n) for n in range(500)])


def test_what_waits_gets_more_threads_and_no_more_is_on_its_way() -> None:
    lock, on_way, most, got = threading.Lock(), 0, 0, []

    def begin(row: FileRow) -> Callable[[], Sent]:
        nonlocal on_way, most
        with lock:
            on_way += 1
            most = max(most, on_way)
        time.sleep(0.02)  # a share that takes its time

        def end() -> Sent:
            nonlocal on_way
            with lock:
                on_way -= 1
            return sent(row)

        return end

    began = time.monotonic()
    send_all(rows(150), begin, got.extend, 5, overlapping=True)
    assert time.monotonic() - began < 150 * 0.02 * 0.7
    assert len(got) == 150
    assert most == 5


def test_after_a_failure_what_is_on_its_way_still_counts() -> None:
    got: list[Sent] = []
    begun = []

    def begin(row: FileRow) -> Callable[[], Sent]:
        begun.append(row.target)

        def end() -> Sent:
            if row.target in ("10", "12"):
                raise Unreachable(row.target)
            return sent(row)

        return end

    with pytest.raises(Unreachable, match=r"^10$"):
        send_all(rows(50), begin, got.extend, 4, overlapping=True)
    assert [one.file.target for one in got] == [*map(str, range(10)), "11", "13"]
    assert len(begun) == 14


def test_larger_ones_are_not_begun_before_the_last_arrived() -> None:
    on_way: dict[int, int] = {}

    def begin(row: FileRow) -> Callable[[], Sent]:
        me = threading.get_ident()
        assert not on_way.get(me)
        on_way[me] = 1

        def end() -> Sent:
            on_way[me] = 0
            return sent(row)

        return end

    got: list[Sent] = []
    send_all(rows(20, TINY + 1) + rows(20), begin, got.extend, 1, overlapping=True)
    assert len(got) == 40
