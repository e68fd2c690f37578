"""Where the journals are."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ENVIRONMENT = "SCOPE_AGENT_SPOOL"
ENVIRONMENT_MIB = "SCOPE_AGENT_SPOOL_MIB"
DEFAULT_MIB = 1024
STORED = "installed.json"
"""Written next to this module at installation: {"version": ..., "spool": path or null, "limit_mib": n or null}."""


def default_spool() -> Path:
    """The folder of the journals; it need not exist."""
    chosen = os.environ.get(ENVIRONMENT) or _stored().get("spool")
    return Path(chosen) if isinstance(chosen, str) else of_platform()


def default_limit() -> int:
    """Bytes that all journals may take: `SCOPE_AGENT_SPOOL_MIB`, else that of the installation, else 1 GiB."""
    for chosen in (os.environ.get(ENVIRONMENT_MIB), _stored().get("limit_mib")):
        if chosen is not None and str(chosen).isdecimal():
            return max(1, int(str(chosen))) << 20
    return DEFAULT_MIB << 20


def _stored() -> dict[str, object]:
    try:
        found = json.loads((Path(__file__).parent / STORED).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def of_platform() -> Path:
    if sys.platform == "win32":
        # Not below the user's profile: the daemon is a service and runs as another user.
        return Path(os.environ.get("PROGRAMDATA") or r"C:\ProgramData") / "scope-agent" / "spool"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "scope-agent" / "spool"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "scope-agent" / "spool"
