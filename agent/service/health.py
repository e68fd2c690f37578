"""Is the daemon well? By what it writes itself: its lock and its heartbeat."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent.config import Config
from agent.operate.status import status_of

_WELL = timedelta(seconds=9)
"""From its start to a second heartbeat: it works, and did not just begin."""


def healthy(config: Config, after: datetime) -> str | None:
    """The version that was started after `after`, runs, and has no problem; None while there is none."""
    said = status_of(config)
    beat = said["heartbeat"]
    if not said["running"] or beat is None or beat.get("problems"):
        return None
    began, at = datetime.fromisoformat(beat["started_at"]), datetime.fromisoformat(beat["at"])
    return str(beat["version"]) if began >= after and at - began >= _WELL else None
