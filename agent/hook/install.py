"""Puts the hook into a Python environment, removes it, and tells what is there.

The package is copied as `scope_agent_hook`; `scope_agent_hook.pth` beside it has each Python start wait for
pymmcore-plus. Which environments have the hook is noted in one file of this computer.
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
from .boot import TARGET
from .errors import HookError
from .known import forget, known, remember
from .spool import STORED, default_spool

PACKAGE = "scope_agent_hook"
PTH = f"{PACKAGE}.pth"
_FINDER = f"""
def find_spec(name, path=None, target=None):
    if name == {TARGET!r}:
        try:
            from {PACKAGE}.boot import find
            return find(name, path, target)
        except BaseException as error:
            sys.stderr.write("scope-agent hook is not active: %r\\n" % error)
sys.meta_path.insert(0, type(sys.implementation)(find_spec=find_spec, waits_for={TARGET!r}))
"""
_LINE = (
    "import sys, marshal; exec(marshal.loads(bytes.fromhex({code!r}))"
    " if sys.implementation.cache_tag == {tag!r} else {imported!r}, {{'sys': sys}})\n"
)
# Compiled, and within the line: each Python start pays for compiling it, or for looking for a module of ours.
_IMPORTED = f"import {PACKAGE}.boot; {PACKAGE}.boot.wait()"
"""For a Python that took the place of the one for which the line was made."""
_REQUIRED = {"pymmcore_plus": "pymmcore-plus", "msgspec": "msgspec"}
_NOT_COPIED = {"install.py", "errors.py", "known.py"}

_PROBE = """
import importlib.util, json, marshal, sys, sysconfig
print(json.dumps({
    "purelib": sysconfig.get_path("purelib"),
    "prefix": sys.prefix,
    "version": list(sys.version_info[:2]),
    "missing": [name for name in %r if importlib.util.find_spec(name) is None],
    "tag": sys.implementation.cache_tag,
    "code": marshal.dumps(compile(%r, "", "exec")).hex(),
}))
"""


@dataclass(frozen=True)
class Installed:
    """The hook in one environment. `last_write_ns` is when that environment last wrote a journal, UTC."""

    python: Path
    version: str
    where: Path
    spool: Path
    last_write_ns: int | None = None


def install(python: Path, spool: Path | None = None, limit_mib: int | None = None) -> Installed:
    """Install or renew the hook for `python`; its journals go to `spool`, else to the platform's folder.

    All journals there may take `limit_mib`, else 1 GiB; beyond it the details of the oldest frames go.

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
        _copy(site, None if spool is None else Path(os.path.abspath(spool)), limit_mib)  # noqa: PTH100
        # Last: a half-copied package is never imported.
        (site / PTH).write_text(_LINE.format(code=target["code"], tag=target["tag"], imported=_IMPORTED), "utf-8")
    except OSError as error:
        _remove(site)
        raise HookError(f"cannot write to {site} ({error.strerror}): run as a user who may, or use a venv") from error
    _compile(python, site / PACKAGE)
    found = status(python)
    if found is None:
        raise HookError(f"the hook vanished from {site} while it was installed: is another installation going on?")
    remember(python)
    return found


def uninstall(python: Path) -> Installed | None:
    """Remove every trace of the hook from the environment of `python`; journals stay. Tells what was there.

    Raises HookError when the files cannot be removed.
    """
    target = _examine(python)
    site = Path(target["purelib"])
    found = _read(python, target)
    try:
        _remove(site)
        forget(python)
    except OSError as error:
        raise HookError(f"cannot remove the hook from {site} ({error.strerror}): close what uses it") from error
    return found


def status(python: Path) -> Installed | None:
    """The hook in the environment of `python`, or None. Raises HookError when it does not run."""
    return _read(python, _examine(python))


def environments() -> list[Installed]:
    """The hook in every environment of this computer where it was installed and still is."""
    found: list[Installed] = []
    for python in known():
        try:
            there = status(python)
        except HookError:  # the environment is gone
            forget(python)
            continue
        if there is not None:
            found.append(there)
    return found


def _examine(python: Path) -> dict[str, Any]:
    command = [str(python), "-I", "-c", _PROBE % (list(_REQUIRED), _FINDER)]
    try:
        # Not resolved: the link in a venv's folder is what makes it a venv.
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise HookError(
            f"{python} is not a Python interpreter that runs: name the python of the environment"
        ) from error
    return found


def _copy(site: Path, spool: Path | None, limit_mib: int | None) -> None:
    source, package = Path(__file__).parent, site / PACKAGE
    _remove(site)
    package.mkdir(parents=True)
    for file in sorted(source.glob("*.py")):
        if file.name not in _NOT_COPIED:
            shutil.copyfile(file, package / file.name)
    stored = {"version": __version__, "spool": None if spool is None else str(spool), "limit_mib": limit_mib}
    (package / STORED).write_text(json.dumps(stored) + "\n", encoding="utf-8")


def _remove(site: Path) -> None:
    # First the .pth: from here on no Python start looks for the package.
    (site / PTH).unlink(missing_ok=True)
    if (site / PACKAGE).is_dir():
        shutil.rmtree(site / PACKAGE)


def _compile(python: Path, package: Path) -> None:
    # The users of a shared environment may not write there: without this each start would compile again.
    command = [str(python), "-I", "-m", "compileall", "-q", str(package)]
    subprocess.run(command, capture_output=True, timeout=60, check=False)


def _read(python: Path, target: dict[str, Any]) -> Installed | None:
    site = Path(target["purelib"])
    package = site / PACKAGE
    try:
        stored = json.loads((package / STORED).read_text("utf-8"))
        version, named = str(stored["version"]), stored.get("spool")
    except (OSError, ValueError, KeyError):
        return None
    if not (site / PTH).is_file():
        return None
    spool = Path(named) if named else default_spool()
    return Installed(Path(python), version, package, spool, _last_write(spool, str(target["prefix"])))


def _last_write(spool: Path, prefix: str) -> int | None:
    """When a journal whose first line names the environment was last written."""
    written: list[int] = []
    for path in spool.glob("*.jsonl"):
        try:
            with path.open("rb") as file:
                said = json.loads(file.readline(4096))
            if said["d"].get("prefix") == prefix:
                written.append(path.stat().st_mtime_ns)
        except (OSError, ValueError, KeyError, AttributeError):
            continue  # away meanwhile, or another program's
    return max(written, default=None)
