"""What goes first, what gives way, what is ended, and what is known again after the state was lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agent.acquisition import State
from agent.contract.record import AgentInfo, Counts, Record
from agent.delivery.facility import FacilityTarget
from agent.delivery.settings import DeliverySettings
from agent.delivery.worker import Superseded, Worker
from agent.errors import Rejected, Retryable
from agent.outbox import FileState, NewFile, Outbox
from agent.sources.identity import identity
from agent.steps.dispatch import GUARANTEES, Dispatch
from agent.testing.clock import HeldClock
from agent.testing.target import MemoryTarget
from tests.unit.delivery.test_delivery import DATASET, facility, outbox, queued, written  # noqa: F401
from tests.unit.delivery.test_release import StandIn
from tests.unit.outbox.test_outbox import acquisition


class Orders(MemoryTarget):
    """Remembers what was sent in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def send(self, dataset, file):
        self.sent.append(f"{dataset}/{file.target}")
        return super().send(dataset, file)


class Stand(StandIn):
    def __init__(self, outbox: Outbox, folder: Path) -> None:  # noqa: F811
        super().__init__(outbox, HeldClock())
        self.workspace = folder

    def reject(self, acquisition, reason: str) -> None:
        from agent.steps.station import Station

        Station.reject(self, acquisition, reason)


@pytest.fixture
def bench(outbox, tmp_path, monkeypatch) -> Dispatch:  # noqa: F811
    monkeypatch.setattr(Dispatch, "_sealed", lambda *_: written(tmp_path / "acquisition.json", "{}"))
    settings = DeliverySettings(url="http://x", parallel=1)
    return Dispatch(Stand(outbox, tmp_path / "work"), Orders(), settings, lambda: False)


def queue(outbox: Outbox, folder: Path, number: int, size: int | None = None) -> None:  # noqa: F811
    files = []
    for name, role in (("data/a", "data"), ("methods.txt", "methods")):
        path = folder / f"{number}-{Path(name).name}"
        path.write_bytes(b"x" * 10)
        files.append(NewFile(name, str(path), role, *identity(path)))
    outbox.save(acquisition(number, state=State.QUEUED), dataset=f"d{number}", files=files)
    if size:
        outbox._connection.execute("UPDATE acquisitions SET size = ? WHERE id = ?", (size, f"0000-{number}"))


def test_metadata_first_then_small_then_large_the_newest_first(bench, outbox, tmp_path) -> None:  # noqa: F811
    queue(outbox, tmp_path, 3, 2 << 30)
    queue(outbox, tmp_path, 2)
    queue(outbox, tmp_path, 1)
    while bench.step():
        pass
    assert bench.target.sent == [
        "d3/methods.txt", "d2/methods.txt", "d1/methods.txt",
        "d2/data/a", "d2/acquisition.json", "d1/data/a", "d1/acquisition.json",
        "d3/data/a", "d3/acquisition.json",
    ]  # fmt: skip
    assert outbox.counts() == {State.VERIFIED: 3}


def test_a_large_one_gives_way_and_goes_on(bench, outbox, tmp_path) -> None:  # noqa: F811
    queue(outbox, tmp_path, 1, 2 << 30)
    bench.step()
    plain = bench.target.send

    def send(dataset, file):
        if dataset == "d1" and not outbox.get("0000-2"):
            queue(outbox, tmp_path, 2)
            bench.station.clock.pass_(2)
        return plain(dataset, file)

    bench.target.send = send
    while bench.step():
        pass
    data = [sent for sent in bench.target.sent if sent.endswith("data/a")]
    assert data.index("d2/data/a") < len(data) - 1
    assert data[-1] == "d1/data/a"
    assert outbox.counts() == {State.VERIFIED: 2}


