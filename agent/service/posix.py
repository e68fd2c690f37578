"""`scope-agent service` on Linux (systemd) and macOS (launchd)."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from agent.config import load
from agent.errors import Misconfigured, Retryable
from agent.service.units import LABEL, LAUNCHD_USER, PLIST, UNIT, USER, launchd, systemd


def install_unit(config_path: Path, to: Path | None) -> Iterator[str]:
    """Write the unit for this program and config, and start it; with `to` only write it there."""
    text = _text(config_path)
    if to is None:
        _may_run()
    path = to or (PLIST if sys.platform == "darwin" else UNIT)
    try:
        path.write_bytes(text)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written ({error.strerror}): run this as root, or name --to") from error
    yield f"{path} written"
    if to is not None:
        return
    if sys.platform == "darwin":
        _run("launchctl", "bootstrap", "system", str(PLIST))
    else:
        _run("systemctl", "daemon-reload")
        _run("systemctl", "enable", "scope-agent.service")
        # Returns when the daemon said that it is ready (Type=notify).
        _run("systemctl", "restart", "scope-agent.service")
    yield "the service runs"


def _may_run() -> None:
    """Misconfigured where the account of the service is missing, or cannot reach the Python that it is to run."""
    import pwd

    account = LAUNCHD_USER if sys.platform == "darwin" else USER
    try:
        pwd.getpwnam(account)
    except KeyError:
        raise Misconfigured(
            f"there is no user {account}: make it first, with a home folder and without a login"
        ) from None
    python = Path(sys.executable).resolve()
    closed = next((folder for folder in python.parents if not folder.stat().st_mode & stat.S_IXOTH), None)
    if closed is not None:
        raise Misconfigured(
            f"{account} may not enter {closed}, where {python} is: make the environment with a Python for all users"
        )


def uninstall_unit() -> Iterator[str]:
    """Stop it and remove its file."""
    path = PLIST if sys.platform == "darwin" else UNIT
    if path.exists():
        if sys.platform == "darwin":
            _run("launchctl", "bootout", f"system/{LABEL}")
        else:
            _run("systemctl", "disable", "--now", "scope-agent.service")
        path.unlink()
        yield f"{path} removed"
    yield "the service is removed"


def state() -> dict[str, str | None]:
    """`{"state": running | stopped | absent, "command": ...}`"""
    path = PLIST if sys.platform == "darwin" else UNIT
    if not path.exists():
        return {"state": "absent", "command": None}
    if sys.platform == "darwin":
        asked = ["launchctl", "print", f"system/{LABEL}"]
    else:
        asked = ["systemctl", "is-active", "--quiet", "scope-agent.service"]
    try:
        done = subprocess.run(asked, capture_output=True, check=False)
    except OSError as error:
        raise Misconfigured(f"{asked[0]} cannot be run: {error.strerror}") from error
    return {"state": "running" if done.returncode == 0 else "stopped", "command": str(path)}


def _text(config_path: Path) -> bytes:
    config = load(config_path)
    program = PurePosixPath(sys.prefix) / "bin" / "scope-agent"
    try:
        if sys.platform == "darwin":
            return launchd(program, PurePosixPath(config_path), PurePosixPath("/Library/Logs/scope-agent.log"))
        return systemd(program, PurePosixPath(config_path), PurePosixPath(config.state)).encode()
    except ValueError as error:
        raise Misconfigured(str(error)) from error


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Misconfigured(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise Retryable(f"{' '.join(command)}: {done.stderr.strip()}")
