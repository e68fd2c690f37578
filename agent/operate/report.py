"""The support bundle: what somebody who helps needs to see, in one ZIP file, without secrets.

    report.json      versions, system, packages, environment (ours), sizes of the files of the state folder
    check.json       every finding of `check`
    status.json      what the daemon does
    config.toml      the settings
    log/...          the newest part of every log file

Names of acquisitions, folders and users stay in it: look through it before you hand it on.
"""

from __future__ import annotations

import codecs
import json
import os
import platform
import re
import sys
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from agent import __version__
from agent.clock import Clock, iso
from agent.config import Config, load
from agent.errors import ScopeAgentError
from agent.operate.checks import check_all
from agent.operate.secrets import Redactor, known_secrets
from agent.operate.status import status_of

_LOG_BYTES = 2 << 20
"""Of each log file, its end."""
_OURS = re.compile(r"SCOPE_AGENT_\w+|PYTHON\w*|LANG|LC_ALL|TZ")


def write_report(config_path: Path, to: Path, clock: Clock, environment: Mapping[str, str] | None = None) -> Path:
    """Write the bundle to `to`; works without a readable config, too. Raises OSError."""
    environment = os.environ if environment is None else environment
    config, why = _loaded(config_path)
    known = known_secrets(config, environment) if config else set(_secret_values(environment))
    redactor = Redactor(known)
    entries: dict[str, str] = {
        "report.json": _json(_machine(config, environment, clock) | ({"config_error": why} if why else {})),
        "check.json": _json([found.as_dict() for found in check_all(config_path, clock)]),
        "config.toml": _text(config_path, _LOG_BYTES),
    }
    if config is not None:
        entries["status.json"] = _json(_status(config))
        entries |= {f"log/{path.name}": _text(path, _LOG_BYTES) for path in sorted((config.state / "log").glob("*"))}
    making = to.with_name(f"{to.name}.making")
    with zipfile.ZipFile(making, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(name, redactor.clean(text))
    making.replace(to)
    return to


def _loaded(path: Path) -> tuple[Config | None, str | None]:
    try:
        return load(path), None
    except ScopeAgentError as error:
        return None, str(error)


def _secret_values(environment: Mapping[str, str]) -> list[str]:
    return [value for name, value in environment.items() if re.search(r"(?i)token|password|secret|key", name)]


def _machine(config: Config | None, environment: Mapping[str, str], clock: Clock) -> dict[str, Any]:
    said: dict[str, Any] = {
        "written_at": iso(clock.now_ns()),
        "scope_agent": __version__,
        "python": sys.version,
        "executable": sys.executable,
        "system": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "environment": {name: value for name, value in sorted(environment.items()) if _OURS.fullmatch(name)},
        "packages": dict(sorted((found.metadata["Name"], found.version) for found in metadata.distributions())),
    }
    if config is not None:
        said["state"] = _sizes(config.state)
    return said


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of the files in the state folder; of folders in it the number of their entries."""
    found: dict[str, int] = {}
    for path in sorted(folder.glob("*")):
        try:
            found[path.name] = path.stat().st_size if path.is_file() else sum(1 for _ in path.iterdir())
        except OSError:
            found[path.name] = -1
    return found


def _status(config: Config) -> dict[str, Any]:
    try:
        return status_of(config)
    except ScopeAgentError as error:
        return {"error": str(error)}


def _text(path: Path, most: int) -> str:
    """The end of a text file, from the beginning of a line on."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            cut = file.readline() if size > most else b""
            data = file.read() if cut or size <= most else b""
            # A configuration may be as PowerShell writes it; secrets are found in letters, not in pairs of bytes.
            marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            return data.decode("utf-16" if marked else "utf-8-sig", "replace")
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
