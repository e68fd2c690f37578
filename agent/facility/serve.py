"""Runs the facility in this process. Imports the web stack only when it is started."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr

from agent.errors import Busy, Misconfigured, Unreachable
from agent.facility import tokens
from agent.facility.audit import note_once
from agent.facility.settings import Settings, default_audit, default_tokens

log = logging.getLogger(__name__)

_QUIET = ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio")


def create_token(data_dir: Path, name: str) -> str:
    """Make a token for `site/instrument` (or a reader's name); it is returned once and stored hashed. Misconfigured."""
    token = tokens.create(default_tokens(data_dir), name)
    note_once(default_audit(data_dir), "token create", name=name)
    return token


def revoke_tokens(data_dir: Path, name: str) -> int:
    """Remove every token of a name, at once also for a facility that runs; how many there were."""
    count = tokens.revoke(default_tokens(data_dir), name)
    note_once(default_audit(data_dir), "token revoke", name=name, count=count)
    return count


def list_tokens(data_dir: Path) -> list[tuple[str, str]]:
    """Name and time of creation of every token."""
    return tokens.names(default_tokens(data_dir))


def serve(
    settings: Settings,
    ready: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, or until `stop` is set, then end within five seconds.

    `ready` gets the port once connections are answered. Raises Busy when the port is taken, Misconfigured when
    the host is not an address of this machine, Retryable when the catalogue cannot be opened.
    """
    check_installed()
    from agent.facility.app import create_app
    from agent.facility.server import FacilityServer

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    with _listen(settings.host, settings.port) as listener, _broker(settings) as settings:
        told = ready or (lambda port: log.info("facility on http://%s:%d", settings.host, port))
        FacilityServer(create_app(settings), told, stop or threading.Event()).run_on(listener)


def check_installed() -> None:
    """Raises Misconfigured, before the application is imported, where the extra `facility` is not installed."""
    missing = [name for name in ("fastapi", "uvicorn", "jinja2", "sqlalchemy") if find_spec(name) is None]
    if missing:
        raise Misconfigured(f"the facility needs {', '.join(missing)}: pip install 'scope-agent[facility]'")


@contextmanager
def _broker(settings: Settings) -> Iterator[Settings]:
    """Our own broker where it is wanted and none is named; a facility without one still receives."""
    if settings.broker_host or not settings.own_broker:
        yield settings
        return
    from agent.facility.embedded import USER, EmbeddedBroker

    broker = EmbeddedBroker(settings.data_dir, settings.host, settings.mqtt_port)
    try:
        broker.start()
    except (Misconfigured, Unreachable) as error:
        log.warning("the page shows deliveries only: %s", error)
        yield settings
        return
    log.info("MQTT broker on %s:%d", broker.host, broker.port)
    said: dict[str, object] = {"broker_host": broker.reach, "broker_port": broker.port}
    if broker.password:
        log.info("agents log on to it as %s with the password in %s", USER, settings.data_dir / "broker-password")
        said |= {"broker_user": USER, "broker_password": SecretStr(broker.password)}
    try:
        yield settings.model_copy(update=said)
    finally:
        broker.stop()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; bound here, so that the port is known and a taken one is one line."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise Misconfigured(f"host {host!r} is not an address of this machine: {error}") from error
    try:
        if os.name != "nt":
            # On Windows this option would let two facilities share the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if not _is_local(host):
            raise Misconfigured(f"host {host!r} is not an address of this machine: {error}") from error
        raise Busy(f"port {port} of {host} is taken or not allowed: stop what uses it, or set another port") from error
    return listener


def _is_local(host: str) -> bool:
    """True where a free port of the host can be bound."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True
