"""The Windows service, against a stand-in for the service control manager; what only Windows shows is in
docs/windows-checklist.md."""

# ruff: noqa: N802, N803 -- names of Windows and pywin32

from __future__ import annotations

import logging
import os
import threading
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.acquisition import Acquisition, FoundBy, State
from agent.clock import SystemClock
from agent.config import Config
from agent.errors import Busy, Misconfigured, Retryable
from agent.outbox import Outbox
from agent.service import event_log
from agent.service.health import healthy
from agent.service.host import service_class
from agent.service.plan import ACCOUNT, Plan, hosted, quoted, write_script
from agent.service.rights import commands, takings
from agent.service.scm import WindowsScm
from agent.service.switch import Switch
from agent.service.waiting import refuse_while_waiting
from tests.lab import Lab
from tests.unit.deploy.fake_scm import Win32Service

OLD, NEW = Plan('"old"'), Plan('"new"')


def parsed(line: str) -> list[str]:
    """A command line as CommandLineToArgvW takes it apart ("Parsing C++ command-line arguments")."""
    end = line.index('"', 1)
    words, line = [line[1:end]], line[end + 1 :]
    word, inside, slashes, there = "", False, 0, False
    for letter in line + "\0":
        if letter == "\\":
            slashes, there = slashes + 1, True
            continue
        if letter == '"':
            word += "\\" * (slashes // 2)
            if slashes % 2:
                word += '"'
            else:
                inside = not inside
            slashes, there = 0, True
            continue
        word, slashes = word + "\\" * slashes, 0
        if letter == "\0" or (letter in " \t" and not inside):
            if there:
                words.append(word)
            word, there = "", False
        else:
            word, there = word + letter, True
    return words


paths = st.text(st.characters(exclude_characters='"\0\n\r', exclude_categories=["Cs"]), min_size=1)
words = st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]))


@given(paths, st.lists(words, max_size=5))
def test_windows_reads_the_command_line_as_it_was_meant(program: str, rest: list[str]) -> None:
    assert parsed(quoted([program, *rest])) == [program, *rest]


def test_the_service_starts_the_base_interpreter_with_quoted_paths() -> None:
    made = hosted(
        PureWindowsPath(r"C:\Program Files\Python311\python.exe"),
        PureWindowsPath(r"C:\Program Files\scope-agent\1\service_host.py"),
        PureWindowsPath(r"C:\ProgramData\scope-agent\config.toml"),
    )
    assert made == (
        r'"C:\Program Files\Python311\python.exe" -I "C:\Program Files\scope-agent\1\service_host.py"'
        r" C:\ProgramData\scope-agent\config.toml"
    )
    for bad in ('a"b', "a\nb", "a\0b"):
        with pytest.raises(ValueError, match="command line"):
            quoted([bad])


def test_the_script_starts_the_host_of_its_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "Lib" / "it's site-packages"
    (packages / "agent" / "service").mkdir(parents=True)
    script = write_script(tmp_path, packages)
    text = script.read_text(encoding="utf-8")
    started: list[str] = []
    monkeypatch.setattr("agent.service.host.host", started.append)
    monkeypatch.setattr("sys.argv", [str(script), "config.toml"])
    added: list[str] = []
    monkeypatch.setattr("site.addsitedir", added.append)
    exec(compile(text, str(script), "exec"), {})
    assert (started, added) == (["config.toml"], [str(packages)])


# -- the service control manager --


def test_installed_it_starts_at_boot_restarts_and_has_no_rights_of_its_own() -> None:
    api = Win32Service()
    scm = WindowsScm(api)
    assert scm.command() is None
    scm.register(Plan('"new"'))
    assert api.service == {
        "display": "scope-agent", "command": '"new"', "account": r"NT SERVICE\ScopeAgent", "password": None, "start": 2,
    }  # fmt: skip
    failure = api.details[api.SERVICE_CONFIG_FAILURE_ACTIONS]
    assert [action for action, _ in failure["Actions"]] == [api.SC_ACTION_RESTART] * 3
    assert api.details[api.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG] is True
    assert api.details[api.SERVICE_CONFIG_DELAYED_AUTO_START_INFO] is True
    scm.register(Plan('"newer"', "LAB\\svc", "secret"))
    assert (api.service["command"], api.service["account"], api.service["password"]) == (
        '"newer"',
        "LAB\\svc",
        "secret",
    )
    assert api.open == 0


