"""scope-agent calibrations list, show, due, trend, withdraw, export, import"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.app import ConfigOption, JsonOption, app, config_path
from agent.cli.calibrate import Which, line_of

if TYPE_CHECKING:
    from agent.calibration import CalibrationSettings, Registry

group = typer.Typer(help="Results of quality control, and what is due.", no_args_is_help=True)
app.add_typer(group, name="calibrations")


def _open(config: Path | None) -> tuple[Registry, CalibrationSettings]:
    from agent.calibration import Registry
    from agent.config import load

    settings = load(config_path(config))
    return Registry.open(settings.state), settings.calibration


@group.command("list")
def list_(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    every: Annotated[bool, typer.Option("--all", help="Corrected and superseded ones too.")] = False,
) -> None:
    """Results in force."""
    from agent.calibration.registry import about

    registry, _ = _open(config)
    entries = registry.entries() if every else registry.in_force()
    if as_json:
        typer.echo(json.dumps([entry.model_dump(mode="json", exclude_none=True) for entry in entries]))
        return
    _none_yet(entries)
    for entry in entries:
        judged = any(found.limit for found in entry.metrics.values())
        state = "FAIL" if entry.failed else "pass" if judged else "no limit" if entry.metrics else "withdrawal"
        low = "  (low quality)" if entry.quality == "low" else ""
        typer.echo(f"{entry.id}  {entry.measured_at[:10]}  due {entry.due_at[:10]}  {state:10}  {about(entry)}{low}")


@group.command()
def show(entry_id: str, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """One result with everything that is known of it."""
    entry = _open(config)[0].get(entry_id)
    said = entry.model_dump(mode="json", exclude_none=True)
    if as_json:
        typer.echo(json.dumps(said))
        return
    for name, value in said.items():
        if name != "metrics":
            typer.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    for name, found in said.get("metrics", {}).items():
        typer.echo(f"  {line_of(name, found)}")


@group.command()
def due(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What is overdue, longest first, and what comes next. Exit 1 when something is overdue."""
    registry, policy = _open(config)
    found = registry.due(time.time_ns(), policy)
    late = [one for one in found if one.days is None or one.days > 0]
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found]))
    else:
        for one in found:
            typer.echo(f"{_when(one.days):26} {one.what}")
        _none_yet(found)
    raise typer.Exit(1 if late else 0)


def _none_yet(found: Sequence[object]) -> None:
    if not found:
        typer.echo("nothing was ever measured; start with: scope-agent calibrate KIND FILE... --record")


def _when(days: float | None) -> str:
    if days is None:
        return "OVERDUE, never measured"
    return f"OVERDUE by {days:.1f} days" if days > 0 else f"due in {-days:.1f} days"


@group.command()
def trend(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    kind: Annotated[Which | None, typer.Option(help="Only this kind.")] = None,
    metric: Annotated[str | None, typer.Option(help="This metric; default: those that have a limit.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every metric; --json tells all in any case.")] = False,
    figure: Annotated[Path | None, typer.Option(help="Draw it into this file (png, svg, pdf).")] = None,
) -> None:
    """Each metric over time, with its limit."""
    from agent.calibration.trend import trends

    entries = _open(config)[0].entries()
    found = trends(entries, kind, metric, every)
    if figure is not None:
        from agent.calibration.figures import draw_trends

        draw_trends(found, figure)
    if as_json:
        told = trends(entries, kind, metric, every_metric=True)
        typer.echo(json.dumps([one.model_dump(mode="json", exclude_none=True) for one in told]))
        return
    _none_yet(entries)
    if entries and not found:
        typer.echo(f"no {metric or kind} was ever measured; `calibrations trend --all` lists what was")
    for one in found:
        limit = f"  ({one.sense} {one.limit:g})" if one.limit is not None else ""
        unit = f" [{one.unit}]" if one.unit else ""
        typer.echo(f"{one.metric}{unit}  {one.holds_for}{limit}")
        for point in one.points:
            typer.echo(f"  {point.measured_at[:19]}  {point.value:12.6g}  {point.status}")


@group.command()
def withdraw(
    entry_id: str,
    reason: Annotated[str, typer.Option(help="Why it is wrong.")],
    config: ConfigOption = None,
) -> None:
    """Take a wrong result back: a new entry that says why; the old one stays on record."""
    import getpass

    from agent import __version__
    from agent.calibration import Entry
    from agent.clock import iso
    from agent.contract.ids import uuid7
    from agent.errors import Rejected

    registry, _ = _open(config)
    old = registry.get(entry_id)
    if any(entry.corrects == old.id for entry in registry.entries()):
        raise Rejected(f"{old.id} was already replaced or taken back; see 'calibrations list --all'")
    now = time.time_ns()
    said: dict[str, Any] = {
        "id": str(uuid7(now)),
        "instrument": old.instrument,
        "kind": old.kind,
        "series": old.series,
        "measured_at": old.measured_at,
        "recorded_at": iso(now),
        "recorded_by": getpass.getuser(),
        "holds_for": old.holds_for,
        "due_at": old.due_at,
        "due_source": old.due_source,
        "corrects": old.id,
        "comment": reason,
        "software": f"scope-agent {__version__}",
    }
    registry.add(Entry.model_validate(said))
    typer.echo(f"{old.id} no longer counts")


@group.command("export")
def export_(file: Path, config: ConfigOption = None) -> None:
    """Write every result into one JSON file."""
    registry, _ = _open(config)
    document = registry.export()
    file.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    typer.echo(f"{len(document['entries'])} results in {file}")


@group.command("import")
def import_(file: Path, config: ConfigOption = None) -> None:
    """Add the results of an exported file that are not here yet."""
    from agent.errors import Rejected

    registry, _ = _open(config)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise Rejected(f"{file} is no JSON: {error}") from error
    typer.echo(f"{registry.load(document)} new results")
