"""scope-agent run, check, status, doctor"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.app import ConfigOption, JsonOption, app, config_path

if TYPE_CHECKING:
    from agent.operate.finding import Finding


@app.command()
def run(config: ConfigOption = None) -> None:
    """The daemon. Ctrl-C or a terminate request ends it within five seconds."""
    from agent.config import load
    from agent.daemon import Daemon, lower_priority, stop_on_signals
    from agent.lock import prepare_folder
    from agent.logs import set_up

    path = config_path(config)
    settings = load(path)
    prepare_folder(settings.state)
    daemon = Daemon(settings, path=path)
    stop_on_signals(daemon.stop)
    set_up(settings.state / "log", settings.log, terminal=True)
    lower_priority()
    daemon.run()
    if daemon.hangs:
        # Python would wait for threads that wait for a share; whatever they did is done again after the next start.
        logging.shutdown()
        os._exit(0)


@app.command()
def check(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_daemon: Annotated[
        bool, typer.Option("--as-daemon", help="Ask the running daemon, whose account may reach less or more.")
    ] = False,
) -> None:
    """Folders, rights, shares, hook, broker, facility, clock, certificates, disk. Exit 1 when one fails."""
    from agent.operate.checks import check_all

    path = config_path(config)
    if as_daemon:
        from agent.config import load
        from agent.operate.asked import ask

        found = ask(load(path).state)
    else:
        found = check_all(path)
    _tell(found, as_json)


@app.command()
def doctor(
    config: ConfigOption = None,
    bundle: Annotated[bool, typer.Option("--bundle", help="Write a ZIP file for those who help.")] = False,
    to: Annotated[Path | None, typer.Option(help="Name of that file.")] = None,
) -> None:
    """Everything that `check` and `status` find; with --bundle as a file without secrets, to be sent to support."""
    from agent.clock import SystemClock, utc
    from agent.operate.checks import check_all
    from agent.operate.report import write_report

    path, clock = config_path(config), SystemClock()
    if not bundle:
        _tell(check_all(path), as_json=False)
        return
    name = f"scope-agent-report-{utc(clock.now_ns()):%Y%m%dT%H%M%SZ}.zip"
    written = write_report(path, to or Path(name), clock)
    typer.echo(f"{written}: secrets are removed; names of files, samples and users are not, so look through it first")


def _tell(found: list[Finding], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([one.as_dict() for one in found]))
    else:
        for one in found:
            typer.echo(f"{one.level:5} {one.subject}: {one.text}")
    if any(one.level == "fail" for one in found):
        raise typer.Exit(1)


@app.command()
def status(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
) -> None:
    """The daemon: queue, current acquisition, last errors; live on a terminal until Ctrl-C. Exit 1 when none runs."""
    from agent.config import load
    from agent.operate.status import status_of

    settings = load(config_path(config))
    if as_json:
        said = status_of(settings)
        typer.echo(json.dumps(said))
    elif once or not sys.stdout.isatty():
        from agent.cli.status_view import lines

        said = status_of(settings)
        for line in lines(said):
            typer.echo(line)
    else:
        from agent.cli.status_view import live

        said = live(lambda: status_of(settings))
    if not said["running"]:
        sys.exit(1)
