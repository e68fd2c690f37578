"""What nemo-mqtt-bridge tells of a tool in NEMO, the booking system: who enabled it, and when it was disabled.

    nemo/tools/{id}/enabled     {"event": "tool_enabled", "tool_id": 7, "tool_name": "...", "usage_id": 41,
                                 "user_name": "Ada Lovelace", "start_time": "2026-03-02T09:00:00+00:00"}
    nemo/tools/{id}/disabled    the same with "event": "tool_disabled" and "end_time"

As its version 2.3 publishes them, retained or not; other topics of a tool say nothing of who is there. There is no
project in them. Sent again, and told in any order, they come to the same sessions: each has its own time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

PREFIX = "nemo/tools"
SURE = 0.8
"""The tool was enabled under this name; whoever sits there may have changed since."""
_TIMES = {"tool_enabled": "start_time", "tool_disabled": "end_time"}


@dataclass(frozen=True, slots=True)
class Usage:
    """Somebody began to use the tool, or (`user` is empty) ended it."""

    user: str
    at_ns: int | None
    """None: it did not say when."""


def topics(tool: int, prefix: str = PREFIX) -> tuple[str, str]:
    """What to subscribe to."""
    return f"{prefix}/{tool}/enabled", f"{prefix}/{tool}/disabled"


def read(said: Any, tool: int) -> Usage:
    """The payload of one of the topics. ValueError for what is none."""
    event = said.get("event") if isinstance(said, dict) else None
    if event not in _TIMES or said.get("tool_id") != tool:
        raise ValueError(f"no tool_enabled or tool_disabled of tool {tool}, as nemo-mqtt-bridge sends them")
    user = said.get("user_name")
    if event == "tool_enabled" and not (isinstance(user, str) and user.strip()):
        raise ValueError("user_name is missing")
    at = said.get(_TIMES[event])
    return Usage(user if event == "tool_enabled" else "", time_ns(at) if at is not None else None)


def time_ns(text: object) -> int:
    """UTC nanoseconds of an RFC 3339 time. ValueError for what is none, names no time zone, or was never set."""
    try:
        when = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise ValueError(f"{str(text)[:40]!r} is no time with a time zone, such as 2026-03-02T09:00:00Z")
    if when.timestamp() < 0:
        # The year 1 of a device whose clock was never set is more than the nanoseconds of a database hold.
        raise ValueError(f"{str(text)[:40]!r} is before 1970: set the clock of what sends it")
    return int(when.timestamp() * 1_000_000) * 1000
