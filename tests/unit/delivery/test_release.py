"""Nothing is released that the target does not hold: 10,000 random histories try (SCOPE_AGENT_HISTORIES)."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agent.acquisition import Acquisition, FoundBy, SourceFile, State
from agent.contract.record import AgentInfo, Counts, FileEntry, Record
from agent.contract.topics import Topics
from agent.delivery import release as release_module
from agent.delivery.release import Releaser
from agent.delivery.settings import ReleaseSettings
from agent.errors import Unreachable
from agent.outbox import NewFile, Outbox, Sent
from agent.sources.identity import identity
from agent.steps.release import ReleaseStep
from agent.testing.clock import HeldClock
from agent.testing.target import MemoryTarget

HISTORIES = int(os.environ.get("SCOPE_AGENT_HISTORIES", "2000"))
DAY_S = 86_400


class Killed(BaseException):
    """kill -9, as far as a test can have it in its own process."""


class StandIn:
    """As much of a Station as the step needs."""

    def __init__(self, outbox: Outbox, clock: HeldClock) -> None:
        self.outbox, self.clock, self.topics = outbox, clock, Topics("lab", "scope")

    def wake(self) -> None: ...

    def advance(self, acquisition: Acquisition, to: State, event: str | None = None, **more) -> Acquisition:
        from agent.steps.station import Station

        return Station.advance(self, acquisition, to, event, **more)  # type: ignore[arg-type]

    def save(self, acquisition, announcements=None, **more) -> None:
        self.outbox.save(acquisition, announce=announcements or ())


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class History:
    """One acquisition of a few files, from delivered on."""

    def __init__(self, outbox: Outbox, folder: Path, number: int, chance: random.Random) -> None:
        self.outbox, self.chance, self.folder = outbox, chance, folder
        self.id, self.dataset = f"id-{number}", f"lab/scope/2026/01/01/000000_x_{number:08x}"
        self.clock, self.target = HeldClock(), MemoryTarget()
        folder.mkdir()
        self.sources = [folder / f"{n}.tif" for n in range(chance.randint(1, 3))]
        for path in self.sources:
            path.write_bytes(chance.randbytes(chance.randint(1, 200)))
        policy = ReleaseSettings(
            policy=chance.choice(["age", "pressure"]), after_days=1, free_gib=1 << 40, grace_days=1
        )
        releaser = Releaser(outbox, self.target, policy.grace_folder)
        self.step = ReleaseStep(StandIn(outbox, self.clock), releaser, policy)
        self.deliver(verified=chance.random() < 0.8)

    def deliver(self, *, verified: bool) -> None:
        bodies = {f"data/{path.name}": path.read_bytes() for path in self.sources}
        found = {path: identity(path) for path in self.sources}
        files = tuple(SourceFile(str(path), path.name, *found[path]) for path in self.sources)
        state = State.DELIVERING
        run = Acquisition(self.id, self.id, FoundBy.WATCH, "x", state, 1, files=files)
        rows = [NewFile(f"data/{path.name}", str(path), "data", *found[path]) for path in self.sources]
        self.outbox.save(run, dataset=self.dataset, files=rows)
        entries = [
            FileEntry(path=path, size=len(body), sha256=sha256(body), source_sha256=sha256(body), role="data")
            for path, body in bodies.items()
        ]
        record = Record(
            id=self.id, site="lab", instrument="scope", name="x", source="watch", started_at="", finished_at=None,
            state="", finish_reason="unknown", planned=Counts(), actual=Counts(), files=entries,
            agent=AgentInfo(version="0", config_sha256=""),
        )  # fmt: skip
        held = bodies | {"acquisition.json": record.model_dump_json().encode()}
        self.outbox.sent(
            [
                Sent(row, sha256(bodies[row.target]), sha256(bodies[row.target]), row.size)
                for row in self.outbox.files(self.id)
            ]
        )
        if verified:
            self.target.committed[self.dataset] = held
            self.outbox.verified(replace(run, state=State.VERIFIED), [], self.clock.now_ns())
        elif self.chance.random() < 0.5:
            # The far side has it, but never said so.
            self.target.committed[self.dataset] = held

    def on_disk(self) -> list[bytes]:
        return [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]

    def act(self) -> None:  # noqa: C901 - one case an accident
        """Something happens."""
        chance, path = self.chance, self.chance.choice(self.sources)
        held = self.target.committed.get(self.dataset, {})
        match chance.randrange(20):
            case 0 | 1 | 2 | 13 | 14 | 15 | 16 | 17 | 18:
                self.clock.pass_(chance.choice([0.5, 2]) * DAY_S)
            case 3:
                self.clock.set_back(365 * DAY_S)
            case 4 if path.exists():
                before = path.stat()
                with path.open("r+b") as file:
                    file.write(chance.randbytes(1))
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            case 5:
                other = path.with_suffix(".new")
                other.write_bytes(chance.randbytes(50))
                other.replace(path)
            case 6:
                path.unlink(missing_ok=True)
            case 7 if held:
                name = chance.choice(list(held))
                held[name] = held[name][:-1] + bytes([held[name][-1] ^ 1])
            case 8 if held:
                del held[chance.choice(list(held))]
            case 9:
                self.target.committed.pop(self.dataset, None)
            case 10:
                self.target.fail_next = Unreachable("away")
            case 11 if path.exists():
                # The same file, found again by another acquisition that is under way.
                again = Acquisition(self.id + "b", self.id + "b", FoundBy.WATCH, "x", State.QUEUED, 1)
                self.outbox.save(
                    again, dataset=self.dataset + "b", files=[NewFile("d", str(path), "data", *identity(path))]
                )
            case 12:
                for kept in self.folder.rglob("*"):
                    if kept.is_file() and kept not in self.sources:
                        kept.write_bytes(b"somebody wrote into the grace folder")

    def run_step(self, monkeypatch: pytest.MonkeyPatch) -> bool:
        """One step of the policy, killed at a random file operation in a third of the cases; True when killed."""
        left = self.chance.randrange(8) if self.chance.random() < 0.33 else -1

        def counted(plain):
            def call(*arguments, **named):
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                result = plain(*arguments, **named)
                if left == 0:
                    raise Killed
                left -= 1
                return result

            return call

        self.step._due = 0
        self.step.settings = self.step.settings.model_copy(
            update={"policy": self.chance.choice(["age", "age", "pressure", "never"])}
        )
        with monkeypatch.context() as patched, suppress(Killed):
            patched.setattr(release_module, "_rename", counted(release_module._rename))
            patched.setattr(Path, "unlink", counted(Path.unlink))
            for name in ("plan_release", "release_moved", "release_removed"):
                patched.setattr(Outbox, name, counted(getattr(Outbox, name)))
            self.step.step()
            return False
        return True


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that is possible: these are tens of thousands of small files."""
    made = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield made
    shutil.rmtree(made)


