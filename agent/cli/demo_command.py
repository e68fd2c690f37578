"""scope-agent demo"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.app import app
from agent.errors import Misconfigured


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Acquire once, print the result, exit.")] = False,
    root: Annotated[Path, typer.Option("--dir", help="Folder of the demo.")] = Path("scope-agent-demo"),
    broker: Annotated[str | None, typer.Option(help="HOST:PORT of a broker to use instead of our own.")] = None,
    facility: Annotated[str | None, typer.Option(help="Address of a facility to use instead of our own.")] = None,
    token: Annotated[
        str | None, typer.Option(help="Token there for demo-facility/demo-scope.", envvar="SCOPE_AGENT_TOKEN")
    ] = None,
) -> None:
    """Everything on this machine: demo microscope, agent, facility, broker, dashboard."""
    from rich.console import Console

    from agent.cli.demo.play import Wish, play
    from agent.daemon import stop_on_signals

    _check_installed()
    console = Console()
    at = parse_address(broker) if broker else None
    try:
        stop_on_signals(_interrupt)
        play(Wish(root, once, at, facility, token), console)
    except KeyboardInterrupt:
        console.print("stopped")


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [
        name for name in ("mm_test_adapters", "ome_writers", "tensorstore", "fastapi") if find_spec(name) is None
    ]
    if missing:
        raise Misconfigured(f"the demo needs {', '.join(missing)}: pip install 'scope-agent[demo]'")


def _interrupt() -> None:
    raise KeyboardInterrupt


def parse_address(text: str) -> tuple[str, int]:
    """`host:port`, or Misconfigured."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Misconfigured(f"{text!r} is no HOST:PORT: write for example 127.0.0.1:1883")
    return host, int(port)
