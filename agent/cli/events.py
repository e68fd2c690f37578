"""scope-agent events replay"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agent.cli.app import ConfigOption, JsonOption, app, config_path
from agent.errors import Misconfigured

group = typer.Typer(help="Events on MQTT.", no_args_is_help=True)
app.add_typer(group, name="events")


@group.command()
def replay(
    since: Annotated[int, typer.Option(min=0, help="Send again what came after this sequence number.")],
    until: Annotated[int | None, typer.Option(min=0, help="And not after this one.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the running daemon to send past events again, unchanged, and count them as they come. Needs read access."""
    from agent.config import load
    from agent.contract.event import ReplayRequest
    from agent.contract.topics import Topics
    from agent.telemetry.asking import ask

    settings = load(config_path(config))
    if settings.mqtt is None:
        raise Misconfigured("no broker is configured: add an [mqtt] table")
    topics = Topics(settings.site, settings.instrument, settings.mqtt.prefix)
    numbers = ask(settings.mqtt, topics, ReplayRequest(since=since, until=until))
    if as_json:
        typer.echo(json.dumps({"since": since, "events": len(numbers), "first": numbers[0], "last": numbers[-1]}))
    else:
        typer.echo(f"{len(numbers)} events were sent again: {numbers[0]} to {numbers[-1]}")
