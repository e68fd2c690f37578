"""Where the journals are."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ENVIRONMENT = "SCOPE_AGENT_SPOOL"
STORED = "installed.json"
"""Written next to this module at installation: {"version": ..., "spool": path or null}."""


def default_spool() -> Path:
    """The folder of the journals; it need not exist."""
    chosen = os.environ.get(ENVIRONMENT) or _stored()
    return Path(chosen) if chosen else _of_platform()


def _stored() -> str | None:
    try:
        found = json.loads((Path(__file__).parent / STORED).read_text("utf-8")).get("spool")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _of_platform() -> Path:
    if sys.platform == "win32":
        # Not below the user's profile: the daemon is a service and runs as another user.
        return Path(os.environ.get("PROGRAMDATA") or r"C:\ProgramData") / "scope-agent" / "spool"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "scope-agent" / "spool"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "scope-agent" / "spool"
