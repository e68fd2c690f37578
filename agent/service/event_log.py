"""Windows' event log: a source of our own, and a handler that writes what needs attention."""

from __future__ import annotations

import logging
from typing import Any

from agent.service.plan import DISPLAY

SOURCE = rf"SYSTEM\CurrentControlSet\Services\EventLog\Application\{DISPLAY}"
MESSAGES = r"%SystemRoot%\System32\EventCreate.exe"
"""Comes with Windows; its messages 1 to 1000 are just the text that was written."""
_ERROR, _WARNING, _INFORMATION = 1, 2, 4


def add_source(registry: Any) -> None:
    """Register the source. `registry` is the module winreg, or a stand-in for it."""
    with registry.CreateKey(registry.HKEY_LOCAL_MACHINE, SOURCE) as key:
        registry.SetValueEx(key, "EventMessageFile", 0, registry.REG_EXPAND_SZ, MESSAGES)
        registry.SetValueEx(key, "TypesSupported", 0, registry.REG_DWORD, _ERROR | _WARNING | _INFORMATION)


def remove_source(registry: Any) -> None:
    """No error when it is not there."""
    try:
        registry.DeleteKey(registry.HKEY_LOCAL_MACHINE, SOURCE)
    except FileNotFoundError:
        return


class EventLogHandler(logging.Handler):
    """Errors, and start and stop; warnings stay in the log file. `report` is win32evtlogutil.ReportEvent."""

    def __init__(self, report: Any) -> None:
        super().__init__(logging.INFO)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR and getattr(record, "action", "") not in ("ready", "stopped"):
            return
        kind = _ERROR if record.levelno >= logging.ERROR else _INFORMATION
        try:
            self._report(DISPLAY, 1, eventType=kind, strings=[record.getMessage()])
        except Exception:  # noqa: BLE001 -- pywintypes.error; a full event log must not end the daemon
            self.handleError(record)
