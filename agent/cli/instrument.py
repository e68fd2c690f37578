"""scope-agent instrument init, check, import, pidinst"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agent.cli.app import JsonOption, app
from agent.errors import Misconfigured

if TYPE_CHECKING:
    from agent.contract.record import Tier
    from agent.snapshot.draft import Draft
    from agent.snapshot.metaapp import Imported

group = typer.Typer(help="The instrument profile: what no software knows of the hardware.", no_args_is_help=True)
app.add_typer(group, name="instrument")

_SHOWN = 15
OutOption = Annotated[Path | None, typer.Option("--out", help="File to write; without it the profile is printed.")]


@group.command()
def init(
    source: Annotated[
        Path | None,
        typer.Argument(help="A Micro-Manager .cfg (read as text), a vendor's image file, or device-state.json.gz."),
    ] = None,
    core: Annotated[
        bool,
        typer.Option("--core", help="Load the .cfg and ask the devices. Close other software that uses them first."),
    ] = False,
    python: Annotated[
        str | None, typer.Option(help="Python of the acquisition software, for --core; else the agent's own.")
    ] = None,
    running: Annotated[
        bool,
        typer.Option("--running", help="The devices of the software that runs now, as its hook last wrote them down."),
    ] = False,
    spool: Annotated[Path | None, typer.Option(help="Folder of the hook's journals, for --running.")] = None,
    out: OutOption = None,
) -> None:
    """Draft a profile: what was found, and what is still missing per NBO tier.

    --running asks nothing of the hardware: it reads what the hook wrote of the last run of the software that runs now.
    --core starts a core of its own. Without a source: a demo core of its own.
    """
    from agent.document.profiled import assess
    from agent.snapshot.profile_text import Marginalia, profile_text

    draft = (
        _of_running(spool)
        if running or spool
        else _draft(source, python or sys.executable, core=core or source is None)
    )
    said = assess(draft.profile)
    demo = source is None and not (running or spool)
    unasked = "Of Micro-Manager's demo microscope, not of yours: name a .cfg or an image file, or say --running"
    if demo:
        typer.echo(unasked, err=True)
    head = [
        *([unasked] if demo else []),
        "Instrument profile of scope-agent; keys without a value are still missing. Values are literals, or read",
        'from the device: {prop = "CameraID"}. Check this file with: scope-agent instrument check FILE',
        *(f"no part of the light path, as far as can be told: {device}" for device in draft.unused),
    ]
    text = profile_text(draft.profile, Marginalia(head, draft.remarks, said.wanted))
    _written(text, out)
    for line in [*draft.found, *(f"not used: {device}" for device in draft.unused)]:
        typer.echo(line, err=True)
    _tiers(said.tiers)


def _of_running(spool: Path | None) -> Draft:
    from agent.hook import default_spool
    from agent.snapshot.draft import of_summary
    from agent.snapshot.running import last_journalled

    told = last_journalled(spool or default_spool())
    typer.echo(told.said, err=True)
    return of_summary(told.summary)


def _draft(source: Path | None, python: str, *, core: bool) -> Draft:
    from agent.snapshot.draft import of_summary

    if source is not None and not source.exists():
        raise Misconfigured(f"{source} does not exist")
    if core:
        from agent.snapshot.core import ask_core

        return of_summary(ask_core(python, source))
    if source is None:
        raise Misconfigured("name a .cfg or an image file, or ask a core with --core")
    if source.suffix.lower() == ".cfg":
        from agent.snapshot.mmcfg import read_cfg

        return of_summary(read_cfg(source))
    if source.name.endswith(".json.gz"):
        return of_summary(_device_state(source))
    from agent.formats import identify
    from agent.snapshot.draft_file import of_file

    source = source.absolute()  # `.` has no name
    form = identify(source)
    said = form.metadata(form.dataset(source))
    if said.ome is None:
        raise Misconfigured(f"{source}: {'; '.join(said.errors) or 'the file says nothing of its instrument'}")
    return of_file(said, source.name)


def _device_state(source: Path) -> dict[str, object]:
    """The summary inside the device state of a delivered dataset."""
    import gzip

    try:
        found = json.loads(gzip.decompress(source.read_bytes())).get("start")
    except (OSError, ValueError, AttributeError, EOFError) as error:
        raise Misconfigured(f"{source} is no device state of a dataset: {error}") from error
    if not isinstance(found, dict):
        raise Misconfigured(f"{source} holds no device state: its acquisition was not hooked")
    return found


@group.command()
def check(profile: Path, as_json: JsonOption = False) -> None:
    """Is a profile valid, and what is missing per NBO tier? Exit 2 when it is not valid."""
    from agent.document.profiled import assess
    from agent.snapshot import load_profile

    found = load_profile(profile)
    tiers = assess(found).tiers
    if as_json:
        typer.echo(json.dumps({name: tier.model_dump() for name, tier in tiers.items()}))
        return
    typer.echo(f"{profile} is valid: {len(found.parts())} parts, {len(found.channel)} channels")
    _tiers(tiers, err=False)


def _tiers(tiers: dict[str, Tier], *, err: bool = True) -> None:
    """Each tier with what it misses beyond the tiers before it."""
    said: set[str] = set()
    for name, tier in tiers.items():
        typer.echo(f"{name}: {tier.filled} of {tier.required} fields", err=err)
        missing = [what for what in tier.missing if what not in said]
        said.update(missing)
        for what in missing[:_SHOWN]:
            typer.echo(f"  missing: {what}", err=err)
        if len(missing) > _SHOWN:
            typer.echo(f"  missing: and {len(missing) - _SHOWN} more; --json of 'instrument check' lists all", err=err)


@group.command("import")
def import_(source: Path, out: OutOption = None) -> None:
    """A profile from a Microscope.json of the Micro-Meta App. Nothing is dropped; what has no key is listed."""
    from agent.snapshot.metaapp import read_metaapp
    from agent.snapshot.profile_text import Marginalia, profile_text

    found = read_metaapp(source)
    head = [
        f"Imported from {source.name} of the Micro-Meta App. Rename the tables to Micro-Manager's device labels",
        "(and the labels of positions), so that scope-agent knows which part was in use.",
    ]
    _written(profile_text(found.profile, Marginalia(head)), out)
    _imported(found)


def _imported(found: Imported) -> None:
    tables = ", ".join(f"{count} {table}" for table, count in sorted(found.found.items()))
    typer.echo(f"{sum(found.found.values())} components: {tables}", err=True)
    for title, counted in (
        ("kept under 'also', for they have no key", found.kept),
        ("kept under 'app', for drawing only", found.drawing),
    ):
        names = ", ".join(f"{name} ({count})" for name, count in sorted(counted.items()))
        typer.echo(f"{title}: {names or 'none'}", err=True)


@group.command()
def pidinst(
    profile: Path,
    shown: Annotated[Literal["json", "xml"], typer.Option("--format", help="How to print it.")] = "json",
    out: OutOption = None,
) -> None:
    """The instrument as PIDINST 1.0, to register or update its persistent identifier."""
    from agent.snapshot import load_profile
    from agent.snapshot.pidinst import pidinst as export
    from agent.snapshot.pidinst import to_xml

    record = export(load_profile(profile))
    text = to_xml(record).decode() if shown == "xml" else json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    _written(text, out)


def _written(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise Misconfigured(f"{out} exists already: choose another file with --out") from None
    typer.echo(f"{out} written", err=True)
