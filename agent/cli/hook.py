"""scope-agent hook install, uninstall, status"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.app import JsonOption, app
from agent.clock import iso
from agent.errors import Misconfigured

group = typer.Typer(help="The hook in the Python environment of the acquisition software.", no_args_is_help=True)
app.add_typer(group, name="hook")

PythonOption = Annotated[Path | None, typer.Option("--python", help="Interpreter of that environment.")]


def _python(python: Path | None) -> Path:
    return python or Path(sys.executable)


@group.command("install")
def install_(
    python: PythonOption = None,
    spool: Annotated[Path | None, typer.Option(help="Folder of the journals.")] = None,
) -> None:
    """Every later process of that environment journals its pymmcore-plus acquisitions."""
    from agent.hook.errors import HookError
    from agent.hook.install import install

    try:
        done = install(_python(python), spool)
    except (HookError, OSError) as error:
        raise Misconfigured(str(error)) from error
    typer.echo(f"hook {done.version} installed in {done.where}; journals in {done.spool}")


@group.command("uninstall")
def uninstall_(python: PythonOption = None) -> None:
    """Take the hook out again, without trace."""
    from agent.hook.errors import HookError
    from agent.hook.install import uninstall

    try:
        uninstall(_python(python))
    except (HookError, OSError) as error:
        raise Misconfigured(str(error)) from error
    typer.echo("hook uninstalled")


@group.command("status")
def status_(python: PythonOption = None, as_json: JsonOption = False) -> None:
    """Is the hook there, which version, and when did it last write?"""
    from agent.hook.errors import HookError
    from agent.hook.install import status

    try:
        found = status(_python(python))
    except (HookError, OSError) as error:
        raise Misconfigured(str(error)) from error
    said = {
        "installed": found is not None,
        "version": found.version if found else None,
        "where": str(found.where) if found else None,
        "spool": str(found.spool) if found else None,
        "last_write": iso(found.last_write_ns) if found and found.last_write_ns else None,
    }
    if as_json:
        typer.echo(json.dumps(said))
        return
    for key, value in said.items():
        typer.echo(f"{key}: {value}")
