"""`scope-agent service` on Windows."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import threading
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath

from agent import __version__
from agent.clock import SystemClock
from agent.config import Config, load
from agent.errors import Misconfigured
from agent.hook import default_spool
from agent.service.event_log import add_source, remove_source
from agent.service.health import healthy
from agent.service.plan import ACCOUNT, Plan, base_python, hosted, write_script
from agent.service.rights import commands, takings
from agent.service.scm import WindowsScm
from agent.service.switch import Switch

_TERMINAL = "oem" if sys.platform == "win32" else "utf-8"
"""What programs of the system write into a pipe: the code page of terminals, not that of Windows."""


def install_service(config_path: Path, account: str | None, password_file: Path | None) -> str:
    """Register, give rights, start, and wait until it is well; one line that says so."""
    import winreg

    config = load(config_path)
    switch = _switch(config)
    # An upgrade that names no account leaves the one that it has.
    plan = plan_of(config_path, account or switch.scm.account(), password_file)
    add_source(winreg)
    # The virtual account exists from the registration on: rights can be given to it only then.
    switch.scm.register(plan) if switch.scm.command() is None else None
    give_rights(config, config_path, plan.account)
    switch.to(plan, __version__, config.state)
    return f"the service runs scope-agent {__version__} as {plan.account}"


def plan_of(config_path: Path, account: str | None, password_file: Path | None) -> Plan:
    """The service for this environment. Raises Misconfigured when the password cannot be read."""
    packages = Path(sysconfig.get_path("purelib"))
    script = write_script(Path(sys.prefix), packages)
    command = hosted(PureWindowsPath(base_python()), PureWindowsPath(script), PureWindowsPath(config_path))
    try:
        password = password_file.read_text(encoding="utf-8-sig").strip() if password_file else None
    except OSError as error:
        raise Misconfigured(f"{password_file} cannot be read: {error.strerror}") from error
    return Plan(command, account or ACCOUNT, password)


def give_rights(config: Config, config_path: Path, account: str) -> None:
    """Raises Misconfigured when Windows refuses."""
    spool = config.hook.spool or default_spool()
    for folder in (config.state, spool):
        folder.mkdir(parents=True, exist_ok=True)
    for command in commands(config, config_path, spool, account):
        done = subprocess.run(command, capture_output=True, encoding=_TERMINAL, errors="replace", check=False)
        if done.returncode and not Path(command[1]).exists():
            continue  # `check` says that it is away
        if done.returncode:
            raise Misconfigured(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}: run as administrator")


def uninstall_service(config_path: Path | None) -> str:
    """Stop and remove the service, its event source, and its rights on the folders of the configuration."""
    import winreg

    scm = WindowsScm()
    account = scm.account()
    told = ""
    if account is not None:
        Switch(scm, lambda: None, SystemClock(), threading.Event().wait).stop()
        # Before the service goes: its virtual account goes with it, and nobody knows the name any more.
        told = take_rights(config_path, account) if config_path is not None else ""
        scm.remove()
    remove_source(winreg)
    return f"the service is removed{told}"


def take_rights(config_path: Path, account: str) -> str:
    """What is to be said of it: nothing, or why the rights stay."""
    try:
        config = load(config_path)
    except Misconfigured as error:
        return f"; the rights of {account} on watched folders stay: {error}"
    failed = [
        command[1]
        for command in takings(config, config_path, config.hook.spool or default_spool(), account)
        if Path(command[1]).exists() and subprocess.run(command, capture_output=True, check=False).returncode
    ]
    return f"; the rights of {account} stay on {', '.join(failed)}" if failed else ""


def state() -> dict[str, str | None]:
    """`{"state": running | stopped | absent, "command": ...}`"""
    scm = WindowsScm()
    command = scm.command()
    if command is None:
        return {"state": "absent", "command": None}
    return {"state": "stopped" if scm.is_stopped() else "running", "command": command}


def _switch(config: Config) -> Switch:
    began = datetime.now(UTC)
    return Switch(WindowsScm(), lambda: healthy(config, began), SystemClock(), threading.Event().wait)
