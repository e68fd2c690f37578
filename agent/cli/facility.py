"""scope-agent facility serve, token create | revoke | list, index"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.app import app

if TYPE_CHECKING:
    from agent.facility.settings import Settings

group = typer.Typer(help="The far end: receiver, catalogue and fleet page.", no_args_is_help=True)
tokens = typer.Typer(help="Access tokens of instruments and readers.", no_args_is_help=True)
app.add_typer(group, name="facility")
group.add_typer(tokens, name="token")

DataOption = Annotated[Path, typer.Option("--data", help="Folder of the datasets.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="TOML file with settings of the facility.")]
StoreOption = Annotated[
    str | None, typer.Option(help="Where the datasets lie: a folder, s3://bucket/prefix, file:///shared/folder.")
]
NameArgument = Annotated[str, typer.Argument(help="site/instrument, or one name for a reader")]


@group.command()
def serve(
    data: DataOption = Path("facility"),
    host: Annotated[str | None, typer.Option(help="Address to listen at.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    broker: Annotated[str | None, typer.Option(help="HOST:PORT of the MQTT broker; one is started if none.")] = None,
    mqtt_port: Annotated[int | None, typer.Option(help="Port of the broker that is started.")] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Run the facility until Ctrl-C."""
    import logging

    from agent.cli.demo_command import parse_address
    from agent.facility.serve import serve as run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    said: dict[str, object] = {"host": host, "port": port, "store": store, "mqtt_port": mqtt_port}
    if broker:
        said |= dict(zip(("broker_host", "broker_port"), parse_address(broker), strict=True))
    settings = _settings(config, data, said)
    run(settings, lambda real: typer.echo(f"facility at http://{settings.host}:{real}/"))


@group.command()
def index(
    data: DataOption = Path("facility"),
    store: StoreOption = None,
    config: ConfigOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Also compare every byte with the manifests.")] = False,
) -> None:
    """Make the catalogue again from the datasets; also of a folder or S3 prefix that holds datasets already."""
    from agent.facility.rebuild import rebuild

    found = rebuild(_settings(config, data, {"store": store}), verify=verify)
    typer.echo(f"{found.datasets} datasets catalogued, {found.quarantined} in quarantine")


@tokens.command()
def create(name: NameArgument, data: DataOption = Path("facility")) -> None:
    """Make a token for an instrument, or for a reader; it is shown once."""
    from agent.facility.serve import create_token

    typer.echo(create_token(data, name))


@tokens.command()
def revoke(name: NameArgument, data: DataOption = Path("facility")) -> None:
    """Remove every token of a name; a running facility refuses them at once."""
    from agent.errors import Misconfigured
    from agent.facility.serve import revoke_tokens

    count = revoke_tokens(data, name)
    if not count:
        raise Misconfigured(f"there is no token for {name!r}: see 'scope-agent facility token list'")
    typer.echo(f"{count} revoked")


@tokens.command("list")
def list_(data: DataOption = Path("facility")) -> None:
    """Names of the tokens, and when they were made."""
    from agent.facility.serve import list_tokens

    for name, made in list_tokens(data):
        typer.echo(f"{made}  {name}")


def _settings(config: Path | None, data: Path, said: dict[str, object]) -> Settings:
    """Settings of a file, over which go the options that were given."""
    from agent.contract.settings import read_toml, validate
    from agent.facility.settings import Settings

    tables: dict[str, object] = {"data_dir": data, "own_broker": True}
    tables |= read_toml(config) if config else {}
    tables |= {key: value for key, value in said.items() if value is not None}
    return validate(Settings, tables, str(config or "facility"))
