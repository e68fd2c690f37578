"""Files to a real facility: verified, resumed, and wrong ones noticed."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from agent.acquisition import Acquisition, FoundBy, State
from agent.contract.record import FileEntry
from agent.delivery.facility import FacilityTarget
from agent.delivery.port import Outgoing
from agent.delivery.retry import GiveUp, Retry, decide
from agent.delivery.settings import DeliverySettings
from agent.delivery.worker import Interrupted, Worker
from agent.errors import Misconfigured, Rejected, SourceChanged, Unreachable
from agent.facility.serve import create_token, serve
from agent.facility.settings import Settings
from agent.outbox import FileState, NewFile, Outbox, Sent
from agent.sources.identity import identity
from tests.conftest import free_port

DATASET = "lab/scope/2026/01/02/030405_cells_0badcafe"


class Facility:
    """The project's own server in a thread of the test."""

    def __init__(self, data: Path) -> None:
        self.data, self.port, self.stop = data, 0, threading.Event()
        self.token = create_token(data, "lab/scope")
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        ready = threading.Event()

        def told(port: int) -> None:
            self.port = port
            ready.set()

        self.stop.clear()
        settings = Settings(data_dir=self.data, port=self.port)
        self._thread = threading.Thread(target=serve, args=(settings, told, self.stop))
        self._thread.start()
        assert ready.wait(20)

    def end(self) -> None:
        self.stop.set()
        self._thread.join(10)

    def settings(self, tmp_path: Path, **more) -> DeliverySettings:
        (tmp_path / "token").write_text(self.token)
        url = f"http://127.0.0.1:{self.port}"
        return DeliverySettings(url=url, token_file=tmp_path / "token", stall_s=5, chunk_mib=1, **more)


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    made = Facility(tmp_path / "facility")
    made.start()
    yield made
    made.end()


@pytest.fixture
def target(facility: Facility, tmp_path: Path) -> Iterator[FacilityTarget]:
    made = FacilityTarget(facility.settings(tmp_path))
    yield made
    made.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox.open(tmp_path / "outbox.sqlite")
    yield made
    made.close()


def queued(outbox: Outbox, *paths: Path) -> None:
    run = Acquisition("00-1", "o", FoundBy.HOOK, "cells", State.DELIVERING, 1)
    files = [NewFile(f"data/{path.name}", str(path), "data", *identity(path)) for path in paths]
    outbox.save(run, dataset=DATASET, files=files)


def written(path: Path, text: str) -> dict[str, Path]:
    """What a `Seal` returns for one document."""
    path.write_text(text, encoding="utf-8")
    return {path.name: path}


def worker(outbox: Outbox, target: FacilityTarget, stop=lambda: False) -> Worker:
    def seal(_entry, files: Iterable[FileEntry]) -> dict[str, Path]:
        return written(outbox._path.with_name("acquisition.json"), "\n".join(file.sha256 for file in files))

    return Worker(outbox, target, seal, stop)


def test_a_dataset_arrives_whole_and_sha256sum_agrees(facility, target, outbox, tmp_path) -> None:
    big, empty = tmp_path / "big.bin", tmp_path / "empty.bin"
    big.write_bytes(os.urandom(5 << 20) + b"x")
    empty.write_bytes(b"")
    queued(outbox, big, empty)
    delivered = worker(outbox, target).deliver(outbox.get("00-1"))
    folder = facility.data / "datasets" / DATASET
    assert delivered.files == 3
    assert (folder / "data/big.bin").read_bytes() == big.read_bytes()
    assert os.system(f"cd '{folder}' && sha256sum --quiet -c manifest-sha256.txt") == 0
    rows = outbox.files("00-1")
    assert [row.sha256 for row in rows] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in (big, empty)]
    assert target.held(DATASET).files["data/empty.bin"] == hashlib.sha256(b"").hexdigest()


def test_delivering_again_changes_nothing(facility, target, outbox, tmp_path) -> None:
    source = tmp_path / "a.bin"
    source.write_bytes(b"abc")
    queued(outbox, source)
    worker(outbox, target).deliver(outbox.get("00-1"))
    before = sorted((p, p.stat().st_mtime_ns) for p in (facility.data / "datasets").rglob("*") if p.is_file())
    queued(outbox, source)
    worker(outbox, target).deliver(outbox.get("00-1"))
    after = sorted((p, p.stat().st_mtime_ns) for p in (facility.data / "datasets").rglob("*") if p.is_file())
    assert before == after