def test_an_upgrade_that_names_no_account_leaves_the_one_it_has() -> None:
    api = Win32Service()
    scm = WindowsScm(api)
    assert scm.account() is None
    scm.register(Plan('"old"', "LAB\\svc", "secret"))
    assert scm.account() == "LAB\\svc"
    scm.register(Plan('"new"', scm.account() or ACCOUNT))
    assert api.service["command"] == '"new"'
    assert (api.service["account"], api.service["password"]) == ("LAB\\svc", "secret")
    scm.register(Plan('"newer"', ACCOUNT))
    assert (api.service["account"], api.service["password"]) == (ACCOUNT, None)


def test_starting_and_stopping_twice_is_no_error_and_every_handle_is_closed() -> None:
    api = Win32Service()
    scm = WindowsScm(api)
    scm.register(NEW)
    for _ in range(2):
        scm.start()
        assert scm.is_stopped() is False
    for _ in range(2):
        scm.stop()
        assert scm.is_stopped() is True
    for _ in range(2):
        scm.remove()
        assert scm.command() is None
    assert api.open == 0


def test_errors_of_windows_say_what_to_do() -> None:
    with pytest.raises(Misconfigured, match="as administrator"):
        WindowsScm(Win32Service(administrator=False)).register(NEW)
    with pytest.raises(Misconfigured, match="service install"):
        WindowsScm(Win32Service()).start()
    api = Win32Service()
    scm = WindowsScm(api)
    scm.register(NEW)
    api.refuse_start.add('"new"')
    with pytest.raises(Retryable, match=r"did not respond.*1053"):
        scm.start()
    assert api.open == 0


# -- upgrade, and back --


class Machine:
    """A computer: which command comes up healthy, as which version."""

    def __init__(self, folder: Path, versions: dict[str, str | None]) -> None:
        self.api, self.versions, self.state = Win32Service(), versions, folder / "state"
        self.scm = WindowsScm(self.api)
        self.on_start = lambda: None
        self.switch = Switch(self.scm, self.healthy, SystemClock(), lambda _s: None, patience_s=0.05)
        self.state.mkdir()
        Outbox.open(self.state / "outbox.sqlite").close()

    def healthy(self) -> str | None:
        self.on_start()
        return self.versions[self.api.service["command"]] if self.api.running else None


def test_a_first_installation(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {'"new"': "2"})
    machine.switch.to(NEW, "2", machine.state)
    assert machine.api.running
    assert machine.api.started == ['"new"']
    assert not (machine.state / "before-upgrade").exists()


def test_an_upgrade_in_place(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {'"old"': "1", '"new"': "2"})
    machine.switch.to(OLD, "1", machine.state)
    machine.switch.to(NEW, "2", machine.state)
    assert (machine.api.running, machine.api.service["command"]) == (True, '"new"')
    assert (machine.state / "before-upgrade" / "outbox.sqlite").exists()


@pytest.mark.parametrize("fault", ["never healthy", "another version", "does not start"])
def test_a_new_version_that_does_not_come_up_is_rolled_back(tmp_path: Path, fault: str) -> None:
    machine = Machine(tmp_path, {'"old"': "1", '"new"': {"another version": "1"}.get(fault)})
    machine.switch.to(OLD, "1", machine.state)
    if fault == "does not start":
        machine.api.refuse_start.add('"new"')
    with pytest.raises(Retryable, match="the version before runs again"):
        machine.switch.to(NEW, "2", machine.state)
    assert (machine.api.running, machine.api.service["command"]) == (True, '"old"')
    assert machine.api.started == ['"old"', '"new"', '"old"']


@pytest.mark.parametrize("had", [ACCOUNT, "LAB\\gmsa$"])
def test_a_new_account_that_cannot_start_it_is_rolled_back_too(tmp_path: Path, had: str) -> None:
    """A wrong password: Windows refuses to start the version before as that account as well."""
    machine = Machine(tmp_path, {'"old"': "1", '"new"': "2"})
    machine.switch.to(Plan('"old"', had), "1", machine.state)
    machine.api.refuse_start.add('"new"')
    with pytest.raises(Retryable, match="the version before runs again"):
        machine.switch.to(Plan('"new"', "LAB\\svc", "wrong"), "2", machine.state)
    service = machine.api.service
    assert (machine.api.running, service["command"], service["account"]) == (True, '"old"', had)
    assert service["password"] is None


