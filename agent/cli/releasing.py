"""scope-agent release, and verify at the target: what it holds, asked anew."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from agent.cli.acquisitions import _entry, group
from agent.cli.app import ConfigOption, JsonOption, app, config_path
from agent.errors import Busy, Misconfigured


@contextlib.contextmanager
def _opened(config: ConfigOption) -> Iterator[tuple[Any, Any, Any]]:
    """Settings, outbox and target."""
    from agent.config import load
    from agent.delivery.targets import open_target
    from agent.outbox import Outbox

    settings = load(config_path(config))
    path = settings.state / "outbox.sqlite"
    if not path.exists():
        raise Misconfigured(f"{path} does not exist: no daemon ran with this config yet")
    with (
        contextlib.closing(Outbox.open(path)) as outbox,
        contextlib.closing(open_target(settings.delivery, "cli", used=True)) as target,
    ):
        yield settings, outbox, target


@group.command()
def verify(acquisition_id: str, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Let the target read again what it holds of an acquisition. Exit 65 when it is not what was delivered."""
    with _opened(config) as (_, outbox, target):
        entry = _entry(outbox, acquisition_id)
        if entry.dataset is None:
            raise Misconfigured(f"{acquisition_id} is {entry.acquisition.state}: it was not delivered yet")
        held = target.held(entry.dataset)
        rows = outbox.files(entry.acquisition.id)
    wrong = {*held.missing, *held.different, *(row.target for row in rows if held.files.get(row.target) != row.sha256)}
    said = {"dataset": entry.dataset, "verified": not wrong, "files": len(held.files), "wrong": sorted(wrong)}
    if as_json:
        typer.echo(json.dumps(said))
    else:
        for name in said["wrong"]:
            typer.echo(f"not as delivered: {name}")
        typer.echo(f"{said['files']} files of {said['dataset']}, {'verified' if not wrong else 'NOT verified'}")
    if wrong:
        raise typer.Exit(65)


@app.command()
def release(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be moved; touch nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Which source files the policy would release now. The daemon releases them by itself, where the policy says so."""
    from agent.clock import SystemClock
    from agent.delivery.release import Releaser
    from agent.steps.release import planned

    if not dry_run:
        raise Busy("only the daemon releases: set delivery.release.policy, or look with --dry-run")
    with _opened(config) as (settings, outbox, target):
        policy = settings.delivery.release
        shown = planned(outbox, Releaser(outbox, target, policy.grace_folder), policy, SystemClock())
    if as_json:
        typer.echo(json.dumps([
            {"id": e.acquisition.id, "dataset": e.dataset, "kept_because": why, "files": [r.source for r in files]}
            for e, files, why in shown
        ]))  # fmt: skip
        return
    for entry, files, why in shown:
        typer.echo(f"{entry.acquisition.id}  {entry.dataset}: {why or f'{len(files)} files would be moved'}")
        for file in files:
            typer.echo(f"    {file.source} -> {file.kept}")
    typer.echo(f"policy {policy.policy!r}: {len(shown)} verified acquisitions older than {policy.after_days:g} days")
