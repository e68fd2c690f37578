"""scope-agent hook install, uninstall, status"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.app import JsonOption, app
from agent.clock import iso
from agent.errors import Misconfigured

if TYPE_CHECKING:
    from agent.hook.install import Installed

group = typer.Typer(help="The hook in the Python environment of the acquisition software.", no_args_is_help=True)
app.add_typer(group, name="hook")

PythonOption = Annotated[Path | None, typer.Option("--python", help="Interpreter of that environment.")]


def _python(python: Path | None) -> Path:
    return python or Path(sys.executable)


@group.command("install")
def install_(
    python: PythonOption = None,
    spool: Annotated[Path | None, typer.Option(help="Folder of the journals.")] = None,
    limit_mib: Annotated[
        int | None, typer.Option(min=1, help="What the journals may take, in MiB; then the details of the oldest go.")
    ] = None,
) -> None:
    """Every later process of that environment journals its pymmcore-plus acquisitions."""
    from agent.hook.errors import HookError
    from agent.hook.install import install

    try:
        done = install(_python(python), spool, limit_mib)
    except (HookError, OSError) as error:
        raise Misconfigured(str(error)) from error
    typer.echo(f"hook {done.version} installed in {done.where}; journals in {done.spool}")


@group.command("uninstall")
def uninstall_(python: PythonOption = None) -> None:
    """Take the hook out again, without trace."""
    from agent.hook.errors import HookError
    from agent.hook.install import uninstall

    try:
        found = uninstall(_python(python))
    except (HookError, OSError) as error:
        raise Misconfigured(str(error)) from error
    typer.echo(
        f"hook uninstalled from {found.where}" if found else f"{_python(python)} has no hook: nothing was removed"
    )


@group.command("status")
def status_(python: PythonOption = None, as_json: JsonOption = False) -> None:
    """Which environments have the hook, which version, and when did each last write?

    Without --python: this one and every other where `hook install` put it.
    """
    from agent.hook.errors import HookError
    from agent.hook.install import environments, status

    try:
        asked = status(_python(python))
        found = environments() if python is None else []
    except (HookError, OSError) as error:
        raise Misconfigured(str(error)) from error
    others = [_said(one.python, one) for one in found if asked is None or one.where != asked.where]
    said = _said(_python(python), asked)
    if as_json:
        typer.echo(json.dumps(said if python else said | {"others": others}))
        return
    for one in [said, *others]:
        for key, value in one.items():
            typer.echo(f"{key}: {value}")


def _said(python: Path, found: Installed | None) -> dict[str, object]:
    written = found.last_write_ns if found else None
    return {
        "python": str(python),
        "installed": found is not None,
        "version": found.version if found else None,
        "where": str(found.where) if found else None,
        "spool": str(found.spool) if found else None,
        "last_write": iso(written) if written is not None else None,
    }
