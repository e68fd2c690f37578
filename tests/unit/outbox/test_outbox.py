"""The outbox keeps what it promised, exactly once."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.acquisition import Acquisition, FoundBy, SourceFile, State
from agent.errors import Damaged, Misconfigured
from agent.outbox import Announcement, FileState, NewFile, Outbox, Sent
from agent.outbox.migrate import migrations
from agent.outbox.queries import parse, statements
from agent.sources.events import FinishReason, Plan, Span


@pytest.fixture
def outbox(tmp_path: Path):
    made = Outbox.open(tmp_path / "outbox.sqlite")
    yield made
    made.close()


def acquisition(number: int = 1, **changes) -> Acquisition:
    made = Acquisition(
        id=f"0000-{number}",
        origin=f"hook:j:{number}",
        found_by=FoundBy.HOOK,
        name="cells µ",
        state=State.ACQUIRING,
        started_ns=number * 10**9,
        plan=Plan(6, (2, 3), ("t", "c")),
        outputs=("/data/x.ome.tiff",),
        software={"pymmcore-plus": "0.18.1"},
        span=Span("/spool/j", 10),
        files=(SourceFile("/data/x.ome.tiff", "x.ome.tiff", 5, 7, "1:2"),),
    )
    return replace(made, **changes)


def file(target: str, **changes) -> NewFile:
    return NewFile(target, f"/src/{target}", "data", 10, 20, "1:2", **changes)


def event(name: str, acquisition_id: str = "0000-1", retained: bool = False) -> Announcement:
    return Announcement(name, f"t/{name}", "type", acquisition_id, 5, {"name": name}, retained)


def test_an_acquisition_comes_back_as_it_was_saved(outbox: Outbox) -> None:
    saved = acquisition()
    outbox.save(saved)
    assert outbox.get(saved.id).acquisition == saved
    assert outbox.by_origin(saved.origin).acquisition == saved
    assert outbox.get("nobody") is None


def test_state_is_searched_newest_first_and_postponed_ones_wait(outbox: Outbox) -> None:
    for number in (1, 2, 3):
        outbox.save(acquisition(number, state=State.QUEUED))
    outbox.postpone("0000-2", next_at_ns=100, error="no network")
    assert [entry.acquisition.id for entry in outbox.due(State.QUEUED, now_ns=99)] == ["0000-3", "0000-1"]
    due = outbox.due(State.QUEUED, now_ns=100)
    assert [(entry.acquisition.id, entry.attempts, entry.error) for entry in due][1] == ("0000-2", 1, "no network")


def test_the_queue_counts_what_is_on_its_way(outbox: Outbox) -> None:
    for number, state in enumerate(State):
        outbox.save(acquisition(number, state=state))
    assert outbox.queue() == len(State) - 3
    plan = outbox._connection.execute(f"EXPLAIN QUERY PLAN {statements()['queue']}").fetchall()
    assert "acquisitions_open" in str(plan)
    plan = outbox._connection.execute(f"EXPLAIN QUERY PLAN {statements()['bytes_left']}").fetchall()
    assert "files_to_send" in str(plan)


def test_a_move_clears_the_failure_but_a_save_in_the_same_state_does_not(outbox: Outbox) -> None:
    outbox.save(acquisition(state=State.QUEUED))
    outbox.postpone("0000-1", 50, "no network")
    outbox.save(acquisition(state=State.QUEUED))
    assert outbox.get("0000-1").attempts == 1
    outbox.save(acquisition(state=State.DELIVERING))
    assert (outbox.get("0000-1").attempts, outbox.get("0000-1").error) == (0, None)


def test_the_dataset_path_is_fixed_once(outbox: Outbox) -> None:
    outbox.save(acquisition(), dataset="a/b")
    outbox.save(acquisition(), dataset="c/d")
    outbox.save(acquisition())
    assert outbox.get("0000-1").dataset == "a/b"


def test_files_go_pending_claimed_sent_verified(outbox: Outbox) -> None:
    outbox.save(acquisition(state=State.QUEUED), files=[file("data/a"), file("data/b")])
    assert outbox.bytes_left() == 20
    first, second = outbox.files("0000-1")
    outbox.claim(first, "/upload/1")
    assert outbox.files("0000-1")[0].upload == "/upload/1"
    outbox.sent([Sent(first, "aa", "bb", 12, 5), Sent(second, "cc", "cc", 10)])
    assert outbox.bytes_left() == 0
    outbox.reset(second)
    assert outbox.files("0000-1")[1].state is FileState.PENDING
    outbox.verified(acquisition(state=State.VERIFIED), [event("verified")])
    assert {row.state for row in outbox.files("0000-1")} == {FileState.VERIFIED}
    assert outbox.get("0000-1").acquisition.state is State.VERIFIED
    assert outbox.file_at("/src/data/a").sha256 == "aa"


def test_an_event_is_announced_once_and_numbered_without_gaps(outbox: Outbox) -> None:
    outbox.save(acquisition(), announce=[event("started")])
    outbox.save(acquisition(), announce=[event("started"), event("finished")])
    outbox.announce([event("started"), event("captured")])
    rows = outbox.unpublished(0, 10)
    assert [(row.sequence, row.id) for row in rows] == [(1, "started"), (2, "finished"), (3, "captured")]
    outbox.published([1, 2], now_ns=9)
    assert [row.id for row in outbox.unpublished(0, 10)] == ["captured"]
    assert outbox.last_sequence() == 3


def test_a_save_that_fails_leaves_nothing_behind(outbox: Outbox) -> None:
    outbox.save(acquisition(1))
    twice = acquisition(2, origin="hook:j:1")
    with pytest.raises(Damaged):
        outbox.save(twice, announce=[event("started")])
    assert outbox.get("0000-2") is None
    outbox.announce([event("later")])
    assert [(row.sequence, row.id) for row in outbox.unpublished(0, 10)] == [(1, "later")]


def test_only_the_latest_of_each_retained_topic_is_kept_for_a_reconnect(outbox: Outbox) -> None:
    one = event("status", retained=True)
    outbox.announce([one, replace(one, id="status2"), event("other")])
    assert [row.id for row in outbox.retained()] == ["status2"]


def test_journal_offsets_survive(outbox: Outbox, tmp_path: Path) -> None:
    outbox.save_offsets({"a": 1, "b": 2})
    outbox.save_offsets({"a": 5})
    again = Outbox.open(tmp_path / "outbox.sqlite")
    assert again.offsets() == {"a": 5, "b": 2}
    again.close()


def test_what_was_promised_is_there_after_kill(tmp_path: Path) -> None:
    """Not closed, not checkpointed: another connection must see it all."""
    first = Outbox.open(tmp_path / "o.sqlite")
    first.save(acquisition(reason=FinishReason.CANCELED), announce=[event("started")])
    second = Outbox.open(tmp_path / "o.sqlite")
    assert second.get("0000-1").acquisition.reason is FinishReason.CANCELED
    assert second.last_sequence() == 1
    first.close()
    second.close()


def test_it_is_wal_with_full_sync(outbox: Outbox) -> None:
    assert outbox._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert outbox._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    Outbox.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Misconfigured, match="newer scope-agent"):
        Outbox.open(path)


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "o.sqlite").write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(Damaged, match="damaged"):
        Outbox.open(tmp_path / "o.sqlite")


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_statement_is_valid_sql(outbox: Outbox) -> None:
    for name, statement in statements().items():
        names = {word.strip(",();") for word in statement.replace("(", " ").split() if word.startswith(":")}
        values = {word[1:].rstrip(",);"): None for word in names}
        outbox._connection.execute(f"EXPLAIN {statement}", values), name


def test_unnamed_or_repeated_statements_are_refused() -> None:
    with pytest.raises(ValueError, match="uniquely named"):
        parse("-- a\nSELECT 1;\n\n-- a\nSELECT 2;")
    with pytest.raises(ValueError, match="uniquely named"):
        parse("SELECT 1;")


def test_a_file_of_a_large_dataset_costs_no_more_than_one_of_a_small(outbox: Outbox) -> None:
    """The acquisition names all of its files, too: a value of megabytes must not be read again for each."""
    seconds = {}
    for count in (1_000, 40_000):
        sources = tuple(SourceFile(f"/data/{n:06}.bin", f"{n:06}.bin", 5, 7, f"1:{n}") for n in range(count))
        run = acquisition(count, files=sources)
        began = time.process_time()
        outbox.save(run, files=[file(f"data/{n:06}.bin") for n in range(count)])
        outbox.sent([Sent(row, "a" * 64, "a" * 64, 10) for row in outbox.each_file(run.id)])
        seconds[count] = (time.process_time() - began) / count
    assert seconds[40_000] < 5 * seconds[1_000]