def test_an_outbox_that_only_the_new_version_can_read_is_put_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {'"old"': "1", '"new"': None})
    path = machine.state / "outbox.sqlite"
    before = path.read_bytes()
    machine.switch.to(OLD, "1", machine.state)

    def schema() -> None:
        if machine.api.service["command"] == '"new"':
            path.write_bytes(b"newer" + before[5:])
        else:
            machine.versions['"old"'] = "1" if path.read_bytes() == before else None

    machine.on_start = schema
    with pytest.raises(Retryable, match="runs again"):
        machine.switch.to(NEW, "2", machine.state)
    assert path.read_bytes() == before
    assert (machine.api.running, machine.api.service["command"]) == (True, '"old"')


def test_a_service_that_does_not_stop_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, {'"old"': "1"})
    machine.switch.to(OLD, "1", machine.state)
    machine.api.never_stops = True
    monkeypatch.setattr("agent.service.switch._STOP_S", 0.05)
    with pytest.raises(Retryable, match="did not stop"):
        machine.switch.to(NEW, "2", machine.state)
    assert machine.api.service["command"] == '"old"', "nothing was changed"


def test_healthy_is_what_the_daemon_says_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agent import __version__

    lab, began = Lab(tmp_path), datetime.now(UTC)
    assert healthy(lab.config, began) is None
    monkeypatch.setattr("agent.service.health._WELL", type(began - began)(0))
    with lab.daemon():
        assert healthy(lab.config, began) == __version__
        assert healthy(lab.config, datetime.now(UTC)) is None, "one that was started before is not the new one"
    assert healthy(lab.config, began) is None


def test_undelivered_acquisitions_stop_an_uninstallation(lab_config: Path) -> None:
    refuse_while_waiting(lab_config)
    (lab_config.parent / "state").mkdir()
    outbox = Outbox.open(lab_config.parent / "state" / "outbox.sqlite")
    refuse_while_waiting(lab_config)
    outbox.save(Acquisition("i", "watch:i", FoundBy.WATCH, "cells", State.QUEUED, 1))
    outbox.close()
    with pytest.raises(Busy, match="1 acquisitions are not delivered"):
        refuse_while_waiting(lab_config)


# -- rights, event log --


def test_rights_are_given_by_number_and_to_nobody_else(tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "site": "a", "instrument": "b", "state": r"C:\ProgramData\scope-agent\state",
            "watch": ({"path": r"D:\my images"}, {"path": r"\\server\share"}),
            "delivery": {"url": "https://f", "token_file": r"C:\ProgramData\scope-agent\token"},
        }
    )  # fmt: skip
    made = list(commands(config, PureWindowsPath("c.toml"), PureWindowsPath("spool"), ACCOUNT))
    assert made[2] == ["icacls", "spool", "/grant", f"{ACCOUNT}:(OI)(CI)M", "*S-1-5-32-545:(OI)(CI)M"]
    assert made[3] == ["icacls", r"D:\my images", "/grant", f"{ACCOUNT}:(OI)(CI)RX"]
    assert made[4][:4] == ["icacls", r"C:\ProgramData\scope-agent\token", "/inheritance:r", "/grant:r"]
    assert len(made) == 5, "rights on a share are given where the share is"
    assert not any("Everyone" in word or "Users" in word for command in made for word in command)
    # And taken back by an uninstallation, from each: an account that is gone would stay as a number.
    taken = list(takings(config, PureWindowsPath("c.toml"), PureWindowsPath("spool"), ACCOUNT))
    assert [command[1] for command in taken] == [command[1] for command in made]
    assert all(command[2:] == ["/remove", ACCOUNT] for command in taken)


