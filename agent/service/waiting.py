"""Nothing is lost by an uninstallation: what is not delivered yet stops it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from agent.config import load
from agent.errors import Busy
from agent.outbox import Outbox


def refuse_while_waiting(config_path: Path) -> None:
    """Raises Busy while acquisitions wait in the outbox."""
    path = load(config_path).state / "outbox.sqlite"
    if not path.exists():
        return
    with contextlib.closing(Outbox.view(path)) as outbox:
        waiting = outbox.queue()
    if waiting:
        raise Busy(f"{waiting} acquisitions are not delivered yet: wait, or say --even-if-not-delivered")
