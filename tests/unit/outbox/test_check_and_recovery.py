"""The invariants hold and can fail; damage is noticed, set aside, and every earlier schema is upgraded."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agent.acquisition import State
from agent.clock import SystemClock
from agent.errors import Retryable, ScopeAgentError
from agent.outbox import Outbox, Sent
from agent.outbox.check import invariants
from agent.outbox.migrate import migrations
from tests.conftest import ROOT
from tests.unit.outbox.test_outbox import acquisition, event, file

HASH = "a" * 64
CLOCK = SystemClock()


def filled(path: Path) -> Outbox:
    """One acquisition in each state that has files, and events."""
    outbox = Outbox.open(path)
    for number in range(1, 40):
        run = acquisition(number, state=State.DELIVERING)
        outbox.save(run, dataset=f"d/{number}", files=[file("data/a"), file("data/b")], announce=[event(f"s{number}")])
        outbox.sent([Sent(outbox.files(run.id)[0], HASH, HASH, 10)])
    run = acquisition(1, state=State.DELIVERING)
    outbox.sent([Sent(row, HASH, HASH, 10) for row in outbox.files(run.id)])
    verified = acquisition(1, state=State.VERIFIED)
    said = event("v1", run.id)
    outbox.verified(
        verified, [said.__class__(**{**asdict(said), "type": "org.scope-agent.acquisition.verified.v1"})], 99
    )
    return outbox


def asdict(frozen) -> dict:
    return {name: getattr(frozen, name) for name in frozen.__slots__}


def test_a_sound_outbox_has_no_problems(tmp_path: Path) -> None:
    outbox = filled(tmp_path / "o.sqlite")
    assert outbox.check() == []
    outbox.close()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("UPDATE acquisitions SET state = 'settling' WHERE id = '0000-2'", "an acquisition is what its columns say"),
        ("UPDATE files SET state = 'flying' WHERE acquisition_id = '0000-2'", "a file state is one that exists"),
        ("UPDATE acquisitions SET dataset = 'd/1'", "a dataset belongs to one acquisition"),
        ("UPDATE acquisitions SET dataset = NULL WHERE id = '0000-3'", "what is queued has a dataset and files"),
        ("UPDATE files SET sha256 = NULL WHERE state = 'sent'", "a file that was sent has its hashes"),
        ("UPDATE files SET sha256 = 'x' WHERE state = 'pending'", "a file that was not sent has none"),
        ("UPDATE files SET upload = 'u' WHERE state = 'pending'", "only a claimed file has an upload"),
        ("UPDATE files SET state = 'verified'", "files are verified with their acquisition"),
        ("UPDATE files SET state = 'claimed', upload = 'u' WHERE state = 'pending'; INSERT INTO orphans VALUES ('u')",
         "an upload in use is no orphan"),
        ("DELETE FROM events WHERE sequence = 3", "events are numbered without gaps"),
        ("UPDATE events SET type = 'x'", "what is verified was announced"),
        ("INSERT INTO latest VALUES ('t', 5)", "the latest of a retained topic"),
        (
            "INSERT INTO releases VALUES ('/src', '0000-2', 'x', '/kept', 1, 1, NULL)",
            "only what was verified is released",
        ),
        (
            "INSERT INTO releases VALUES ('/src', '0000-1', 'x', '/kept', 1, NULL, 5)",
            "what is removed was moved first",
        ),
        ("PRAGMA foreign_keys = OFF; DELETE FROM acquisitions WHERE id = '0000-2'", "belongs to no acquisitions"),
        ("UPDATE acquisitions SET state = 'gone', value = json_set(value, '$.state', 'gone') WHERE id = '0000-2'",
         "a state is one that exists"),
    ],
)  # fmt: skip
def test_each_broken_invariant_is_told(tmp_path: Path, harm: str, says: str) -> None:
    outbox = filled(tmp_path / "o.sqlite")
    outbox._connection.executescript(harm)
    assert any(says in line for line in outbox.check()), outbox.check()
    outbox.close()


def test_every_invariant_is_among_those_that_were_broken_above() -> None:
    broken = test_each_broken_invariant_is_told.pytestmark[0].args[1]
    told = {says for _, says in broken}
    for name in invariants():
        assert any(says in name.replace("_", " ") for says in told), name


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a filled outbox whose process died: not closed, not checkpointed."""
    folder = tmp_path_factory.mktemp("died")
    script = (
        "import os, sys; from pathlib import Path; from tests.unit.outbox.test_check_and_recovery import filled;"
        "outbox = filled(Path(sys.argv[1])); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(folder / "o.sqlite")], cwd=ROOT, check=False)
    return folder


def killed(path: Path, died: Path) -> None:
    shutil.copytree(died, path.parent, dirs_exist_ok=True)


def test_a_killed_outbox_is_whole_and_opens_as_it_was(tmp_path: Path, died: Path) -> None:
    path = tmp_path / "o.sqlite"
    killed(path, died)
    assert (tmp_path / "o.sqlite-wal").exists()
    outbox, said = Outbox.recover(path, CLOCK)
    assert said is None
    assert outbox.get("0000-39") is not None
    outbox.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.sqlite"]
    again, said = Outbox.recover(path, CLOCK)
    assert said is None
    again.close()


def test_a_log_whose_end_a_crash_cut_off_is_no_damage(tmp_path: Path, died: Path) -> None:
    for cut in (1, 100, 4_000, 4_200):
        path = tmp_path / f"{cut}" / "o.sqlite"
        path.parent.mkdir()
        killed(path, died)
        log = path.with_name("o.sqlite-wal")
        os.truncate(log, log.stat().st_size - cut)
        outbox, said = Outbox.recover(path, CLOCK)
        assert said is None
        assert outbox.check() == []
        outbox.close()


def test_a_reader_that_closes_last_after_a_kill_is_no_damage(tmp_path: Path, died: Path) -> None:
    path = tmp_path / "o.sqlite"
    killed(path, died)
    Outbox.open(path).close()
    _, said = Outbox.recover(path, CLOCK)
    assert said is None


def flip(path: Path, chance: random.Random) -> None:
    body = bytearray(path.read_bytes())
    at = chance.randrange(len(body) // 4, len(body))
    body[at : at + 4000] = os.urandom(len(body[at : at + 4000]))
    path.write_bytes(body)


HARMS = (
    *("flipped", "truncated", "no log", "no log but a look", "emptied", "garbage", "no database"),
    *(
        "a flip in its log",
        "its log garbage",
        "no version",
        "an older version",
        "another's",
        "a folder",
        "its log a folder",
    ),
)


def harm_database(path: Path, harm: str) -> None:
    match harm:
        case "flipped":
            flip(path, random.Random(7))
        case "truncated":
            os.truncate(path, path.stat().st_size // 2)
        case "emptied":
            os.truncate(path, 0)
        case "no version" | "an older version":
            with path.open("r+b") as file:
                file.seek(60)
                file.write((2 if "older" in harm else 0).to_bytes(4, "big"))
        case "another's":
            path.unlink()
            with closing(sqlite3.connect(path)) as other:
                other.execute("CREATE TABLE events (a)")
        case "a folder" | "its log a folder":
            odd = path.with_name("o.sqlite-wal") if "log" in harm else path
            odd.unlink()
            odd.mkdir()
        case "garbage":
            path.write_bytes(os.urandom(50_000))
        case "no database":
            path.with_name("o.sqlite-open").touch()
            path.unlink()


def harm_log(log: Path, path: Path, harm: str) -> None:
    match harm:
        case "no log":
            log.unlink()
        case "a flip in its log":
            body = bytearray(log.read_bytes())
            body[len(body) // 2] ^= 4
            log.write_bytes(body)
        case "its log garbage":
            log.write_bytes(os.urandom(50_000))
        case "no log but a look":
            log.unlink()
            with suppress(Retryable):
                Outbox.view(path).close()


@pytest.mark.parametrize("harm", HARMS)
def test_damage_is_noticed_set_aside_and_begun_anew(tmp_path: Path, died: Path, harm: str) -> None:
    path = tmp_path / "o.sqlite"
    killed(path, died)
    if "log" not in harm:
        # The log would mend the database.
        Outbox.open(path).close()
    harm_database(path, harm)
    harm_log(path.with_name("o.sqlite-wal"), path, harm)
    outbox, said = Outbox.recover(path, CLOCK)
    assert said is not None, harm
    assert "was damaged" in said
    assert outbox.newest() == []
    assert outbox.check() == []
    aside = next(tmp_path.glob("o.sqlite.damaged-*"))
    assert list(aside.iterdir())
    outbox.close()
    again, said = Outbox.recover(path, CLOCK)
    assert said is None
    again.close()


def test_random_bit_flips_are_noticed_or_raise_an_error_of_ours(tmp_path: Path) -> None:
    """SQLite keeps no checksums: a flip inside a text may pass, but never as a foreign error.

    What then is wrong is found later: hashes by the facility, paths, sizes and times by the source's identity.
    """
    path = tmp_path / "o.sqlite"
    filled(path).close()
    sound = path.read_bytes()
    chance = random.Random(11)
    noticed = 0
    for number in range(80):
        body = bytearray(sound)
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        here = tmp_path / f"{number}" / "o.sqlite"
        here.parent.mkdir()
        here.write_bytes(body)
        try:
            outbox, said = Outbox.recover(here, CLOCK)
            noticed += said is not None or outbox.check() != []
            for entry in outbox.newest():
                outbox.files(entry.acquisition.id)
                outbox.events_of(entry.acquisition.id)
            outbox.close()
        except ScopeAgentError:
            noticed += 1
    assert noticed >= 8


def database_at(version: int, path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for number, script in migrations():
        if number <= version:
            connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT")
    return connection


@pytest.mark.parametrize("version", [number for number, _ in migrations()][:-1])
def test_every_earlier_version_is_upgraded_with_what_is_in_it(tmp_path: Path, version: int) -> None:
    path = tmp_path / "o.sqlite"
    model = Outbox.open(tmp_path / "model.sqlite")
    model.save(acquisition(1, state=State.DELIVERING))
    value = model._rows("get_acquisition", id="0000-1")[0]["value"]
    model.close()
    old = database_at(version, path)
    old.execute(
        "INSERT INTO acquisitions (id, origin, state, started_ns, dataset, value) "
        "VALUES ('0000-1', 'hook:j:1', 'delivering', 1000000000, 'd/1', ?)", (value,),
    )  # fmt: skip
    old.execute(
        "INSERT INTO files (acquisition_id, target, source, role, state, size, mtime_ns, file_id) "
        "VALUES ('0000-1', 'data/a', '/a', 'data', 'pending', 77, 1, '1:1')"
    )
    for sequence in (1, 2):
        old.execute(
            "INSERT INTO events VALUES (?, ?, 't', 'x', '0000-1', 5, '{}', 1, NULL)", (sequence, f"e{sequence}")
        )
    old.execute("UPDATE counters SET value = 2")
    if version >= 2:
        old.execute("UPDATE acquisitions SET size = 77")
        old.execute("INSERT INTO latest VALUES ('t', 2)")
    old.close()
    outbox = Outbox.open(path)
    assert outbox.check() == []
    assert outbox.next_delivery(0).size == 77
    assert [row.id for row in outbox.retained()] == ["e2"]
    assert outbox.files_left("0000-1", 5)[0].touched_ns is None
    outbox.close()
    fresh = Outbox.open(tmp_path / "fresh.sqlite")
    schema = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
    assert sqlite3.connect(path).execute(schema).fetchall() == fresh._connection.execute(schema).fetchall()
    fresh.close()
