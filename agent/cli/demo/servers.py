"""The demo's servers: an MQTT broker and a facility, unless the user names others."""

from __future__ import annotations

import sys
from collections.abc import Callable

from agent.cli.demo.children import Children, free_port
from agent.cli.demo.folder import INSTRUMENT, SITE, Folder
from agent.errors import Unreachable
from agent.facility.embedded import nats_config, nats_server

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
