"""scope-agent acquisitions list, show, retry"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.app import ConfigOption, JsonOption, app, config_path
from agent.errors import Misconfigured

if TYPE_CHECKING:
    from agent.config import Config

group = typer.Typer(help="What became of each acquisition.", no_args_is_help=True)
app.add_typer(group, name="acquisitions")


@contextmanager
def _outbox(config: ConfigOption) -> Iterator[Any]:
    from agent.config import load
    from agent.outbox import Outbox

    path = load(config_path(config)).state / "outbox.sqlite"
    if not path.exists():
        raise Misconfigured(f"{path} does not exist: no daemon ran with this config yet")
    outbox = Outbox.open(path)
    try:
        yield outbox
    finally:
        outbox.close()


def _entry(outbox: Any, acquisition_id: str) -> Any:
    """The acquisition whose id is, or begins or ends with, the given text."""
    found = outbox.get(acquisition_id)
    part = acquisition_id.replace("-", "")
    matches = (
        [found]
        if found
        else [entry for entry in outbox.newest(10_000) if _has(entry.acquisition.id.replace("-", ""), part)]
    )
    if not matches:
        raise Misconfigured(f"there is no acquisition {acquisition_id}: 'scope-agent acquisitions list' has their ids")
    if len(matches) > 1:
        raise Misconfigured(f"{len(matches)} acquisitions have an id with {acquisition_id}: write more of it")
    return matches[0]


def _has(whole: str, part: str) -> bool:
    return whole.startswith(part) or whole.endswith(part)


def methods_of(acquisition_id: str, config: ConfigOption) -> str:
    """The methods paragraph of an acquisition: from this machine, or from the facility once it is verified there."""
    from agent.config import load
    from agent.contract.layout import METHODS

    if config is None:
        raise Misconfigured(f"{acquisition_id} is no file or folder; for an acquisition's id name the config with -c")
    settings = load(config)
    with _outbox(config) as outbox:
        entry = _entry(outbox, acquisition_id)
    text: Path = settings.state / "work" / entry.acquisition.id / METHODS
    if text.is_file():
        return text.read_text(encoding="utf-8")
    state = entry.acquisition.state
    if state in ("verified", "released"):
        return _fetched(settings, entry.dataset, METHODS)
    raise Misconfigured(f"{entry.acquisition.id} is {state}: its methods text is not written yet, try again later")


def _fetched(settings: Config, dataset: str, name: str) -> str:
    """A text of a dataset at the target. Raises Unreachable, or Rejected when it is not there, saying where it is."""
    from contextlib import closing

    from agent.delivery.targets import open_target
    from agent.errors import Rejected, Retryable, Unreachable

    try:
        with closing(open_target(settings.delivery, "cli", used=True)) as target:
            body = target.record(dataset, name)
    except Retryable as error:
        raise Unreachable(f"{dataset}/{name} is at the facility, which does not answer now: {error}") from error
    if body is None:
        raise Rejected(f"{dataset}/{name} is not at the facility: it was delivered, then moved or removed there")
    return body.decode("utf-8", "replace")


def _as_dict(entry: Any) -> dict[str, Any]:
    import msgspec

    said: dict[str, Any] = msgspec.to_builtins(entry.acquisition)
    return said | {"dataset": entry.dataset, "attempts": entry.attempts, "error": entry.error}


@group.command("list")
def list_(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.")] = 50,
) -> None:
    """The newest acquisitions and their states."""
    from agent.clock import iso
    from agent.sources.spelling import shown

    with _outbox(config) as outbox:
        entries = outbox.newest(limit)
    if as_json:
        typer.echo(json.dumps([_as_dict(entry) for entry in entries]))
        return
    for entry in entries:
        run = entry.acquisition
        began = iso(run.started_ns)[:19]
        typer.echo(f"{run.id}  {began}  {run.state:10}  {run.frames:>6} frames  {run.name}  {shown(entry.error or '')}")


@group.command()
def show(acquisition_id: str, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """One acquisition with its files, events, and what became of its sources after their delivery."""
    from agent.clock import iso

    with _outbox(config) as outbox:
        entry = _entry(outbox, acquisition_id)
        files = outbox.files(entry.acquisition.id)
        events = outbox.events_of(entry.acquisition.id)
        changes = outbox.source_changes(entry.acquisition.id)
    said = _as_dict(entry) | {
        "delivery": [{"target": file.target, "state": file.state, "sha256": file.sha256} for file in files],
        "source_changes": [
            {"what": c.what, "at": iso(c.at_ns), "source": c.source, "detail": c.detail} for c in changes
        ],
        "events": [{"sequence": e.sequence, "type": e.type, "published": e.published_ns is not None} for e in events],
    }
    typer.echo(json.dumps(said, indent=None if as_json else 2))


@group.command()
def retry(acquisition_id: str, config: ConfigOption = None) -> None:
    """Put a rejected acquisition back on its way, from its files on."""
    from dataclasses import replace

    from agent.acquisition import State, move

    with _outbox(config) as outbox:
        entry = _entry(outbox, acquisition_id)
        if entry.acquisition.state is not State.REJECTED:
            raise Misconfigured(
                f"{acquisition_id} is {entry.acquisition.state}, not rejected: there is nothing to retry"
            )
        outbox.save(replace(move(entry.acquisition, State.SETTLING), missing=()), files=[])
    typer.echo(f"{entry.acquisition.id} settles again")
