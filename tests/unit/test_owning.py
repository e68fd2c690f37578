"""Locks, threads and logs: who owns what, and what happens when it fails."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import LogSettings
from agent.errors import Busy, Misconfigured, ScopeAgentError
from agent.lock import FolderLock, is_held, prepare_folder
from agent.logs import set_up
from agent.supervisor import Supervisor
from tests.conftest import ROOT


def test_a_lock_is_exclusive_and_goes_with_its_owner(tmp_path: Path) -> None:
    code = f"import time; from agent.lock import FolderLock; FolderLock({str(tmp_path)!r}, 'x').__enter__()"
    code = code.replace(repr(str(tmp_path)), f"__import__('pathlib').Path({str(tmp_path)!r})")
    owner = subprocess.Popen([sys.executable, "-c", f"{code}; print('held', flush=True); time.sleep(60)"],
                             cwd=ROOT, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert owner.stdout.readline().strip() == "held"
    assert is_held(tmp_path, "x")
    with pytest.raises(Busy, match=f"pid {owner.pid}"), FolderLock(tmp_path, "x"):
        pass
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert not is_held(tmp_path, "x")
    with FolderLock(tmp_path, "x"):
        assert is_held(tmp_path, "x")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot be written"):
        prepare_folder(tmp_path / "file" / "state")
    prepare_folder(tmp_path / "new" / "state")
    assert list((tmp_path / "new" / "state").iterdir()) == []


def until(condition, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor()
    yield made
    assert made.stop(5) == []


def test_a_duty_that_fails_becomes_a_problem_and_is_started_again(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.supervisor._RECOVERY_S", 0.3)
    tries = 0
    well = threading.Event()

    def body(stop: threading.Event) -> None:
        nonlocal tries
        tries += 1
        if tries < 2:
            raise ZeroDivisionError("a bug")
        well.set()
        stop.wait()

    supervisor.start("work", body)
    until(lambda: supervisor.problems() == ["work: ZeroDivisionError: a bug"])
    assert well.wait(5)
    until(lambda: supervisor.problems() == [])


def test_threads_stop_in_reverse_order_and_none_is_left() -> None:
    supervisor, ended = Supervisor(), []

    def body(name: str):
        def run(stop: threading.Event) -> None:
            stop.wait()
            time.sleep(0.05)
            ended.append(name)

        return run

    for name in ("publish", "work"):
        supervisor.start(name, body(name))
    assert supervisor.stop(5) == []
    assert ended == ["work", "publish"]
    assert not {"scope-agent-publish", "scope-agent-work"} & {thread.name for thread in threading.enumerate()}


def test_a_duty_that_does_not_stop_is_named_and_does_not_hold_us() -> None:
    supervisor, release = Supervisor(), threading.Event()
    supervisor.start("stuck", lambda _stop: release.wait() and None)
    began = time.monotonic()
    assert supervisor.stop(0.2) == ["stuck"]
    assert time.monotonic() - began < 2
    release.set()


def test_a_log_line_is_json_with_action_and_acquisition(tmp_path: Path) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    handler = set_up(tmp_path, LogSettings(), terminal=False)
    try:
        log = logging.getLogger("agent.test")
        log.info("verified: %s µ", "x", extra={"action": "verified", "acquisition": "id1"})
        try:
            raise ValueError("bad\nvalue")
        except ValueError:
            log.exception("failed")
    finally:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(level)
    assert root.handlers == before
    first, second = map(json.loads, (tmp_path / "scope-agent.log").read_text(encoding="utf-8").splitlines())
    assert (first["action"], first["acquisition"], first["message"]) == ("verified", "id1", "verified: x µ")
    assert first["time"].endswith("Z")
    assert "bad\nvalue" in second["trace"]


def test_every_error_has_an_exit_code_and_its_own_words() -> None:
    def below(kind: type) -> Iterator[type]:
        for inner in kind.__subclasses__():
            yield inner
            yield from below(inner)

    import agent.errors

    for kind in below(ScopeAgentError):
        assert kind.exit_code in (2, 65, 73, 75), kind
        assert kind.__doc__
        if kind.__module__ == "agent.errors":
            assert kind.__name__ in agent.errors.__doc__
