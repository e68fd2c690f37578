"""Tells the open pages that something changed, and lets go of them when the facility stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus

from agent.facility.refusal import Refusal

Fragments = Callable[[int], Awaitable[Mapping[str, str]]]
"""HTML by element id, as new as a version."""

_TOGETHER_S = 0.15
_KEEPALIVE_S = 15.0


class Hub:
    """A version that rises with every change; `wake` may come from any thread."""

    def __init__(self, max_viewers: int) -> None:
        self._max = max_viewers
        self._viewers = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()
        self.version = 1
        self.closed = False

    def bind(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        loop = self._loop
        if loop is not None and not self.closed:
            with suppress(RuntimeError):  # The loop ended between the check and the call.
                loop.call_soon_threadsafe(self._ring)

    def close(self) -> None:
        """End every stream; called in the loop."""
        self.closed = True
        self._ring()

    def _ring(self) -> None:
        self.version += 1
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    def stream(self, fragments: Fragments) -> AsyncIterator[str]:
        """Server-Sent Events `{"id", "html"}` for each fragment that changed; everything first. Raises Refusal."""
        if self._viewers >= self._max:
            raise Refusal(f"{self._max} live pages are open already: close one", HTTPStatus.SERVICE_UNAVAILABLE)
        return self._stream(fragments)

    async def _stream(self, fragments: Fragments) -> AsyncIterator[str]:
        self._viewers += 1
        try:
            shown: dict[str, str] = {}
            seen = 0
            yield "retry: 2000\n\n"
            while not self.closed:
                rung = self._rung
                if seen != self.version:
                    seen = self.version
                    now = await fragments(seen)
                    for name, html in now.items():
                        if shown.get(name) != html:
                            yield f"data: {json.dumps({'id': name, 'html': html})}\n\n"
                    shown = dict(now)
                try:
                    await asyncio.wait_for(rung.wait(), _KEEPALIVE_S)
                    # Many messages in a burst become one picture.
                    await asyncio.sleep(_TOGETHER_S)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self._viewers -= 1
