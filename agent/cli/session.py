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
    calibration: Annotated[str, typer.Option(help="Runs are calibrations of this kind (detector, psf, ...).")] = "",
    tell: Annotated[list[str] | None, typer.Option(help="What its analysis needs: bead_um=0.1, series=return.")] = None,
    config: ConfigOption = None,
) -> None:
    """From now on, acquisitions belong to this user, project and sample, or are calibrations, until `session stop`."""
    marks = _marks(calibration, tell or [])
    if not (user.strip() or project.strip() or sample.strip() or marks):
        raise Misconfigured("say who: name at least one of --user, --project and --sample, or --calibration KIND")
    said = {"user": user, "project": project, "sample": sample}
    _note(said, config, marks)
    named = ", ".join(f"{name} {value}" for name, value in (said | marks).items() if value)
    typer.echo(f"from now on: {named}")


@group.command()
def stop(config: ConfigOption = None) -> None:
    """The session is over."""
    _note({}, config)
    typer.echo("the session is over")


def _marks(calibration: str, tell: list[str]) -> dict[str, str]:
    from agent.calibration import KINDS, CalibrationSettings

    if not calibration:
        return {}
    kind = CalibrationSettings().kind_named(calibration)
    if kind is None:
        raise Misconfigured(f"--calibration {calibration!r} is none of {', '.join(KINDS)}")
    marks: dict[str, str] = {"calibration": kind}
    for text in tell:
        name, sign, value = text.partition("=")
        if not sign:
            raise Misconfigured(f"--tell {text!r} says no value: write NAME=VALUE")
        marks[f"calibration_{name.strip().lower()}"] = value.strip()
    return marks


def _note(said: dict[str, str], config: ConfigOption, marks: dict[str, str] | None = None) -> None:
    from agent.clock import SystemClock
    from agent.config import load
    from agent.sources.context import ContextLog

    context = ContextLog(load(config_path(config)).state / "context")
    context.note_session(SystemClock().now_ns(), said, _SAID_BY_USER, marks=marks)
