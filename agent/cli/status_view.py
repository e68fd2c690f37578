"""What `scope-agent status` shows: lines of text, or a view that follows the daemon once a second."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_EVERY_S = 1.0


def lines(said: dict[str, Any]) -> list[str]:
    """The status as text, for scripts and logs."""
    told = [f"scope-agent is {'running' if said['running'] else 'not running'}"]
    told += [f"  {name}: {value}" for name, value in _facts(said)]
    told += [f"  {one['name']} ({one['state']}): {one['error']}" for one in said["errors"]]
    return told


def _facts(said: dict[str, Any]) -> list[tuple[str, str]]:
    """What there is to say, in the order in which people ask."""
    beat = said["heartbeat"] or {}
    facts = [("microscope", f"{said['site']}/{said['instrument']}")]
    if said["unread"]:
        facts.append(("acquisitions", f"not known: {said['unread']}"))
    else:
        counts = ", ".join(f"{n} {state}" for state, n in said["acquisitions"].items())
        facts.append(("acquiring", _current(said["current"])))
        facts.append(("queue", f"{beat.get('queue', 0)} acquisitions, {_size(said['bytes_left'])} to send"))
        facts.append(("acquisitions", counts or "none yet"))
    # What it said while it ran: nobody is connected to a broker any more.
    if said["running"] and "broker" in beat:
        facts.append(("broker", beat["broker"] or "connected"))
    if said["running"] and beat.get("problems"):
        facts.append(("problems", "; ".join(beat["problems"])))
    if said["disk_free"] is not None:
        facts.append(("disk", _disk(said["disk_free"], said["disk_reserve"])))
    if beat:
        facts.append(("daemon", f"{beat['version']}, pid {beat['pid']}, since {_second(beat['started_at'])}"))
        facts.append(("last sign of life", _second(beat["at"])))
    return facts


def _disk(free: int, reserve: int) -> str:
    short = f", nothing is written below {reserve >> 20} MiB: make room" if free < reserve else ""
    return f"{_size(free)} free{short}"


def _second(at: str) -> str:
    return f"{at[:19].replace('T', ' ')} UTC"


def _current(current: dict[str, Any] | None) -> str:
    if current is None:
        return "nothing"
    of = f" of {current['planned']}" if current["planned"] else ""
    return f"{current['name']}, {current['frames']}{of} frames"


def _size(count: int) -> str:
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def picture(said: dict[str, Any]) -> RenderableType:
    """The same as a table with the newest acquisitions below it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    state = ("running", "bold green") if said["running"] else ("not running", "bold red")
    head = Text.assemble("scope-agent is ", state)
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(said):
        facts.add_row(Text(name, style="dim"), Text(value, style="red" if name == "problems" else ""))
    newest = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("newest", "state", "id"):
        newest.add_column(column)
    for one in said["recent"]:
        newest.add_row(Text(one["name"]), Text(one["state"]), Text(one["id"], style="dim"))
    errors = [Text(f"{one['name']} ({one['state']}): {one['error']}", style="red") for one in said["errors"][:5]]
    return Group(head, facts, Text(), newest, *errors)


def live(
    look: Callable[[], dict[str, Any]], console: Console | None = None, turns: int | None = None
) -> dict[str, Any]:
    """Follow until Ctrl-C, or for so many turns; returns what was seen last."""
    from rich.live import Live

    said = look()
    pause = threading.Event()
    with Live(picture(said), console=console, screen=turns is None, auto_refresh=False) as view:
        try:
            while turns is None or turns > 0:
                pause.wait(_EVERY_S if turns is None else 0)
                said = look()
                view.update(picture(said), refresh=True)
                turns = None if turns is None else turns - 1
        except KeyboardInterrupt:
            return said
    return said
