"""scope-agent session start, stop"""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.app import ConfigOption, app, config_path
from agent.errors import Misconfigured

group = typer.Typer(help="Who is at the instrument.", no_args_is_help=True)
app.add_typer(group, name="session")

_SAID_BY_USER = 0.9


@group.command()
def start(
    user: Annotated[str, typer.Option(help="Who.")] = "",
    project: Annotated[str, typer.Option(help="For which project.")] = "",
    sample: Annotated[str, typer.Option(help="On which sample.")] = "",
    config: ConfigOption = None,
) -> None:
    """From now on, acquisitions belong to this user, project and sample."""
    if not (user.strip() or project.strip() or sample.strip()):
        raise Misconfigured("say who: name at least one of --user, --project and --sample")
    _note({"user": user, "project": project, "sample": sample}, config)


@group.command()
def stop(config: ConfigOption = None) -> None:
    """The session is over."""
    _note({}, config)


def _note(said: dict[str, str], config: ConfigOption) -> None:
    from agent.clock import SystemClock
    from agent.config import load
    from agent.sources.context import ContextLog

    context = ContextLog(load(config_path(config)).state / "context")
    context.note_session(SystemClock().now_ns(), said, _SAID_BY_USER)
