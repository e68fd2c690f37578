"""What the daemon does now, as `status` and the metrics tell it; works while it runs and while it does not."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from agent.acquisition import State
from agent.config import Config
from agent.errors import Retryable
from agent.lock import is_held
from agent.outbox import Entry, Outbox

_NEWEST = 200


def status_of(config: Config) -> dict[str, Any]:
    """One JSON object: running, heartbeat, counts of acquisitions by state, the current one, what waits, errors.

    `unread`: why the outbox tells nothing of them, None when it was read.
    """
    said: dict[str, Any] = {
        "running": is_held(config.state, "daemon"),
        "site": config.site,
        "instrument": config.instrument,
        "heartbeat": _heartbeat(config.state / "heartbeat.json"),
        "unread": None,
        "acquisitions": {},
        "current": None,
        "bytes_left": 0,
        "disk_free": _free(config.state),
        "disk_reserve": config.delivery.limits.reserve_mib << 20,
        "recent": [],
        "errors": [],
    }
    path = config.state / "outbox.sqlite"
    if not path.exists():
        return said
    try:
        viewed = Outbox.view(path)
    except Retryable as error:  # made this moment, or of another version until its daemon has started
        return said | {"unread": str(error)}
    with contextlib.closing(viewed) as outbox:
        said["acquisitions"] = {state.value: n for state, n in outbox.counts().items()}
        said["bytes_left"] = outbox.bytes_left()
        newest = outbox.newest(_NEWEST)
    running = [entry.acquisition for entry in newest if entry.acquisition.state is State.ACQUIRING]
    if running:
        one = running[0]
        said["current"] = {"id": one.id, "name": one.name, "frames": one.frames, "planned": one.plan.frames}
    said["recent"] = [_short(entry) for entry in newest[:10]]
    said["errors"] = [_short(entry) | {"error": entry.error} for entry in newest if entry.error]
    return said


def _short(entry: Entry) -> dict[str, Any]:
    acquisition = entry.acquisition
    return {"id": acquisition.id, "name": acquisition.name, "state": acquisition.state.value}


def _heartbeat(path: Path) -> dict[str, Any] | None:
    """None while there is none; a half-read one cannot be, it is replaced as a whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
