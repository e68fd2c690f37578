"""uvicorn, told when it is ready, and made to let go of open pages before it waits for requests to end."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

_GRACE_S = 3
_TICK_S = 0.2
_KEEP_ALIVE_S = 75


class Connection(H11Protocol):
    """A connection that is closed when the headers of a request do not come: uvicorn would hold it for ever."""

    headers_s = _KEEP_ALIVE_S + 5.0
    """From the beginning, or from the last answer, to the end of the headers."""
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late:
            self._late.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late:
            self._late.cancel()
        self._late = self.loop.call_later(self.headers_s, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class FacilityServer(uvicorn.Server):
    """A server that ends on a signal, or when `stop` is set."""

    def __init__(self, app: FastAPI, ready: Callable[[int], None], stop: threading.Event) -> None:
        config = uvicorn.Config(
            app,
            # The other parser, httptools, takes headers of any length; this one refuses them.
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            # Whose word counts about where a request comes from is a setting of ours.
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        super().__init__(config)
        self._hub = app.state.parts.hub
        self._ready = ready
        self._stop = stop
        self._ended = threading.Event()

    def run_on(self, listener: socket.socket) -> None:
        """Serve connections of a bound socket until told to end."""
        watching = threading.Thread(target=self._watch, name="facility-stop", daemon=True)
        watching.start()
        try:
            self.run(sockets=[listener])
        finally:
            self._ended.set()
            watching.join()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would raise the signal again at the end, and the caller could not clean up.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            self._ready(int(sockets[0].getsockname()[1]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)

    def _watch(self) -> None:
        while not self._ended.is_set():
            if self._stop.wait(_TICK_S):
                self.should_exit = True
                return
