"""Tells the service manager how we are: systemd's sd_notify protocol, nothing where there is no systemd."""

from __future__ import annotations

import os
import socket
import sys


class Notifier:
    """Does nothing where NOTIFY_SOCKET is not set."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address or os.environ.get("NOTIFY_SOCKET")

    def ready(self) -> None:
        self._send("READY=1")

    def alive(self) -> None:
        """To be called more often than WatchdogSec of the unit: the main loop turns."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if sys.platform == "win32" or not self._address:
            return
        # An abstract socket begins with a zero byte, written as '@' (man sd_notify).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(state.encode(), address)
        except OSError:
            # The service manager restarts what it does not hear of; we cannot do more.
            self._address = None
