"""scope-agent facility serve, token create"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.app import app

group = typer.Typer(help="The far end: receiver, catalogue and fleet page.", no_args_is_help=True)
tokens = typer.Typer(help="Access tokens of instruments.", no_args_is_help=True)
app.add_typer(group, name="facility")
group.add_typer(tokens, name="token")

DataOption = Annotated[Path, typer.Option("--data", help="Folder of the datasets.")]


@group.command()
def serve(
    data: DataOption = Path("facility"),
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8460,
    broker: Annotated[str | None, typer.Option(help="HOST:PORT of the MQTT broker.")] = None,
) -> None:
    """Run the facility until Ctrl-C."""
    import logging

    from agent.cli.demo_command import parse_address
    from agent.contract.settings import validate
    from agent.facility.serve import serve as run
    from agent.facility.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    tables: dict[str, object] = {"data_dir": data, "host": host, "port": port}
    if broker:
        at = parse_address(broker)
        tables |= {"broker_host": at[0], "broker_port": at[1]}
    settings = validate(Settings, tables, "facility")
    run(settings, lambda real: typer.echo(f"facility at http://{host}:{real}/"))


@tokens.command()
def create(name: Annotated[str, typer.Argument(help="site/instrument")], data: DataOption = Path("facility")) -> None:
    """Make a token for an instrument; it is shown once."""
    from agent.facility.serve import create_token

    typer.echo(create_token(data, name))
