"""What the service is, whatever the system."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

NAME = "ScopeAgent"
DISPLAY = "scope-agent"
DESCRIPTION = "Records every acquisition at the microscope and delivers it, annotated and verified."
ACCOUNT = rf"NT SERVICE\{NAME}"
"""A virtual account: Windows makes it with the service, it has no password and no rights but those given to it. On
shares it is the computer's account (DOMAIN\\PC$)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A service as it should be registered."""

    command: str
    """Command line, quoted as Windows parses it."""
    account: str = ACCOUNT
    password: str | None = None
    """None for virtual and group-managed accounts."""


def needs_password(account: str) -> bool:
    """Not virtual accounts, nor group-managed ones, nor those of the system."""
    name = account.upper()
    return not (name.startswith(("NT SERVICE\\", "NT AUTHORITY\\")) or name.endswith("$") or name == "LOCALSYSTEM")


def quoted(words: Sequence[str]) -> str:
    """One command line that CommandLineToArgvW takes apart into `words` again. Raises ValueError.

    The program is always quoted: unquoted, `C:\\Program Files\\...` would start what somebody put at C:\\Program.exe.
    """
    program, *rest = words
    if '"' in program or any("\0" in word or "\n" in word for word in words):
        raise ValueError(f"cannot be part of a command line: {words!r}")
    return " ".join([f'"{program}"', *(subprocess.list2cmdline([word]) for word in rest)])


def hosted(base_python: PureWindowsPath, script: PureWindowsPath, config: PureWindowsPath) -> str:
    """The command of the service: the base interpreter, not that of the venv.

    The venv's python.exe starts the base interpreter as a child, and Windows wants the process that it started itself
    to answer. `-I`: neither the environment nor the user's site-packages have a say in what a service runs.
    """
    return quoted([str(base_python), "-I", str(script), str(config)])


SCRIPT = """# Starts the service in this environment; written by scope-agent service install.
import site, sys
site.addsitedir({packages!r})
from agent.service.host import host
host(sys.argv[1])
"""


def write_script(folder: Path, packages: Path) -> Path:
    """The script that the service runs, beside the environment; returns its path."""
    path = folder / "service_host.py"
    path.write_text(SCRIPT.format(packages=str(packages)), encoding="utf-8")
    return path


def base_python() -> Path:
    """The interpreter that the environment was made with."""
    name = "python.exe" if sys.platform == "win32" else "bin/python3"
    return Path(sys.base_prefix) / name
