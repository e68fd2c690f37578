"""Structured logs: one JSON line an event in a rotating file, readable text on a terminal."""

from __future__ import annotations

import json
import logging
import logging.handlers
from pathlib import Path

from agent.clock import iso
from agent.config import LogSettings
from agent.sources.spelling import shown

_EXTRA = ("action", "acquisition")


class JsonLine(logging.Formatter):
    """`{"time", "level", "action", "acquisition", "message", "logger"}`; a traceback under `trace`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str] = {"time": iso(int(record.created * 1e9)), "level": record.levelname.lower()}
        line |= {name: getattr(record, name) for name in _EXTRA if hasattr(record, name)}
        line |= {"message": record.getMessage(), "logger": record.name}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return shown(json.dumps(line, ensure_ascii=False))


class Readable(logging.Formatter):
    """`12:34:56 warning  message`, without traceback: that is in the file."""

    def format(self, record: logging.LogRecord) -> str:
        when = self.formatTime(record, "%H:%M:%S")
        return f"{when} {record.levelname.lower():8} {record.getMessage()}"


def set_up(folder: Path, settings: LogSettings, terminal: bool) -> logging.Handler:
    """Log to `folder/scope-agent.log` and, if asked, to standard error; returns the file's handler."""
    folder.mkdir(parents=True, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(
        folder / "scope-agent.log",
        maxBytes=settings.file_mib << 20,
        backupCount=settings.files,
        encoding="utf-8",
    )
    file.setFormatter(JsonLine())
    root = logging.getLogger()
    root.setLevel(settings.level.upper())
    root.addHandler(file)
    # Libraries speak of themselves only when something is wrong.
    for name in ("watchdog", "tifffile"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if terminal:
        shown = logging.StreamHandler()
        shown.setFormatter(Readable())
        root.addHandler(shown)
    return file