def test_what_icacls_says_needs_no_code_page(lab_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes the code page of terminals: the u with dots of a folder is no letter in that of Windows."""
    from agent.config import load
    from agent.service.windows import give_rights

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    icacls = tmp_path / "icacls"
    for code in (0, 5):
        icacls.write_text(f"#!/bin/sh\nprintf 'K\\201vetten: refused'\nexit {code}\n")
        icacls.chmod(0o755)
        with pytest.raises(Misconfigured, match=r"K.vetten: refused: run as administrator") if code else nullcontext():
            give_rights(load(lab_config), lab_config, ACCOUNT)


def test_every_file_with_a_secret_is_for_the_service_alone() -> None:
    config = Config.model_validate(
        {
            "site": "a", "instrument": "b", "state": "state",
            "delivery": {
                "target": "s3",
                "s3": {"endpoint": "https://s", "bucket": "b", "credentials_file": "s3-credentials"},
                "rclone": {"remote": "r:x", "config_file": "rclone.conf"},
            },
            "mqtt": {"host": "h", "password_file": "mqtt-password", "key_file": "widefield-1.key"},
        }
    )  # fmt: skip
    made = list(commands(config, PureWindowsPath("c.toml"), PureWindowsPath("spool"), ACCOUNT))
    alone = {command[1] for command in made if "/inheritance:r" in command}
    assert alone == {"s3-credentials", "rclone.conf", "mqtt-password", "widefield-1.key"}


class Registry:
    """A stand-in for winreg."""

    HKEY_LOCAL_MACHINE, REG_EXPAND_SZ, REG_DWORD = "HKLM", 2, 4

    def __init__(self) -> None:
        self.keys: dict[str, dict[str, object]] = {}

    def CreateKey(self, _root: str, path: str):
        self.keys.setdefault(path, {})
        registry = self

        class Key:
            def __enter__(self) -> dict:
                return registry.keys[path]

            def __exit__(self, *_: object) -> None: ...

        return Key()

    def SetValueEx(self, key: dict, name: str, _reserved: int, _kind: int, value: object) -> None:
        key[name] = value

    def DeleteKey(self, _root: str, path: str) -> None:
        if path not in self.keys:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        del self.keys[path]


def test_the_event_source_comes_and_goes_without_a_trace() -> None:
    registry = Registry()
    event_log.add_source(registry)
    assert registry.keys[event_log.SOURCE]["EventMessageFile"] == r"%SystemRoot%\System32\EventCreate.exe"
    for _ in range(2):
        event_log.remove_source(registry)
    assert registry.keys == {}


def test_errors_start_and_stop_go_to_the_event_log_and_it_may_fail(capsys: pytest.CaptureFixture) -> None:
    told: list[tuple] = []
    logger = logging.Logger("x")
    logger.addHandler(event_log.EventLogHandler(lambda source, _id, **more: told.append((source, *more.values()))))
    logger.info("scope-agent is ready", extra={"action": "ready"})
    logger.warning("slow")
    logger.info("quiet")
    logger.error("the disk is full")
    assert told == [("scope-agent", 4, ["scope-agent is ready"]), ("scope-agent", 1, ["the disk is full"])]

    def full(*_a: object, **_k: object) -> None:
        raise OSError("the log is full")

    failing = logging.Logger("y")
    failing.addHandler(event_log.EventLogHandler(full))
    failing.error("x")
    assert "the log is full" in capsys.readouterr().err


# -- the process --


class Framework:
    """pywin32's win32serviceutil, as far as a service sees it."""

    class ServiceFramework:
        def __init__(self) -> None:
            self.reported: list[int] = []

        def ReportServiceStatus(self, status: int, waitHint: int = 0) -> None:
            self.reported.append(status)


@pytest.fixture
def root_log():
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    yield root
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
        root.removeHandler(handler)
    root.setLevel(before[1])


@pytest.fixture
def lab_config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(
        'site = "lab"\ninstrument = "scope"\nstate = "state"\n[hook]\nspool = "spool"\nlogs = []\n'
        '[delivery]\nurl = "http://127.0.0.1:9"\n'
    )
    return path


def test_the_service_runs_the_daemon_and_ends_when_windows_says_so(lab_config: Path, root_log, monkeypatch) -> None:
    monkeypatch.setattr("agent.daemon.lower_priority", lambda: None)
    told: list[str] = []
    up = threading.Event()

    def report(_source: str, _id: int, eventType: int, strings: list[str]) -> None:
        told.append(strings[0])
        up.set()

    service = service_class(lab_config, Framework, Win32Service(), report, leave=told.append)()
    thread = threading.Thread(target=service.SvcDoRun)
    thread.start()
    assert up.wait(20)
    service.SvcStop()
    thread.join(10)
    assert not thread.is_alive()
    assert service.reported == [Win32Service.SERVICE_STOP_PENDING]
    assert [text.split()[-1] for text in told] == ["ready", "stopped"]


def test_a_stop_before_it_began_is_heard(lab_config: Path, root_log) -> None:
    service = service_class(lab_config, Framework, Win32Service(), lambda *_a, **_k: None)()
    service.SvcStop()
    service.SvcDoRun()


def test_a_failure_leaves_without_stopped_so_that_windows_restarts_it(tmp_path: Path, root_log) -> None:
    left: list[int] = []
    told: list[str] = []
    service = service_class(
        tmp_path / "none.toml", Framework, Win32Service(), lambda *_a, **k: told.append(k["strings"][0]), left.append
    )()
    service.SvcDoRun()
    assert left == [2]
    assert "does not exist" in told[0]
    assert service.reported == []
