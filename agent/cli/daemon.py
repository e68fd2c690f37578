"""scope-agent run, check, status"""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from agent.cli.app import ConfigOption, JsonOption, app, config_path


@app.command()
def run(config: ConfigOption = None) -> None:
    """The daemon. Ctrl-C or a terminate request ends it within five seconds."""
    from agent.config import load
    from agent.daemon import Daemon, lower_priority, stop_on_signals
    from agent.lock import prepare_folder
    from agent.logs import set_up

    settings = load(config_path(config))
    prepare_folder(settings.state)
    daemon = Daemon(settings)
    stop_on_signals(daemon.stop)
    set_up(settings.state / "log", settings.log, terminal=True)
    lower_priority()
    daemon.run()


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Configuration, folders, hook, broker, facility, disk: each line ok, warn or fail. Exit 1 when one fails."""
    from agent.checks import check_all

    lines = check_all(config_path(config))
    if as_json:
        typer.echo(json.dumps([line.as_dict() for line in lines]))
    else:
        for line in lines:
            typer.echo(f"{line.level:5} {line.subject}: {line.text}")
    if any(line.level == "fail" for line in lines):
        raise typer.Exit(1)


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The running daemon: queue, current acquisition, last errors. Exit 1 when none runs."""
    from agent.checks import status_of
    from agent.config import load

    said = status_of(load(config_path(config)))
    if as_json:
        typer.echo(json.dumps(said))
    else:
        _show(said)
    if not said["running"]:
        sys.exit(1)


def _show(said: dict[str, Any]) -> None:
    typer.echo(f"scope-agent is {'running' if said['running'] else 'not running'}")
    for key, value in said.items():
        if key not in ("running", "errors") and value not in (None, [], {}):
            typer.echo(f"  {key}: {value}")
    for error in said["errors"]:
        typer.echo(f"  {error['name']} ({error['state']}): {error['error']}")
