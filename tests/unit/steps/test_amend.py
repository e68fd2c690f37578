"""A session or reading that is told late, or corrected, amends the records of its time: once, as an event."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.acquisition import Acquisition, State
from agent.contract.event import AmendmentData
from agent.contract.ids import derived_id
from agent.contract.record import Captured, Session
from agent.contract.topics import Topics
from agent.outbox import Outbox
from agent.sources.context import ContextLog
from agent.steps.amend import Amend, recorded
from agent.telemetry import announce
from tests.conftest import ROOT, Broker
from tests.lab import Lab
from tests.unit.outbox.test_outbox import acquisition
from tests.unit.telemetry.test_publisher import subscribed

S = 1_000_000_000
NOON = 1_772_452_800 * S  # 2026-03-02T12:00:00Z
TOPICS = Topics("lab", "scope1")


def known(name: str, **said: Any) -> Acquisition:
    return acquisition(id=derived_id(NOON, name), origin=f"watch:{name}", **{"name": name} | said)


class Held:
    """A clock that stands."""

    ns = NOON + 7200 * S
    passed = 0.0

    def now_ns(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        return self.passed


@dataclass
class Desk:
    """What Amend needs of a station."""

    outbox: Outbox
    around: ContextLog
    clock: Held
    topics: Topics = TOPICS
    woken: int = 0

    def wake(self) -> None:
        self.woken += 1

    def run(self, name: str, at_s: float, session: Session | None = None, **room: Captured) -> str:
        """An acquisition that was documented with this said of it."""
        made = known(name, state=State.VERIFIED, started_ns=NOON + int(at_s * S))
        told = announce.lifecycle(
            TOPICS, made, NOON, "documented", session=session or self.around.session(made.started_ns) or Session(),
            environment=room or {n: r.captured for n, r in self.around.environment(made.started_ns).items()},
        )  # fmt: skip
        self.outbox.save(made, announce=[told])
        return made.id

    def amendments(self) -> list[AmendmentData]:
        """Those that are announced, after Amend looked again, also after a restart."""
        for step in (Amend(self), Amend(self)):
            for _ in range(50):
                self.clock.passed += 2
                step.step()
        events = [event for event in self.outbox.unpublished(0, 1000) if event.topic == TOPICS.amended]
        return [AmendmentData.model_validate(event.data) for event in events]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    outbox = Outbox.open(tmp_path / "outbox.sqlite")
    yield Desk(outbox, ContextLog(tmp_path / "context"), Held())
    outbox.close()


def said(amendment: AmendmentData) -> dict[str, tuple[Any, Any]]:
    return {c.field: (c.before and c.before.value, c.after and c.after.value) for c in amendment.changes}


def test_a_session_that_is_told_late_amends_what_began_in_it(desk: Desk) -> None:
    desk.run("before", -10)
    during, later = desk.run("during", 10), desk.run("later", 3000)
    desk.around.note_session(NOON, {"user": "ada"}, 0.8, noted_ns=desk.clock.ns, until_ns=NOON + 1000 * S)
    (found,) = desk.amendments()
    assert (found.id, found.by, found.confidence) == (during, "session", 0.8)
    assert said(found) == {"session.user": (None, "ada")}
    assert found.dataset == f"lab/scope1/2026/03/02/120010_during_{during.replace('-', '')[-8:]}"
    assert desk.woken == 1
    assert recorded(desk.outbox.events_of(later))["user"] is None


def test_what_the_run_said_itself_stays_and_a_human_overrules_it(desk: Desk) -> None:
    own = Session(user=Captured(value="eve", source="session", taken_at="2026-03-02T12:00:10.000000Z"), confidence=0.9)
    run = desk.run("own", 10, own)
    desk.around.note_session(NOON, {"user": "ada", "project": "P1"}, 0.8, noted_ns=desk.clock.ns)
    assert [said(one) for one in desk.amendments()] == [{"session.project": (None, "P1")}]
    desk.around.correct({"user": "mia"}, desk.clock.ns, by="boss", reason="wrong login", acquisition=run)
    *_, last = desk.amendments()
    assert (last.by, last.reason, last.confidence) == ("boss", "wrong login", 0.95)
    assert said(last) == {"session.user": ("eve", "mia")}
    desk.around.correct({"user": None}, desk.clock.ns, by="boss", acquisition=run)
    assert said(desk.amendments()[-1]) == {"session.user": ("mia", None)}
    values = recorded(desk.outbox.events_of(run))
    assert (values["user"], values["project"].value) == (None, "P1")
    assert len(desk.amendments()) == 3, "nothing is amended twice"


def test_a_correction_of_a_time_holds_against_the_sessions_in_it(desk: Desk) -> None:
    desk.around.note_session(NOON + 5 * S, {"user": "bob", "sample": "s1"}, 0.9)
    runs = [desk.run(f"r{i}", 10 + i) for i in range(45)]
    desk.around.correct({"user": "ada"}, desk.clock.ns, by="x", since_ns=NOON, until_ns=NOON + 50 * S)
    found = desk.amendments()
    assert [one.id for one in found] == runs[:40], "those that began before its end"
    assert {json.dumps(said(one)) for one in found} == {'{"session.user": ["bob", "ada"]}'}


def test_a_reading_that_comes_late_amends_the_environment(desk: Desk) -> None:
    desk.around.note_sensor("Temperature", 20.0, NOON)
    desk.run("first", 10)
    desk.run("second", 100)
    desk.around.note_sensor("Temperature", 25.0, NOON + 60 * S, noted_ns=desk.clock.ns)
    (found,) = desk.amendments()
    assert (found.name, found.by) == ("second", "sensor")
    assert said(found) == {"environment.Temperature": (20.0, 25.0)}
    assert found.changes[0].after == Captured(
        value=25.0, unit="degC", source="measured", taken_at="2026-03-02T12:01:00.000000Z"
    )


def test_what_the_microscope_read_is_not_replaced_by_a_room_sensor(desk: Desk) -> None:
    live = Captured(value=37.0, unit="degC", source="live", taken_at="2026-03-02T12:00:10.000000Z")
    desk.run("warm", 10, Temperature=live)
    desk.around.note_sensor("Temperature", 21.0, NOON, noted_ns=desk.clock.ns)
    assert desk.amendments() == []


def test_what_is_not_documented_yet_needs_no_amendment(desk: Desk) -> None:
    desk.outbox.save(known("x", state=State.SETTLING, started_ns=NOON + S))
    desk.around.note_session(NOON, {"user": "ada"}, 0.8, noted_ns=desk.clock.ns)
    assert desk.amendments() == []


def test_a_record_whose_events_are_forgotten_is_corrected_outright(desk: Desk) -> None:
    old = known("old", state=State.RELEASED, started_ns=NOON)
    desk.outbox.save(old)
    desk.around.note_session(NOON - S, {"user": "bob"}, 0.8, noted_ns=desk.clock.ns)
    desk.around.correct({"sample": "s9", "Humidity": 40.0}, desk.clock.ns, by="x", acquisition=old.id)
    (found,) = desk.amendments()
    assert said(found) == {"session.sample": (None, "s9"), "environment.Humidity": (None, 40.0)}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("x")
    path = tmp_path / "config.toml"
    agent = 'site = "lab"\ninstrument = "scope1"\nstate = "."\n'
    path.write_text(f'{agent}[delivery]\nurl = "http://127.0.0.1:9"\ntoken_file = "token"\n')
    return path


def run(*arguments: str, config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", *arguments, "-c", str(config)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_commands_note_what_is_known_better(desk: Desk, config: Path) -> None:
    desk.clock.ns = time.time_ns()
    one = desk.run("one", 10)
    done = run("acquisitions", "amend", one[-8:], "user=ada", "temperature=21.5", "--reason", "typo", config=config)
    assert (done.returncode, done.stdout) == (0, f"noted; the daemon amends {one}\n")
    done = run("session", "amend", "--since", "2026-03-02T12:00:00Z", "--sample", "s7", config=config)
    assert done.returncode == 0, done.stderr
    (found,) = desk.amendments()
    wanted = {"session.user": "ada", "session.sample": "s7", "environment.Temperature": 21.5}
    assert {field: after for field, (_, after) in said(found).items()} == wanted
    assert found.reason == "typo"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["acquisitions", "amend", "ID", "owner=ada"], "'owner=ada': write KEY=VALUE"),
        (["acquisitions", "amend", "ID", "temperature=warm"], "Temperature is a number, not 'warm'"),
        (["acquisitions", "amend", "ID", "humidity=400"], "400.0 is not between 0 and 100"),
        (["acquisitions", "amend", "nobody", "user=x"], "there is no acquisition nobody"),
        (["session", "amend", "--since", "yesterday", "--user", "x"], "is no time"),
        (["session", "amend", "--since", "0001-01-01", "--user", "x"], "is no time"),
        (["session", "amend", "--since", "2026-03-02T12:00"], "say what was wrong"),
        (["session", "amend", "--since", "2026-03-02T12:00", "--until", "2026-03-02T11:00", "--user", "x"], "--until"),
    ],
)
def test_a_mistake_is_one_line(desk: Desk, config: Path, arguments: list[str], says: str) -> None:
    known = desk.run("one", 10)
    done = run(*(known if one == "ID" else one for one in arguments), config=config)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_running_daemon_publishes_an_amendment(nats: Broker, tmp_path: Path) -> None:
    import numpy as np
    import tifffile

    lab = Lab(tmp_path, mqtt={"host": "127.0.0.1", "port": nats.port})
    with lab.daemon(), subscribed(nats.port, "scope/v1/lab/scope/acquisition/#") as received:
        tifffile.imwrite(lab.images / "cells.tif", np.zeros((8, 8), np.uint16))
        (run,) = lab.described()
        assert lab.record(run).session.user is None
        began = run.started_ns - 60 * S
        ContextLog(lab.state / "context").note_session(began, {"user": "ada"}, 0.8, noted_ns=time.time_ns())
        event: dict[str, Any] = {}
        while not event.get("type", "").endswith("amended.v1"):
            event = json.loads(received.get(timeout=15)[1])
    assert event["subject"] == run.id
    assert said(AmendmentData.model_validate(event["data"])) == {"session.user": (None, "ada")}
