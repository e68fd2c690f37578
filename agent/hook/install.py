"""Puts the hook into a Python environment, removes it, and tells what is there.

The package is copied as `scope_agent_hook`; `scope_agent_hook.pth` beside it has Python load its boot module.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .errors import HookError
from .spool import STORED, default_spool

PACKAGE = "scope_agent_hook"
PTH = f"{PACKAGE}.pth"
_LINE = f"import {PACKAGE}.boot; {PACKAGE}.boot.register()\n"
_REQUIRED = {"pymmcore_plus": "pymmcore-plus", "msgspec": "msgspec"}
_NOT_COPIED = {"install.py", "errors.py"}

_PROBE = """
import importlib.util, json, sys, sysconfig
print(json.dumps({
    "purelib": sysconfig.get_path("purelib"),
    "version": list(sys.version_info[:2]),
    "missing": [name for name in %r if importlib.util.find_spec(name) is None],
}))
"""


@dataclass(frozen=True)
class Installed:
    """The hook in one environment. `last_write_ns` is when any journal in `spool` was last written, UTC."""

    python: Path
    version: str
    where: Path
    spool: Path
    last_write_ns: int | None = None


def install(python: Path, spool: Path | None = None) -> Installed:
    """Install or renew the hook for `python`; its journals go to `spool`, else to the platform's folder.

    Raises HookError when the interpreter does not run, is too old or lacks a requirement, or when its folder
    cannot be written.
    """
    target = _examine(python)
    if tuple(target["version"]) < (3, 10):
        raise HookError(f"{python} is Python {'.'.join(map(str, target['version']))}: the hook needs 3.10 or newer")
    if target["missing"]:
        names = " ".join(_REQUIRED[name] for name in target["missing"])
        raise HookError(f"{python} lacks {names}: run `{python} -m pip install {names}`, then install the hook again")
    site = Path(target["purelib"])
    try:
        _copy(site, None if spool is None else Path(os.path.abspath(spool)))  # noqa: PTH100
    except OSError as error:
        _remove(site)
        raise HookError(f"cannot write to {site} ({error.strerror}): run as a user who may, or use a venv") from error
    _compile(python, site / PACKAGE)
    found = status(python)
    if found is None:
        raise HookError(f"the hook vanished from {site} while it was installed: is another installation going on?")
    return found


def uninstall(python: Path) -> Installed | None:
    """Remove every trace of the hook from the environment of `python`; journals stay. Tells what was there.

    Raises HookError when the files cannot be removed.
    """
    site = Path(_examine(python)["purelib"])
    found = _read(python, site)
    try:
        _remove(site)
    except OSError as error:
        raise HookError(f"cannot remove the hook from {site} ({error.strerror}): close what uses it") from error
    return found


def status(python: Path) -> Installed | None:
    """The hook in the environment of `python`, or None. Raises HookError when it does not run."""
    return _read(python, Path(_examine(python)["purelib"]))


def _examine(python: Path) -> dict[str, Any]:
    command = [str(python), "-I", "-c", _PROBE % list(_REQUIRED)]
    try:
        # Not resolved: the link in a venv's folder is what makes it a venv.
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise HookError(
            f"{python} is not a Python interpreter that runs: name the python of the environment"
        ) from error
    return found


def _copy(site: Path, spool: Path | None) -> None:
    source, package = Path(__file__).parent, site / PACKAGE
    _remove(site)
    package.mkdir(parents=True)
    for file in sorted(source.glob("*.py")):
        if file.name not in _NOT_COPIED:
            shutil.copyfile(file, package / file.name)
    stored = {"version": __version__, "spool": None if spool is None else str(spool)}
    (package / STORED).write_text(json.dumps(stored) + "\n", encoding="utf-8")
    # Last: a half-copied package is never imported.
    (site / PTH).write_text(_LINE, encoding="utf-8")


def _remove(site: Path) -> None:
    # First the .pth: from here on no Python start looks for the package.
    (site / PTH).unlink(missing_ok=True)
    if (site / PACKAGE).is_dir():
        shutil.rmtree(site / PACKAGE)


def _compile(python: Path, package: Path) -> None:
    # The users of a shared environment may not write there: without this each start would compile again.
    command = [str(python), "-I", "-m", "compileall", "-q", str(package)]
    subprocess.run(command, capture_output=True, timeout=60, check=False)


def _read(python: Path, site: Path) -> Installed | None:
    package = site / PACKAGE
    try:
        stored = json.loads((package / STORED).read_text("utf-8"))
        version, named = str(stored["version"]), stored.get("spool")
    except (OSError, ValueError, KeyError):
        return None
    if not (site / PTH).is_file():
        return None
    spool = Path(named) if named else default_spool()
    return Installed(Path(python), version, package, spool, _last_write(spool))


def _last_write(spool: Path) -> int | None:
    try:
        return max((path.stat().st_mtime_ns for path in spool.glob("*.jsonl")), default=None)
    except OSError:
        return None
