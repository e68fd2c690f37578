"""What the log of pymmcore-plus says of runs: their start, their events, their end. It knows no process and no path.

2026-11-22T17:26:25.775    tid0x7fd5f7e5db80 [INFO,pymmcore-plus] MDA Started: channels=(Channel(...
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_LINE = re.compile(
    rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.,]\d{1,6})\s+tid(?P<thread>\w+) \[\w+,pymmcore-plus\] (?P<text>.*)",
    re.DOTALL,
)
_WORDS = {b"MDA Started: ": "started", b"MDA Canceled: ": "canceled", b"MDA Finished: ": "finished"}
_EVENT = re.compile(rb"(index=\{|min_start_time=|properties=\[|exposure=|channel=|[xyz]_pos=)")
_NAME = re.compile(rb"'save_name': '([^']+)'")


@dataclass(frozen=True, slots=True)
class LogLine:
    """`kind` is started, canceled, finished or event; `thread` tells runs at the same time apart."""

    at_ns: int
    thread: str
    kind: str
    name: str = ""
    """Of what the run was to save, where the application (pymmcore-widgets) puts it into the sequence."""
    many: bool = False
    """The event stands for a burst of frames whose number the log does not say."""


def parse(raw: bytes) -> LogLine | None:
    """What a line says of a run, None for all the others."""
    found = _LINE.match(raw)
    if found is None:
        return None
    text = found["text"]
    kind = next((kind for word, kind in _WORDS.items() if text.startswith(word)), "")
    if not kind and not _EVENT.match(text):
        return None
    try:
        # Without a zone: it is the local time of this computer.
        at = datetime.fromisoformat(found["time"].decode().replace(",", ".")).astimezone()
    except ValueError:
        return None
    name = _NAME.search(text) if kind == "started" else None
    at_ns = int(at.timestamp() * 1e6) * 1000
    said = name[1].decode("utf-8", "replace") if name else ""
    return LogLine(at_ns, found["thread"].decode(), kind or "event", said, not kind and b"index={" not in text)
