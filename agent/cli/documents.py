"""scope-agent inspect, annotate, methods, verify, schema"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from agent.cli.app import ConfigOption, JsonOption, app
from agent.errors import Misconfigured

_REST_S = 600
"""A dataset without a sign of its end counts as whole when it has not changed for so long."""


@app.command()
def inspect(
    path: Path,
    shown: Annotated[Literal["table", "json", "ome-xml"], typer.Option("--format", help="How to print it.")] = "table",
    config: ConfigOption = None,
) -> None:
    """What the agent would say about a file or dataset. Never writes. Exit 0 whole, 3 not yet, 4 unknown, 5 damaged.

    The config says whether Bio-Formats is asked about formats that the agent does not know.
    """
    from agent.formats.inspection import inspect as look

    if not path.exists():
        raise Misconfigured(f"{path} does not exist")
    if config is not None:
        from agent.config import load
        from agent.formats import configure

        configure(load(config).formats)
    found = look(path, _REST_S)
    match shown:
        case "json":
            typer.echo(found.to_json())
        case "ome-xml":
            typer.echo(found.to_ome_xml())
        case "table":
            _table(found.as_dict())
    raise typer.Exit(found.exit_code)


def _table(said: dict[str, object]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for key, value in said.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        table.add_row(key, text if len(text) < 2000 else f"{text[:2000]} ...")
    Console().print(table, markup=False)


@app.command()
def verify(dataset: Path, as_json: JsonOption = False) -> None:
    """Check a delivered dataset against its manifest. Exit 65 when a file is missing or differs."""
    from agent.cli.verifying import verify_folder

    said = verify_folder(dataset)
    if as_json:
        typer.echo(json.dumps(said))
    else:
        for kind in ("missing", "different", "unlisted"):
            for name in said[kind]:
                typer.echo(f"{kind}: {name}")
        typer.echo(f"{said['files']} files, {'verified' if said['verified'] else 'NOT verified'}")
    if not said["verified"]:
        raise typer.Exit(65)


@app.command()
def annotate(
    path: Path,
    out: Annotated[Path, typer.Option("--out", help="Folder to write the dataset into.")],
    profile: Annotated[Path | None, typer.Option("--profile", help="Instrument profile (TOML).")] = None,
    config: ConfigOption = None,
) -> None:
    """The annotated dataset of a file or folder, without a server. The source is only read.

    With a config (-c) it is of that instrument, and its calibrations are attached.
    """
    from agent.cli.annotating import annotate as write

    if not path.exists():
        raise Misconfigured(f"{path} does not exist")
    typer.echo(write(path, out, profile, config))


@app.command()
def methods(
    what: Annotated[str, typer.Argument(help="A delivered dataset, an image file or folder, or an acquisition's id.")],
    config: ConfigOption = None,
    profile: Annotated[Path | None, typer.Option("--profile", help="Instrument profile (TOML), for images.")] = None,
) -> None:
    """A methods paragraph for a paper, from the record alone. An id needs the config of its daemon (-c).

    What is verified and no longer on this machine is fetched from the facility.
    """
    from agent.contract.layout import METHODS

    path = Path(what)
    if (path / METHODS).is_file():
        typer.echo((path / METHODS).read_text(encoding="utf-8"), nl=False)
    elif path.exists():
        from agent.cli.annotating import described

        typer.echo(described(path, profile)[1].methods, nl=False)
    else:
        from agent.cli.acquisitions import methods_of

        typer.echo(methods_of(what, config), nl=False)


@app.command()
def schema(
    of: Annotated[Literal["config", "record", "event", "events"], typer.Argument()] = "config",
) -> None:
    """JSON Schemas of what others rely on; `events` is the AsyncAPI document."""
    from pydantic import BaseModel

    from agent.config import Config
    from agent.contract import asyncapi
    from agent.contract.record import Record

    if of in ("event", "events"):
        typer.echo(json.dumps(asyncapi.document() if of == "events" else asyncapi.schema_document(), indent=2))
        return
    models: dict[str, type[BaseModel]] = {"config": Config, "record": Record}
    typer.echo(json.dumps(models[of].model_json_schema(), indent=2))
