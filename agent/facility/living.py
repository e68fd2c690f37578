"""What runs beside the requests, for as long as the facility lives."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from agent.errors import Rejected, ScopeAgentError
from agent.facility.amendments import keep
from agent.facility.broker import Subscriber
from agent.facility.catalogue import Measurement
from agent.facility.indexing import index, reconcile
from agent.facility.naming import check_dataset
from agent.facility.parts import Parts
from agent.facility.refusal import Unknown

log = logging.getLogger(__name__)

_HOUSEKEEPING_S = 3600.0
_REMEMBER_S = 60.0
_AGAIN_S = 5.0
_LOOK_S = 2.0
_HEARD = "facility/heard.json"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts everything, and ends it in the other order."""
    parts: Parts = app.state.parts
    parts.hub.bind()
    parts.mirror.on_change = parts.hub.wake
    parts.previews.on_made = lambda dataset: parts.hub.wake()
    subscriber = await _subscriber(parts) if parts.settings.broker_host else None
    tasks = [asyncio.create_task(_housekeeping(parts)), asyncio.create_task(_missing(parts))]
    if subscriber:
        tasks += _listening(parts, subscriber)
        subscriber.start()
    parts.checker.start()
    parts.previews.start()
    try:
        yield
    finally:
        parts.hub.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await run_in_threadpool(_end, parts, subscriber)


def _end(parts: Parts, subscriber: Subscriber | None) -> None:
    parts.checker.stop()
    parts.previews.stop()
    if subscriber:
        subscriber.stop()
        with suppress(ScopeAgentError, OSError):
            _remember(parts, subscriber)
    parts.catalogue.close()
    parts.audit.close()


async def _subscriber(parts: Parts) -> Subscriber:
    text = await run_in_threadpool(parts.storage.note, _HEARD)
    try:
        heard = json.loads(text) if text else {}
    except ValueError:
        heard = {}
    subscriber = Subscriber(parts.settings, parts.mirror, heard if isinstance(heard, dict) else {})
    parts.quarantine.announce = subscriber.publish
    parts.fleet.missing = subscriber.missing
    return subscriber


def _listening(parts: Parts, subscriber: Subscriber) -> list[asyncio.Task[None]]:
    """What the broker's thread finds is written down by tasks: a slow disk must not keep it from listening."""
    loop = asyncio.get_running_loop()
    connected = asyncio.Event()
    measured: asyncio.Queue[list[Measurement]] = asyncio.Queue(10_000)

    def keep(found: list[Measurement]) -> None:
        if not measured.full():
            measured.put_nowait(found)

    def in_loop(call: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # The loop ended meanwhile.
            loop.call_soon_threadsafe(call)

    parts.mirror.on_measured = lambda found: in_loop(lambda: keep(found))
    amended: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    subscriber.on_amended = lambda topic, payload: in_loop(lambda: amended.put_nowait((topic, payload)))
    subscriber.on_connected = lambda: in_loop(connected.set)
    return [
        asyncio.create_task(_announcing(parts, connected)),
        asyncio.create_task(_measuring(parts, measured)),
        asyncio.create_task(_amending(parts, amended)),
        asyncio.create_task(_remembering(parts, subscriber)),
    ]


async def _announcing(parts: Parts, connected: asyncio.Event) -> None:
    while True:
        await connected.wait()
        connected.clear()
        await _tried(parts.quarantine.tell_all)


async def _measuring(parts: Parts, measured: asyncio.Queue[list[Measurement]]) -> None:
    while True:
        found = await measured.get()
        await _tried(partial(parts.catalogue.measure, found))


async def _amending(parts: Parts, amended: asyncio.Queue[tuple[str, bytes]]) -> None:
    """Each until it is kept: the agent counts it as told."""
    while True:
        topic, payload = await amended.get()
        if not await _tried(partial(_amend, parts, topic, payload)):
            amended.put_nowait((topic, payload))
            await asyncio.sleep(_AGAIN_S)


def _amend(parts: Parts, topic: str, payload: bytes) -> None:
    dataset = keep(parts.storage, topic, payload)
    if dataset is not None and parts.storage.is_committed(check_dataset(dataset)):
        index(parts.catalogue, parts.storage, dataset)
        parts.hub.wake()


async def _remembering(parts: Parts, subscriber: Subscriber) -> None:
    while True:
        await asyncio.sleep(_REMEMBER_S)
        await _tried(lambda: _remember(parts, subscriber))


def _remember(parts: Parts, subscriber: Subscriber) -> None:
    parts.storage.keep_note(_HEARD, json.dumps(subscriber.heard()).encode())


async def _tried(call: Callable[[], object]) -> bool:
    """True when it is done, or never can be."""
    try:
        await run_in_threadpool(call)
    except Rejected as error:
        log.warning("cannot be done: %s", error)
    except (ScopeAgentError, OSError) as error:
        log.warning("not done, will be tried again: %s", error)
        return False
    return True


async def _housekeeping(parts: Parts) -> None:
    """At start and every hour: catch up with the datasets, remove what was abandoned."""
    while True:
        try:
            changed = await run_in_threadpool(reconcile, parts.catalogue, parts.storage)
            await run_in_threadpool(parts.quarantine.restore)
            expired = await run_in_threadpool(parts.storage.expire)
            await run_in_threadpool(_release_gone, parts)
        except (ScopeAgentError, OSError):
            log.exception("housekeeping did not finish: trying again in an hour")
        else:
            if changed:
                log.info("catalogue: %d datasets caught up with", changed)
                parts.hub.wake()
                parts.checker.wake()
            if expired:
                log.info("removed %d abandoned uploads", expired)
        await asyncio.sleep(_HOUSEKEEPING_S)


async def _missing(parts: Parts) -> None:
    """A catalogue that is removed while the facility runs is made again, too."""
    while True:
        await asyncio.sleep(_LOOK_S)
        await _tried(partial(_begin_anew, parts))


def _begin_anew(parts: Parts) -> None:
    if parts.catalogue.begun_anew():
        count = reconcile(parts.catalogue, parts.storage)
        parts.quarantine.restore()
        log.warning("the catalogue was removed: made again from %d datasets", count)
        parts.hub.wake()


def _release_gone(parts: Parts) -> None:
    """A refused commit whose files were abandoned, and a damaged dataset that somebody removed, are listed no more."""
    for one in parts.catalogue.quarantined():
        if not parts.storage.is_committed(one.dataset):
            try:
                parts.storage.verify(one.dataset)
            except Unknown:
                parts.quarantine.end(one.dataset)
