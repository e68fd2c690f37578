"""The steps with a real outbox, real files and a held clock."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from agent.acquisition import Acquisition, FoundBy, State
from agent.acquisition.settings import SettleSettings
from agent.contract.record import Record
from agent.contract.topics import Topics
from agent.delivery.settings import DeliverySettings
from agent.document import Context
from agent.errors import Rejected, Unreachable
from agent.heart import Heart
from agent.outbox import Outbox
from agent.pipeline import Pipeline
from agent.snapshot import load_profile
from agent.sources.context import ContextLog
from agent.sources.events import FileSeen, FinishReason, Plan, RunFinished, RunProgress, RunStarted, Span
from agent.sources.identity import identity
from agent.sources.settings import WatchSettings
from agent.steps.candidates import Candidates
from agent.steps.dispatch import Dispatch
from agent.steps.examine import datasets_at
from agent.steps.journals import Journals
from agent.steps.listen import Listen
from agent.steps.settle import Settle
from agent.steps.station import Station
from agent.testing.clock import HeldClock
from agent.testing.target import MemoryTarget

TOPICS = Topics("lab", "scope")
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


class ScriptedSource:
    """Tells what the test put into it; a fault of timing that the real sources cannot show on demand."""

    name = "scripted"

    def __init__(self) -> None:
        self.events: list = []

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def poll(self) -> list:
        told, self.events = self.events, []
        return told


class Bench:
    """The pipeline without threads, daemon or network."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, HeldClock()
        self.watched = folder / "watched"
        self.watched.mkdir(exist_ok=True)
        self.target, self.source = MemoryTarget(), ScriptedSource()
        self.outbox = Outbox.open(folder / "outbox.sqlite")
        context = Context("lab", "scope", "0", "0" * 64)
        settle = SettleSettings(quiet_s=2, patience_s=60)
        self.station = Station(
            TOPICS, context, load_profile(None), self.outbox, folder / "work", settle, self.clock, lambda: None
        )
        watch = WatchSettings(path=self.watched, quiet_s=2, patience_s=60)
        candidates = Candidates(self.station, {str(self.watched): watch}, {})
        listen = Listen(self.station, [self.source], candidates, dict)
        candidates.running = listen.running
        dispatch = Dispatch(self.station, self.target, DeliverySettings(url="http://x", retry_first_s=1), lambda: False)
        journals = Journals(self.station, folder / "spool", 1 << 20)
        self.pipeline = Pipeline(self.station, listen, candidates, Settle(self.station), journals, dispatch)

    def see(self, path: Path) -> None:
        found = identity(path)
        self.source.events.append(
            FileSeen(str(self.watched), str(path), found.size, found.mtime_ns, found.file_id, self.clock.now_ns())
        )

    def turn(self, seconds: float) -> None:
        """Let time pass in half seconds, every thread's method called each time."""
        for _ in range(int(seconds * 2)):
            self.clock.pass_(0.5)
            for method in (self.pipeline.hear, self.pipeline.work, self.pipeline.work, self.pipeline.deliver):
                method()

    def all(self) -> list[Acquisition]:
        return [entry.acquisition for entry in self.outbox.newest()]

    def events(self, acquisition: Acquisition) -> list[str]:
        return [row.type.split(".")[-2] for row in self.outbox.events_of(acquisition.id)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.outbox.close()


def image(path: Path, planes: int = 2) -> Path:
    tifffile.imwrite(path, np.arange(planes * 64, dtype=np.uint16).reshape(planes, 8, 8), photometric="minisblack")
    return path


def test_a_watched_file_becomes_one_verified_dataset(bench: Bench) -> None:
    bench.see(image(bench.watched / "a.tif"))
    bench.turn(5)
    (run,) = bench.all()
    assert (run.state, run.found_by, run.frames) == (State.VERIFIED, FoundBy.WATCH, 2)
    assert bench.events(run) == ["started", "finished", "captured", "documented", "delivered", "verified"]
    (dataset,) = bench.target.committed.values()
    assert "acquisition.json" in dataset
    assert not list((bench.folder / "work").iterdir())


def test_room_sensors_and_the_session_are_attached_with_their_source(bench: Bench) -> None:
    around = ContextLog(bench.folder / "context")
    path = image(bench.watched / "a.tif")
    began = identity(path).mtime_ns
    bench.clock.set_back((bench.clock.now_ns() - began) / 1e9 - 60)
    around.note_sensor("Temperature", 21.5, began - 120 * 10**9)
    around.note_session(began - 600 * 10**9, {"user": "A. Costa", "project": "P1"}, 0.8)
    bench.station = replace(bench.station, around=around)
    bench.pipeline = replace(bench.pipeline, station=bench.station)
    bench.see(path)
    bench.turn(5)
    (dataset,) = bench.target.committed.values()
    record = Record.model_validate_json(dataset["acquisition.json"])
    temperature = record.environment["Temperature"]
    assert (temperature.value, temperature.unit, temperature.source) == (21.5, "degC", "measured")
    assert (record.session.user.value, record.session.confidence) == ("A. Costa", 0.8)
    assert b"ImagingEnvironment" in dataset["metadata.companion.ome"]


def test_the_same_file_told_again_is_no_second_acquisition(bench: Bench) -> None:
    path = image(bench.watched / "a.tif")
    for _ in range(3):
        bench.see(path)
        bench.turn(5)
    assert len(bench.all()) == 1


def test_a_growing_file_is_not_taken_before_it_rests(bench: Bench) -> None:
    path = bench.watched / "stream.raw"
    for _ in range(6):
        with path.open("ab") as file:
            file.write(os.urandom(100))
        bench.see(path)
        bench.turn(1.5)
        assert bench.all() == []
    bench.turn(5)
    assert [run.state for run in bench.all()] == [State.VERIFIED]


def test_a_writer_that_pauses_with_the_file_open_must_rest_anew_when_it_closes(bench: Bench) -> None:
    """The next part may follow: nothing changed in the file when it was closed, but its writer was there."""
    path = bench.watched / "roll-1.raw"
    with path.open("wb") as file:
        file.write(b"x" * 100)
        file.flush()
        bench.see(path)
        bench.turn(10)
        assert bench.all() == []
    bench.turn(1.5)
    assert bench.all() == []
    bench.turn(40)
    assert len(bench.all()) == 1


def test_a_damaged_file_is_delivered_flagged_when_patience_ends(bench: Bench) -> None:
    path = image(bench.watched / "cut.tif", planes=200)
    os.truncate(path, path.stat().st_size // 2)
    bench.see(path)
    bench.turn(30)
    assert bench.all() == []
    bench.turn(60)
    (run,) = bench.all()
    assert run.state is State.VERIFIED
    assert run.notes


def started(outputs: tuple[str, ...], frames: int | None = 2) -> RunStarted:
    return RunStarted("hook:j:1", 10, "run", Plan(frames), outputs, {}, Span("/nowhere/j", 0))


def finished(frames: int, reason: FinishReason = FinishReason.COMPLETED) -> RunFinished:
    return RunFinished("hook:j:1", 20, reason, frames, Span("/nowhere/j", 0, 9))


def test_completed_is_believed_only_when_the_files_agree(bench: Bench) -> None:
    path = image(bench.watched / "run.tif", planes=2)
    bench.source.events += [started((str(path),), 3), finished(3)]
    bench.turn(10)
    (run,) = bench.all()
    assert run.reason is FinishReason.ERRORED
    assert any("2 of 3 planes" in note for note in run.notes)


def test_a_run_seen_by_hook_and_folder_is_one_acquisition(bench: Bench) -> None:
    path = image(bench.watched / "run.tif")
    bench.see(path)
    bench.source.events.append(started((str(path),)))
    bench.turn(5)
    assert [run.state for run in bench.all()] == [State.ACQUIRING]
    bench.see(path)
    bench.source.events.append(finished(2))
    bench.turn(0.5)
    assert len(bench.all()) == 1


def test_an_aborted_run_is_announced_and_goes_on(bench: Bench) -> None:
    path = image(bench.watched / "run.tif", planes=1)
    bench.source.events += [started((str(path),), 5), RunProgress("hook:j:1", 11, 1)]
    bench.turn(1)
    bench.source.events.append(finished(1, FinishReason.ABORTED))
    bench.turn(5)
    (run,) = bench.all()
    assert (run.reason, run.frames, run.plan.frames) == (FinishReason.ABORTED, 1, 5)
    assert "aborted" in bench.events(run)
    assert run.state is not State.ABORTED


def test_a_restart_hears_the_same_run_again_as_the_same_acquisition(bench: Bench) -> None:
    bench.source.events.append(started(()))
    bench.turn(0.5)
    again = Bench(bench.folder)
    again.source.events += [started(()), RunProgress("hook:j:1", 12, 1)]
    again.turn(0.5)
    assert [run.id for run in again.all()] == [run.id for run in bench.all()]
    assert len(again.outbox.unpublished(0, 100)) == 2  # started and current, once
    again.outbox.close()


def test_a_facility_that_is_away_only_delays(bench: Bench) -> None:
    bench.see(image(bench.watched / "a.tif"))
    for _ in range(8):
        bench.target.fail_next = Unreachable("the network is away")
        bench.turn(0.5)
    bench.turn(60)
    (run,) = bench.all()
    assert run.state is State.VERIFIED
    assert bench.events(run).count("verified") == 1


def test_what_the_facility_rejects_is_kept_and_blocks_nobody(bench: Bench) -> None:
    bench.see(image(bench.watched / "a.tif"))
    while not bench.outbox.due(State.QUEUED, bench.clock.now_ns()):
        bench.clock.pass_(0.5)
        bench.pipeline.hear()
        bench.pipeline.work()
    bench.target.fail_next = Rejected("not allowed")
    bench.pipeline.deliver()
    (bad,) = bench.all()
    assert bad.state is State.REJECTED
    assert bench.outbox.get(bad.id).error == "not allowed"
    bench.see(image(bench.watched / "b.tif", 3))
    bench.turn(6)
    assert sorted(run.state for run in bench.all()) == [State.REJECTED, State.VERIFIED]


def test_a_source_that_changes_while_queued_is_settled_and_sent_as_it_is_now(bench: Bench) -> None:
    path = image(bench.watched / "a.tif")
    bench.see(path)
    while not bench.outbox.due(State.QUEUED, bench.clock.now_ns()):
        bench.clock.pass_(0.5)
        bench.pipeline.hear()
        bench.pipeline.work()
    image(path, planes=5)
    bench.turn(20)
    states = {run.state for run in bench.all()}
    assert states == {State.VERIFIED}
    (dataset,) = bench.target.committed.values()
    assert len(dataset["data/a.tif"]) >= path.stat().st_size
    assert any("changed" in note for note in bench.all()[0].notes)


def test_a_deleted_source_is_rejected_with_the_reason(bench: Bench) -> None:
    path = image(bench.watched / "a.tif")
    bench.see(path)
    while not bench.outbox.due(State.QUEUED, bench.clock.now_ns()):
        bench.clock.pass_(0.5)
        bench.pipeline.hear()
        bench.pipeline.work()
    path.unlink()
    bench.turn(70)
    (run,) = bench.all()
    assert run.state is State.REJECTED
    assert "deleted" in bench.outbox.get(run.id).error


def test_outputs_of_several_positions_are_found_beside_and_below(tmp_path: Path) -> None:
    image(tmp_path / "x_p000.ome.tiff")
    image(tmp_path / "x_p001.ome.tiff")
    image(tmp_path / "other.ome.tiff")
    found = datasets_at((str(tmp_path / "x.ome.tiff"),))
    assert sorted(file.name for dataset in found for file in dataset.files) == ["x_p000.ome.tiff", "x_p001.ome.tiff"]


def complete(bench: Bench) -> None:
    span = Span(str(bench.folder / "none"), 0, 5)
    run = Acquisition(ID, "hook:j:9", FoundBy.HOOK, "x", State.COMPLETE, 1, span=span)
    bench.outbox.save(replace(run, finished_ns=2))


def test_a_lost_journal_does_not_lose_the_acquisition(bench: Bench) -> None:
    complete(bench)
    bench.turn(5)
    (run,) = bench.all()
    assert run.state is State.VERIFIED
    assert any("recorded of the frames is lost" in note for note in run.notes)


def test_a_step_that_fails_in_an_unforeseen_way_is_postponed_then_rejected(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(_station: Station, _acquisition: Acquisition) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("agent.pipeline.WORK", ((State.COMPLETE, bug),))
    complete(bench)
    bench.turn(20)
    assert bench.outbox.get(ID).attempts == 1
    bench.turn(400)
    assert bench.outbox.get(ID).acquisition.state is State.REJECTED
    assert bench.outbox.get(ID).error == "ZeroDivisionError: a bug"


def test_an_idle_agent_tells_the_number_of_its_newest_event(bench: Bench) -> None:
    """So that a subscriber that misses the last one need not wait for another."""
    told: list[dict[str, object]] = []
    publisher = SimpleNamespace(troubles=[], problem=None, progress=lambda body: told.append(json.loads(body)))
    heart = Heart(bench.station, bench.pipeline.listen, publisher, bench.folder, list)
    heart.beat()
    assert told == [], "the status is on its way"
    bench.outbox.published([1], 1)
    heart.beat()
    assert [(one["last"], one["epoch"]) for one in told] == [(1, bench.outbox.fact("epoch", "none"))]
    for _ in range(29):
        bench.clock.pass_(1)
        heart.beat()
    assert len(told) == 1
    bench.clock.pass_(1)
    heart.beat()
    assert len(told) == 2


def test_what_was_begun_for_a_rejected_acquisition_is_ended(bench: Bench) -> None:
    """Whatever it was rejected for: parts that nobody goes on with would stay at the store, and what was gathered."""
    bench.see(image(bench.watched / "a.tif"))
    while not bench.outbox.due(State.QUEUED, bench.clock.now_ns()):
        bench.clock.pass_(0.5)
        bench.pipeline.hear()
        bench.pipeline.work()
    (run,) = bench.all()
    bench.outbox.claim(bench.outbox.files(run.id)[0], "upload-7")
    bench.station.reject(run, "deleted before it was delivered")
    assert bench.outbox.orphans() == [f"staged:{bench.outbox.get(run.id).dataset}", "upload-7"]
