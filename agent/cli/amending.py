"""scope-agent session amend, acquisitions amend: what is known better later"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import acquisitions, session
from agent.cli.acquisitions import _entry, _outbox
from agent.cli.app import ConfigOption, config_path
from agent.errors import Misconfigured

if TYPE_CHECKING:
    from agent.sources.context import ContextLog

Reason = Annotated[str, typer.Option(help="Why, in a few words.")]


@session.group.command("amend")
def amend_session(
    since: Annotated[str, typer.Option(help="Acquisitions that began from then on, such as 2026-03-02T09:00.")],
    until: Annotated[str | None, typer.Option(help="And before then; now, where it is left out.")] = None,
    user: Annotated[str | None, typer.Option(help="Who it was; empty where nobody knows after all.")] = None,
    project: Annotated[str | None, typer.Option(help="For which project.")] = None,
    sample: Annotated[str | None, typer.Option(help="On which sample.")] = None,
    reason: Reason = "",
    config: ConfigOption = None,
) -> None:
    """Correct who was at the instrument; records that were written already are amended by events."""
    wanted = {"user": user, "project": project, "sample": sample}
    said = {role: value.strip() or None for role, value in wanted.items() if value is not None}
    if not said:
        raise Misconfigured("say what was wrong: name at least one of --user, --project and --sample")
    begun, ended = _time_ns(since), _time_ns(until) if until else None
    if ended is not None and ended <= begun:
        raise Misconfigured("--until is not after --since")
    context, now = _context(config)
    context.correct(said, now, by=_me(), reason=reason or None, since_ns=begun, until_ns=ended)
    typer.echo("noted; the daemon amends what began in that time")


@acquisitions.group.command("amend")
def amend_acquisition(
    acquisition_id: str,
    values: Annotated[list[str], typer.Argument(help="KEY=VALUE: user, project, sample, temperature, humidity, co2.")],
    reason: Reason = "",
    config: ConfigOption = None,
) -> None:
    """Correct one record: it stays as it was written, and an event tells everybody what to read into it."""
    said = _said(values)
    with _outbox(config) as outbox:
        whole = _entry(outbox, acquisition_id).acquisition.id
    context, now = _context(config)
    try:
        context.correct(said, now, by=_me(), reason=reason or None, acquisition=whole)
    except ValueError as error:
        raise Misconfigured(str(error)) from error
    typer.echo(f"noted; the daemon amends {whole}")


def _said(values: list[str]) -> Mapping[str, str | float | None]:
    from agent.sources.context import ROLES, SENSORS

    keys = {**{role: role for role in ROLES}, **{name.lower(): name for name in SENSORS}, "co2": "CO2Percent"}
    said: dict[str, str | float | None] = {}
    for text in values:
        key, equals, value = text.partition("=")
        name = keys.get(key.strip().lower())
        if not equals or name is None:
            raise Misconfigured(f"{text!r}: write KEY=VALUE, with a key of {', '.join(keys)}")
        said[name] = _number(name, value) if name in SENSORS and value.strip() else value.strip() or None
    return said


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise Misconfigured(f"{name} is a number, not {value!r}") from None


def _time_ns(text: str) -> int:
    """UTC nanoseconds; a time without a zone is one of this machine's clock on the wall."""
    from datetime import datetime

    try:
        seconds = datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):  # the last two: years that the system does not count
        raise Misconfigured(f"{text!r} is no time: write for example 2026-03-02T09:00") from None
    return max(0, int(seconds * 1_000_000) * 1000)


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _context(config: ConfigOption) -> tuple[ContextLog, int]:
    from agent.clock import SystemClock
    from agent.config import load
    from agent.sources.context import ContextLog

    return ContextLog(load(config_path(config)).state / "context"), SystemClock().now_ns()
