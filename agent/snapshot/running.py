"""The devices of the acquisition software that runs now, as the hook journalled them: its hardware is not touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.clock import iso
from agent.errors import Damaged, Misconfigured
from agent.sources.capture import RunCapture
from agent.sources.events import Span
from agent.sources.journal import read_run
from agent.sources.liveness import writer_lives

_HEAD = 300
"""Bytes at the start of a line within which its kind stands."""


@dataclass(frozen=True, slots=True)
class Journalled:
    """The last state that a hooked process told of."""

    summary: dict[str, Any]
    """pymmcore-plus' summary at the start of its last run, with what was read or changed since."""
    said: str
    """Which process told it, when, and whether it still runs: one line."""


def last_journalled(spool: Path) -> Journalled:
    """The state of the newest run in `spool`, of a process that runs now if any does.

    Raises Misconfigured in one line when no hooked process has acquired anything yet.
    """
    try:
        journals = sorted((path for path in spool.iterdir() if path.suffix == ".jsonl"), reverse=True)
    except OSError as error:
        raise Misconfigured(f"the spool {spool} cannot be read ({error.strerror}): name it with --spool") from error
    ended: Journalled | None = None
    for path in journals:
        try:
            lives = writer_lives(path)
            found = _last_run(path, lives=lives) if lives or ended is None else None
        except (OSError, Damaged):
            continue  # the daemon may prune it at this moment, or its first line is torn: another one may tell
        if found is not None and lives:
            return found
        ended = ended or found
    if ended is None:
        raise Misconfigured(
            f"no hooked process has acquired anything into {spool} yet: take one image with core.mda.run() in the"
            " acquisition software (is the hook installed? scope-agent hook status), or ask a core of its own: --core"
        )
    return ended


def _last_run(path: Path, *, lives: bool) -> Journalled | None:
    start = None
    with path.open("rb") as file:
        at = 0
        for line in file:
            if b'"started"' in line[:_HEAD]:
                start = at
            at += len(line)
    if start is None:
        return None
    run = read_run(Span(str(path), start))
    if not run.summary.get("devices"):
        return None
    state = "still runs" if lives else "has ended"
    return Journalled(_up_to_date(run), f"journal {path.name}, run of {iso(run.started_ns)}; its process {state}")


def _up_to_date(run: RunCapture) -> dict[str, Any]:
    """The summary with the values that were read at the end of the run or changed during it."""
    newer = {(one.device, one.property): one.value for one in run.changes} | run.end_state
    devices = []
    for device in run.summary["devices"]:
        label = str(device.get("label"))
        properties = [
            {**one, "value": newer.get((label, str(one.get("name"))), one.get("value"))}
            for one in device.get("properties", ())
        ]
        devices.append({**device, "properties": properties})
    return {**run.summary, "devices": devices}
