"""From a request's body to a reception: hashed and written in threads while the next bytes arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from agent.facility.refusal import Conflict, Refusal
from agent.facility.storage import Reception

_BLOCK = 1 << 20
_DRAIN = 32 << 20
_DRAIN_S = 1.0


class Lease:
    """The right to work on an upload; lost after `stall_s` without a byte, or to a newer request."""

    def __init__(self, stall_s: float) -> None:
        self.timeout = asyncio.timeout(None)
        self._stall_s = stall_s
        self._taken = False
        self._settled = False

    def alive(self) -> None:
        """Something arrived."""
        if not self._taken:
            self.timeout.reschedule(asyncio.get_running_loop().time() + self._stall_s)

    def settle(self) -> None:
        """All bytes are here: from now on, whoever asks waits for the end."""
        if not self._taken:
            self._settled = True
            self.timeout.reschedule(None)

    def give_up(self) -> None:
        """A newer request came: its sender has lost this one's connection."""
        if not self._settled and not self.timeout.expired():
            self._taken = True
            self.timeout.reschedule(asyncio.get_running_loop().time())

    def loss(self) -> Refusal:
        if self._taken:
            return Conflict("another request took this upload over: ask for the offset")
        return Refusal(
            f"nothing arrived for {self._stall_s:g} s: ask for the offset and send again", HTTPStatus.REQUEST_TIMEOUT
        )


class _Turn:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.lease: Lease | None = None
        self.users = 0


class Turns:
    """One request an upload at a time."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    @asynccontextmanager
    async def take(self, upload_id: str, stall_s: float) -> AsyncIterator[Lease]:
        """The lease of an upload, taken from a request that still waits for bytes. Raises Refusal, Conflict."""
        turn = self._turns.setdefault(upload_id, _Turn())
        if turn.lease:
            turn.lease.give_up()
        turn.users += 1
        try:
            async with turn.lock:
                lease = turn.lease = Lease(stall_s)
                try:
                    async with lease.timeout:
                        lease.alive()
                        yield lease
                except TimeoutError:
                    raise lease.loss() from None
                finally:
                    turn.lease = None
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[upload_id]


async def pump(request: Request, reception: Reception, limit: int, lease: Lease) -> None:
    """Write a body of at most `limit` bytes; one block is written while the next arrives. Raises Refusal, NoSpace."""
    pieces: list[bytes] = []
    held = total = 0
    writing: asyncio.Task[None] | None = None
    try:
        async for piece in request.stream():
            lease.alive()
            total += len(piece)
            if total > limit:
                raise Refusal("the body is longer than the rest of the file", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            pieces.append(piece)
            held += len(piece)
            if held >= _BLOCK:
                if writing:
                    await writing
                writing = asyncio.create_task(run_in_threadpool(reception.write, b"".join(pieces)))
                pieces, held = [], 0
        if writing:
            await writing
        if held:
            await run_in_threadpool(reception.write, b"".join(pieces))
    finally:
        if writing:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


async def drain(request: Request) -> None:
    """Take what is still coming, up to a limit: a sender whose body is cut off never reads the answer."""
    total = 0
    clock = asyncio.get_running_loop().time
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(_DRAIN_S) as patience:
            async for piece in request.stream():
                patience.reschedule(clock() + _DRAIN_S)
                total += len(piece)
                if total > _DRAIN:
                    return
