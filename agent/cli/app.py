"""The command line: one function a command, errors in one line, exit codes from the error tree.

Exit codes: 0 done; 1 failed; 2 a setting or argument is wrong; 65 rejected; 70 a bug of ours; 73 somebody else owns
it; 75 try again later; 130 interrupted. `inspect` has its own: 3 not yet whole, 4 unknown format, 5 damaged.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from agent import __version__
from agent.errors import Misconfigured, ScopeAgentError

log = logging.getLogger(__name__)

BUG = 70
"""Exit code of a failure that nobody foresaw (EX_SOFTWARE of sysexits.h)."""

app = typer.Typer(
    name="scope-agent",
    help="Records every acquisition at the microscope and delivers it, annotated and verified.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigOption = Annotated[
    Path | None, typer.Option("-c", "--config", help="Config file (TOML).", envvar="SCOPE_AGENT_CONFIG")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    if debug:
        os.environ["SCOPE_AGENT_DEBUG"] = "1"


def config_path(path: Path | None) -> Path:
    """The config file of `-c` or the environment, or Misconfigured."""
    if path is None:
        raise Misconfigured("which config? Name one with -c config.toml or in SCOPE_AGENT_CONFIG")
    return path


def load_commands() -> None:
    """Commands register themselves with `app`; each imports what is heavy only when it runs."""
    from agent.cli import (  # noqa: F401
        acquisitions,
        amending,
        calibrate,
        calibrations,
        daemon,
        demo_command,
        documents,
        events,
        facility,
        hook,
        instrument,
        releasing,
        service,
        session,
    )


def main() -> NoReturn:
    """Run a command; a failure becomes one line on standard error and an exit code."""
    load_commands()
    for stream in (sys.stdout, sys.stderr):
        # A Windows console that cannot show a letter must not end the program.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(standalone_mode=True)
    except ScopeAgentError as error:
        _fail(error, error.exit_code)
    except ModuleNotFoundError as error:
        told = f"{error.name} is not installed, and this command needs it: pip install 'scope-agent[all]'"
        _fail(Misconfigured(told), Misconfigured.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        # A name that was typed wrong: it will be as wrong later.
        _fail(error, Misconfigured.exit_code)
    except OSError as error:
        _fail(error, 75)
    except Exception as error:  # the last frame of the process: whatever it is, it is told in one line
        if logging.getLogger().hasHandlers():
            log.exception("a bug ended scope-agent", extra={"action": "bug"})
        _fail(_bug(error), BUG)
    sys.exit(0)


def _bug(error: Exception) -> Exception:
    """What nobody foresaw, with the place it comes from, for who is to mend it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    words = " ".join(sys.argv[1:])
    bug = ScopeAgentError(
        f"{told}{place}: this is a bug in scope-agent, please report it; 'scope-agent --debug {words}' shows more"
    )
    bug.__cause__ = error
    return bug


def _fail(error: Exception, code: int) -> NoReturn:
    if os.environ.get("SCOPE_AGENT_DEBUG"):
        raise error
    said = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        said = f"{error.filename}: {error.strerror}"
    text = " ".join(said.split())
    print(f"scope-agent: {text}", file=sys.stderr)
    sys.exit(code)
