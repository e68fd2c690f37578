"""What the demo shows: a line for every step, and a table at the end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agent.contract.layout import MANIFEST
from agent.contract.manifest import parse

Events = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """One acquisition, as the facility and the subscriber saw it."""

    name: str
    frames: str
    files: int
    size: int
    verified: bool
    events: str
    completeness: str
    dataset: Path | None
    seconds: float | None


def row(events: Events, facility: Path | None) -> Row:
    """Collect a row from the events and, where the facility's folder is here, from the delivered dataset."""
    last = list(events.values())[-1]["data"]
    verified = events.get("verified")
    dataset = facility / "datasets" / verified["data"]["dataset"] if verified and facility else None
    return Row(
        name=last["name"],
        frames=f"{last.get('frames_actual', '?')} / {last.get('frames_planned', '?')}",
        files=verified["data"]["files"] if verified else 0,
        size=verified["data"]["bytes"] if verified else 0,
        verified=verified is not None and (dataset is None or _lists_all(dataset)),
        events=" ".join(events),
        completeness=_completeness(events),
        dataset=dataset,
        seconds=_seconds(events),
    )


def _lists_all(dataset: Path) -> bool:
    """Every file that the manifest names is there."""
    return all((dataset / name).is_file() for name in parse((dataset / MANIFEST).read_bytes()))


def _completeness(events: Events) -> str:
    tiers = (events.get("documented") or {"data": {}})["data"].get("completeness") or {}
    return "  ".join(f"{name}: {filled}" for name, filled in tiers.items()) or "unknown"


def _seconds(events: Events) -> float | None:
    """From the last frame to verified."""
    ended = (events.get("finished") or events.get("aborted") or {"data": {}})["data"].get("finished_at")
    verified = events.get("verified")
    if not ended or not verified:
        return None
    return (datetime.fromisoformat(verified["time"]) - datetime.fromisoformat(ended)).total_seconds()


def table(rows: list[Row], console: Console) -> None:
    """Print the result."""
    for found in rows:
        shown = Table(title=found.name, show_header=False, title_justify="left", title_style="bold", min_width=60)
        shown.add_row("frames, actual / planned", found.frames)
        shown.add_row("files", str(found.files))
        shown.add_row("bytes", f"{found.size:,}")
        shown.add_row("verified by SHA-256", "[green]yes[/green]" if found.verified else "[red]no[/red]")
        shown.add_row("events received", found.events)
        shown.add_row("completeness, filled/required", found.completeness)
        shown.add_row("last frame to verified", f"{found.seconds:.1f} s" if found.seconds is not None else "unknown")
        shown.columns[1].overflow = "fold"
        console.print(shown)
    for found in rows:
        # Outside of the table: a path that is broken into lines cannot be copied.
        console.print(f"{found.name}: {found.dataset or 'at the facility'}", soft_wrap=True, highlight=False)