@pytest.mark.parametrize("error", [Retryable("stuck"), KeyError("a bug"), OSError("the drafts are gone")])
def test_one_that_fails_blocks_no_other(bench, outbox, tmp_path, error) -> None:  # noqa: F811
    for number in (1, 2, 3):
        queue(outbox, tmp_path, number)
    plain = bench.target.send

    def send(dataset, file):
        if dataset == "d3" and file.target == "data/a":
            raise error
        return plain(dataset, file)

    bench.target.send = send
    for _ in range(20):
        bench.step()
    assert outbox.counts() == {State.VERIFIED: 2, State.DELIVERING: 1}
    bench.target.send = plain
    bench.station.clock.pass_(1000)
    while bench.step():
        pass
    assert outbox.counts() == {State.VERIFIED: 3}


def test_a_rejection_ends_what_was_begun(bench, outbox, tmp_path) -> None:  # noqa: F811
    queue(outbox, tmp_path, 1)
    bench.step()

    def send(dataset, file):
        file.on_upload("upload-1")
        raise Rejected("never")

    bench.target.send = send
    while bench.step():
        pass
    assert outbox.get("0000-1").acquisition.state is State.REJECTED
    assert sorted(bench.target.abandoned) == ["staged:d1", "upload-1"]
    assert outbox.orphans() == []
    assert {row.state for row in outbox.files("0000-1")} == {FileState.PENDING, FileState.SENT}
    assert outbox.check() == []


@pytest.mark.parametrize("same", [True, False])
def test_what_was_delivered_before_the_state_was_lost_is_known_again(
    facility, outbox, tmp_path, same  # noqa: F811
) -> None:  # fmt: skip
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(2 << 20))
    target = FacilityTarget(facility.settings(tmp_path))

    def sealer(version: str):
        def seal(_entry, files) -> dict[str, Path]:
            record = Record(
                id="00-1", site="lab", instrument="scope", name="x", source="watch", started_at="", finished_at=None,
                state="", finish_reason="unknown", planned=Counts(), actual=Counts(), files=list(files),
                agent=AgentInfo(version=version, config_sha256=""),
            )  # fmt: skip
            return written(tmp_path / "acquisition.json", record.model_dump_json())

        return seal

    queued(outbox, source)
    Worker(outbox, target, sealer("1"), lambda: False).deliver(outbox.get("00-1"))
    if not same:
        source.write_bytes(os.urandom(2 << 20))
    lost = Outbox.open(tmp_path / "rebuilt.sqlite")
    queued(lost, source)
    again = Worker(lost, target, sealer("2"), lambda: False)
    if same:
        again.deliver(lost.get("00-1"))
        assert lost.files("00-1")[0].state is FileState.SENT
    else:
        with pytest.raises(Superseded):
            again.deliver(lost.get("00-1"))
    manifests = list((facility.data / "datasets").rglob("manifest-sha256.txt"))
    assert [path.parent for path in manifests] == [facility.data / "datasets" / DATASET]
    lost.close()
    target.close()


def test_what_the_target_does_not_guarantee_is_recorded(bench, outbox, tmp_path, caplog) -> None:  # noqa: F811
    bench.target.doubts = lambda: ["it may lose everything"]
    for number in (1, 2):
        queue(outbox, tmp_path, number)
    while bench.step():
        pass
    assert json.loads(outbox.fact(GUARANTEES, ""))["not_guaranteed"] == ["it may lose everything"]
    assert caplog.text.count("it may lose everything") == 1


def test_a_delivery_that_seems_to_hang_is_told(bench, outbox, tmp_path) -> None:  # noqa: F811
    queue(outbox, tmp_path, 1)
    clock, told = bench.station.clock, []
    plain = bench.target.send

    def send(dataset, file):
        clock.pass_(590)
        told.append(bench.stuck())
        for _ in file.blocks(0):
            pass
        clock.pass_(590)
        told.append(bench.stuck())
        clock.pass_(20)
        told.append(bench.stuck())
        return plain(dataset, file)

    bench.target.send = send
    assert bench.stuck() == []
    bench.step()
    assert told == [[], [], ["deliver: nothing has moved for 10 minutes: does http://x/ hang?"]]
    assert bench.stuck() == []
