"""Who did what, and who was refused: one JSON line each, in `audit.jsonl`, which is rotated and never rewritten."""

from __future__ import annotations

import json
import logging
import logging.handlers
from pathlib import Path

from agent.clock import Clock, SystemClock, iso

_MAX_BYTES = 16 << 20
_KEPT = 20
_MAX_TEXT = 500


class Audit:
    """The audit log of one facility; safe from several threads."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=_MAX_BYTES, backupCount=_KEPT, encoding="utf-8", delay=True
        )

    def note(self, action: str, outcome: str, *, who: str | None, address: str | None, **more: object) -> None:
        """`outcome`: done or refused. What came from outside is cut to 500 characters; JSON keeps it on its line."""
        said: dict[str, object] = {
            "time": iso(self._clock.now_ns()),
            "action": action,
            "outcome": outcome,
            "who": who,
            "from": address,
        }
        said |= {key: value[:_MAX_TEXT] if isinstance(value, str) else value for key, value in more.items()}
        text = json.dumps(said, ensure_ascii=True)
        # A disk that is full must not keep anybody from reading: logging reports it and goes on.
        self._handler.handle(logging.LogRecord("audit", logging.INFO, "", 0, text, None, None))

    def close(self) -> None:
        self._handler.close()


def note_once(path: Path, action: str, **more: object) -> None:
    """A line from a command beside the running facility."""
    audit = Audit(path)
    try:
        audit.note(action, "done", who="operator", address=None, **more)
    finally:
        audit.close()