@pytest.mark.timeout(3600)
def test_nothing_unverified_is_ever_released(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    outbox = Outbox.open(folder / "o.sqlite")
    moved = removed = killed = 0
    for number in range(HISTORIES):
        chance = random.Random(f"{seed}-{number}")
        history = History(outbox, folder / str(number), number, chance)
        for _ in range(chance.randint(3, 12)):
            history.act()
            before, sources = history.on_disk(), [path for path in history.sources if path.exists()]
            told = history.target.committed.get(history.dataset, {})
            held = {sha256(body) for body in told.values()}
            verified = outbox.get(history.id).acquisition.state in (State.VERIFIED, State.RELEASED)
            killed += history.run_step(monkeypatch)
            after = history.on_disk()
            for body in before:
                assert body in after or (verified and sha256(body) in held), (
                    f"seed {seed}, history {number}: lost bytes"
                )
            removed += len(before) - len(after)
            for path in sources:
                if not path.exists():
                    moved += 1
                    assert verified, f"seed {seed}, history {number}: {path} was released and is not verified"
        # The outbox is shared by all histories: what is left of this one must not be met by the next.
        run = outbox._connection.execute
        run("UPDATE acquisitions SET verified_ns = NULL, next_at_ns = ? WHERE id = ?", (1 << 62, history.id))
        run("UPDATE releases SET removed_ns = 1, moved_ns = 1 WHERE acquisition_id = ?", (history.id,))
        run("UPDATE files SET source = source || '-done' WHERE acquisition_id = ?", (history.id,))
        shutil.rmtree(history.folder)
    print(f"{HISTORIES} histories: {moved} moved, {removed} removed, {killed} killed")
    assert moved > HISTORIES / 20
    assert removed > HISTORIES / 100
    assert killed > HISTORIES / 20
    outbox.close()


@pytest.fixture
def quiet(folder: Path) -> Iterator[History]:
    outbox = Outbox.open(folder / "o.sqlite")
    made = History(outbox, folder / "h", 1, random.Random(3))
    made.target.committed.clear()
    made.outbox._connection.execute("DELETE FROM files")
    made.deliver(verified=True)
    made.step.settings = ReleaseSettings(policy="age", after_days=1, grace_days=1)
    yield made
    outbox.close()


def test_the_whole_way_with_its_audit(quiet: History) -> None:
    bodies = {path: path.read_bytes() for path in quiet.sources}
    assert not quiet.step.step()
    quiet.clock.pass_(2 * DAY_S)
    shown = quiet.step.dry_run()
    assert [len(releases) for _, releases, _ in shown] == [len(bodies)]
    assert all(path.exists() for path in bodies)
    assert quiet.step.step()
    for release in quiet.outbox.releases("id-1"):
        assert not Path(release.source).exists()
        assert Path(release.kept).read_bytes() == bodies[Path(release.source)]
    assert quiet.outbox.get("id-1").acquisition.state is State.RELEASED
    quiet.clock.pass_(2 * DAY_S)
    assert quiet.step.step()
    assert quiet.on_disk() == []
    assert all(release.removed_ns for release in quiet.outbox.releases("id-1"))
    said = [event.data["reason"] for event in quiet.outbox.events_of("id-1")]
    assert said == ["moved to .scope-agent-released", "removed from the grace folder"]
    assert quiet.outbox.check() == [] or all("announced" in line for line in quiet.outbox.check())


def test_by_default_nothing_is_ever_released(quiet: History) -> None:
    quiet.step.settings = ReleaseSettings()
    quiet.clock.pass_(1000 * DAY_S)
    assert not quiet.step.step()
    assert len(quiet.on_disk()) == len(quiet.sources)


def test_under_pressure_only_when_space_is_short(quiet: History, monkeypatch) -> None:
    quiet.clock.pass_(2 * DAY_S)
    quiet.step.settings = ReleaseSettings(policy="pressure", after_days=1, free_gib=0)
    assert not quiet.step.step()
    quiet.step.settings = ReleaseSettings(policy="pressure", after_days=1, free_gib=1 << 40)
    quiet.step._due = 0
    assert quiet.step.step()


def test_an_object_that_rotted_after_it_was_verified_keeps_its_source(quiet: History) -> None:
    held = quiet.target.committed[quiet.dataset]
    held["data/0.tif"] = b"rotten"
    quiet.clock.pass_(2 * DAY_S)
    assert not quiet.step.step()
    assert len(quiet.on_disk()) == len(quiet.sources)
    assert "not released" in quiet.outbox.get("id-1").error
