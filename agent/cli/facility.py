"""scope-agent facility serve, token create | revoke | list, index"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from agent.cli.app import app
from agent.errors import Misconfigured

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
    from agent.facility.serve import check_installed

    check_installed()
    from agent.facility.rebuild import rebuild

    settings = _settings(config, data, {"store": store})
    if store is None:
        _present(settings.data_dir)
    with _as_owner(settings.data_dir):
        found = rebuild(settings, verify=verify)
    typer.echo(f"{found.datasets} datasets catalogued, {found.quarantined} in quarantine")


@tokens.command()
def create(
    name: NameArgument,
    data: DataOption = Path("facility"),
    to: Annotated[Path | None, typer.Option(help="File to write it to, which only its owner can read.")] = None,
) -> None:
    """Make a token for an instrument, or for a reader; it is shown once."""
    from agent.facility.serve import create_token

    if not data.exists():
        typer.echo(f"{data} is new: a facility takes the token when it runs with --data {data}", err=True)
    if to is None:
        with _as_owner(data):
            typer.echo(create_token(data, name))
        return
    with _secret(to) as file:
        with _as_owner(data):
            token = create_token(data, name)
        file.write(f"{token}\n")
    typer.echo(f"{to} written")


@tokens.command()
def revoke(name: NameArgument, data: DataOption = Path("facility")) -> None:
    """Remove every token of a name; a running facility refuses them at once."""
    from agent.facility.serve import revoke_tokens

    _present(data)
    with _as_owner(data):
        count = revoke_tokens(data, name)
    if not count:
        raise Misconfigured(f"there is no token for {name!r}: see 'scope-agent facility token list'")
    typer.echo(f"{count} revoked")


@tokens.command("list")
def list_(data: DataOption = Path("facility")) -> None:
    """Names of the tokens, and when they were made."""
    from agent.facility.serve import list_tokens

    _present(data)
    found = list_tokens(data)
    for name, made in found:
        typer.echo(f"{made}  {name}")
    if not found:
        typer.echo("there are no tokens yet", err=True)


def _present(data: Path) -> None:
    if not data.is_dir():
        raise Misconfigured(f"{data} is not there: name the facility's folder with --data")


@contextmanager
def _secret(path: Path) -> Iterator[TextIO]:
    """A new file for its owner alone, which goes again when what should be in it cannot be had."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Misconfigured(f"{path} exists already: name a new file, or remove it") from None
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from error
    with ExitStack() as undo:
        undo.callback(path.unlink)
        with os.fdopen(handle, "w") as file:
            yield file
        undo.pop_all()


@contextmanager
def _as_owner(data: Path) -> Iterator[None]:
    """What root makes in the folder belongs to its owner afterwards: the service must be able to use it (POSIX)."""
    yield
    if sys.platform == "win32" or os.geteuid() != 0:
        return
    owner = data.stat()
    todo = [data]
    while todo:
        for path in todo.pop().iterdir():
            # What belongs to somebody else is not new, however much lies in it.
            if path.lstat().st_uid == 0 != owner.st_uid:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
                todo += [path] if path.is_dir() and not path.is_symlink() else []


def _settings(config: Path | None, data: Path, said: dict[str, object]) -> Settings:
    """Settings of a file, over which go the options that were given."""
    from agent.contract.settings import read_toml, validate
    from agent.facility.settings import Settings

    tables: dict[str, object] = {"data_dir": data, "own_broker": True}
    tables |= read_toml(config) if config else {}
    tables |= {key: value for key, value in said.items() if value is not None}
    return validate(Settings, tables, str(config or "facility"))