def test_an_interrupted_upload_goes_on_where_it_stopped_after_both_sides_restarted(facility, outbox, tmp_path) -> None:
    source = tmp_path / "big.bin"
    source.write_bytes(os.urandom(6 << 20))
    queued(outbox, source)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    first = FacilityTarget(facility.settings(tmp_path))
    with pytest.raises(Interrupted):
        worker(outbox, first, stop).deliver(outbox.get("00-1"))
    first.close()
    row = outbox.files("00-1")[0]
    assert row.state is FileState.CLAIMED
    assert row.upload
    facility.end()
    facility.start()
    second = FacilityTarget(facility.settings(tmp_path))
    sent: list[int] = []
    plain = second._wire.ask

    def counting(method: str, path: str, **how):
        sent.append(how["body"].size if method == "PATCH" else 0)
        return plain(method, path, **how)

    second._wire.ask = counting
    worker(outbox, second).deliver(outbox.get("00-1"))
    second.close()
    assert 0 < sum(sent) < 6 << 20
    assert (facility.data / "datasets" / DATASET / "data/big.bin").read_bytes() == source.read_bytes()


def test_a_file_changed_before_or_under_the_upload_is_noticed(facility, target, outbox, tmp_path) -> None:
    source = tmp_path / "a.bin"
    source.write_bytes(b"abc")
    queued(outbox, source)
    source.write_bytes(b"other")
    with pytest.raises(SourceChanged, match="changed"):
        worker(outbox, target).deliver(outbox.get("00-1"))
    source.unlink()
    with pytest.raises(SourceChanged, match="deleted"):
        worker(outbox, target).deliver(outbox.get("00-1"))
    source.write_bytes(os.urandom(3 << 20))
    queued(outbox, source)
    calls = 0

    def grow() -> bool:
        nonlocal calls
        calls += 1
        if calls == 2:
            with source.open("ab") as file:
                file.write(b"more")
        return False

    with pytest.raises(SourceChanged):
        worker(outbox, target, grow).deliver(outbox.get("00-1"))
    assert not (facility.data / "datasets" / DATASET).exists()


def test_a_file_lost_at_the_facility_before_the_commit_is_sent_again(facility, target, outbox, tmp_path) -> None:
    source = tmp_path / "a.bin"
    source.write_bytes(b"abc")
    queued(outbox, source)
    row = outbox.files("00-1")[0]
    wrong = hashlib.sha256(b"abc").hexdigest()
    outbox.sent([Sent(row, wrong, wrong, 3)])  # it says sent, but the facility never saw it
    with pytest.raises(Exception, match="sending them again"):
        worker(outbox, target).deliver(outbox.get("00-1"))
    assert outbox.files("00-1")[0].state is FileState.PENDING
    worker(outbox, target).deliver(outbox.get("00-1"))
    assert (facility.data / "datasets" / DATASET / "data/a.bin").read_bytes() == b"abc"


def test_a_wrong_token_and_a_dead_facility_are_one_line(facility, tmp_path) -> None:
    settings = facility.settings(tmp_path)
    (tmp_path / "token").write_text("wrong")
    stranger = FacilityTarget(settings)
    with pytest.raises(Misconfigured, match="check the credentials"):
        stranger.send(DATASET, Outgoing("data/a", 1, lambda _: iter([b"x"])))
    stranger.close()
    nobody = FacilityTarget(DeliverySettings(url=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Unreachable, match="cannot be reached"):
        nobody.check()
    nobody.close()


def test_retry_doubles_and_gives_up_only_what_was_rejected() -> None:
    settings = DeliverySettings(url="http://x", retry_first_s=1, retry_most_s=10)
    assert [decide(Unreachable(""), n, settings) for n in range(5)] == [Retry(s) for s in (1, 2, 4, 8, 10)]
    assert decide(Misconfigured(""), 0, settings) == Retry(1)
    assert decide(Rejected(""), 0, settings) == GiveUp()
