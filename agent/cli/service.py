"""scope-agent service install, uninstall, status; scope-agent bundle"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.app import ConfigOption, JsonOption, app, config_path
from agent.errors import Misconfigured

group = typer.Typer(help="The daemon as a service: at boot, restarted on failure, low privilege.", no_args_is_help=True)
app.add_typer(group, name="service")


@group.command()
def install(
    config: ConfigOption = None,
    account: Annotated[str | None, typer.Option(help="Windows account; without it a virtual one of its own.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with the password of that account.")] = None,
    to: Annotated[Path | None, typer.Option(help="Only write the unit or property list to this file.")] = None,
) -> None:
    """Register and start it; over an older version: upgrade, and back when the new one is not healthy."""
    path = config_path(config).resolve()
    if sys.platform == "win32":
        from agent.service.windows import install_service

        typer.echo(install_service(path, account, password_file))
        return
    from agent.service.posix import install_unit

    for line in install_unit(path, to):
        typer.echo(line)


@group.command()
def uninstall(
    config: ConfigOption = None,
    even_if_not_delivered: Annotated[
        bool, typer.Option("--even-if-not-delivered", help="Although acquisitions still wait in the outbox.")
    ] = False,
) -> None:
    """Stop it and remove every trace of it from the system; config, state and data stay."""
    from agent.service.waiting import refuse_while_waiting

    if not even_if_not_delivered and config is not None:
        refuse_while_waiting(config)
    if sys.platform == "win32":
        from agent.service.windows import uninstall_service

        typer.echo(uninstall_service(config))
        return
    from agent.service.posix import uninstall_unit

    for line in uninstall_unit():
        typer.echo(line)


@group.command("status")
def status_(as_json: JsonOption = False) -> None:
    """Is it installed, and does it run? Exit 1 when not."""
    if sys.platform == "win32":
        from agent.service.windows import state
    else:
        from agent.service.posix import state
    said = state()
    typer.echo(json.dumps(said) if as_json else f"{said['state']}: {said['command'] or 'not installed'}")
    if said["state"] != "running":
        raise typer.Exit(1)


@app.command()
def bundle(
    to: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
    python: Annotated[str, typer.Option(help="Python version of the microscope's computer.")] = "3.11",
    platform: Annotated[str, typer.Option(help="win_amd64, manylinux_2_28_x86_64 or macosx_11_0_arm64.")] = "win_amd64",
    extra: Annotated[list[str] | None, typer.Option(help="Extras to include; without it: formats, s3, qc.")] = None,
    source: Annotated[Path | None, typer.Option(help="Checkout or wheel of scope-agent.")] = None,
) -> None:
    """Everything to install from a USB stick or share, without internet: wheels, installer, example config."""
    from agent.service.bundle import make_bundle

    if to.exists():
        raise Misconfigured(f"{to} exists already: name a new folder")
    made = make_bundle(to, python, platform, extra or ["formats", "s3", "qc"], source)
    typer.echo(f"{to}: {made} files, complete for Python {python} on {platform}")
