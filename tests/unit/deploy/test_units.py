"""The systemd unit and the launchd property list: deploy/ holds what the program writes, and the tools take it."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import pytest

from agent.errors import Misconfigured
from agent.service import posix
from agent.service.units import launchd, systemd
from tests.conftest import ROOT

HERE = PurePosixPath("/opt/scope-agent/bin/scope-agent")
UNIT = systemd(HERE, PurePosixPath("/etc/scope-agent/config.toml"), PurePosixPath("/var/lib/scope-agent"))
SETTINGS = PurePosixPath("/Library/Application Support/scope-agent/config.toml")
PLIST = launchd(HERE, SETTINGS, PurePosixPath("/Library/Logs/scope-agent.log"))


def test_deploy_holds_what_the_program_writes() -> None:
    assert (ROOT / "deploy" / "linux" / "scope-agent.service").read_text(encoding="utf-8") == UNIT
    assert (ROOT / "deploy" / "macos" / "org.scope-agent.plist").read_bytes() == PLIST


def analyze(*words: str) -> subprocess.CompletedProcess:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here."""
    path = tmp_path / "scope-agent.service"
    path.write_text(UNIT.replace(str(HERE), shutil.which("true")))
    return path


def test_systemd_takes_the_unit(unit: Path) -> None:
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit.write_text(unit.read_text() + "Nonsense=1\n")
    assert "Nonsense" in analyze("verify", str(unit)).stderr, "a mistake would be seen"


def test_its_exposure_is_below_three(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(unit))
    if "offline" in done.stderr:
        pytest.skip("this systemd cannot judge a file")
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1])
    assert exposure < 3


@pytest.mark.skipif(
    not Path("/run/systemd/system").is_dir() or not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="systemd does not run here, or we may not use it",
)
def test_systemd_starts_it_hears_that_it_is_ready_and_stops_it(tmp_path: Path) -> None:
    name, state = f"scope-agent-test-{os.getpid()}.service", tmp_path / "state"
    state.mkdir()
    config = tmp_path / "config.toml"
    config.write_text(
        f'site = "lab"\ninstrument = "scope"\nstate = "{state}"\n[hook]\nspool = "{state}/spool"\nlogs = []\n'
        '[delivery]\nurl = "http://127.0.0.1:9"\n'
    )
    program = tmp_path / "scope-agent"
    program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m agent "$@"\n')
    program.chmod(0o755)
    text = systemd(*(PurePosixPath(path) for path in (program, config, state)))
    text = re.sub(r"(?m)^(User|Group)=.*\n", "", text).replace("PrivateTmp=yes", "PrivateTmp=no")
    path = Path("/run/systemd/system") / name
    path.write_text(text)
    try:
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "start", name], check=True, timeout=60)
        assert subprocess.run(["systemctl", "is-active", name], check=False).returncode == 0
        began = time.monotonic()
        subprocess.run(["systemctl", "stop", name], check=True, timeout=30)
        assert time.monotonic() - began < 10
    finally:
        path.unlink()
        subprocess.run(["systemctl", "daemon-reload"], check=False)


@pytest.mark.parametrize("bad", ["relative/path", "/with space/x", "/with%n/x", "/quo'te/x"])
def test_paths_that_systemd_would_read_otherwise_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="plain letters"):
        systemd(HERE, PurePosixPath(bad), PurePosixPath("/var/lib/x"))


def test_launchd_gets_a_property_list_that_it_knows() -> None:
    """Keys and types as launchd.plist(5) names them."""
    known = {
        "Label": str, "ProgramArguments": list, "UserName": str, "RunAtLoad": bool, "KeepAlive": dict,
        "ThrottleInterval": int, "ProcessType": str, "LowPriorityIO": bool, "Nice": int, "Umask": int,
        "ExitTimeOut": int, "StandardErrorPath": str,
    }  # fmt: skip
    said = plistlib.loads(PLIST)
    assert {key: type(value) for key, value in said.items()} == {key: known[key] for key in said}
    assert said["ProgramArguments"] == [str(HERE), "run", "-c", str(SETTINGS)]
    assert said["ProcessType"] in ("Background", "Standard", "Adaptive", "Interactive")
    if plutil := shutil.which("plutil"):
        subprocess.run([plutil, "-lint", "-"], input=PLIST, check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="systemd")
def test_service_install_looks_whether_the_account_can_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written: systemd would say 217/USER or 203/EXEC."""
    monkeypatch.setattr(posix, "UNIT", tmp_path / "unit")
    config = tmp_path / "config.toml"
    config.write_text('site = "a"\ninstrument = "b"\nstate = "state"\n[delivery]\nurl = "http://127.0.0.1:9"\n')
    monkeypatch.setattr(posix, "USER", "nobody-of-that-name")
    with pytest.raises(Misconfigured, match="there is no user nobody-of-that-name"):
        list(posix.install_unit(config, None))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "python").touch()
    monkeypatch.setattr(posix, "USER", "nobody")
    monkeypatch.setattr(sys, "executable", str(closed / "python"))
    with pytest.raises(Misconfigured, match=r"nobody may not enter .*: make the environment with a Python for all"):
        list(posix.install_unit(config, None))
    assert not (tmp_path / "unit").exists()


def test_service_install_writes_the_unit_for_this_program(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("POSIX")
    config = tmp_path / "config.toml"
    config.write_text('site = "a"\ninstrument = "b"\nstate = "state"\n[delivery]\nurl = "http://127.0.0.1:9"\n')
    command = [sys.executable, "-m", "agent", "service", "install", "-c", str(config), "--to", str(tmp_path / "unit")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(config) in (tmp_path / "unit").read_text()
