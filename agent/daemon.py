"""The daemon: builds the stages, owns every thread, beats, drains and stops within five seconds."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from agent import __version__
from agent.clock import Clock, SystemClock, iso
from agent.config import Config, fingerprint
from agent.contract.event import Progress, StatusData
from agent.contract.topics import Topics
from agent.delivery.facility import FacilityTarget
from agent.document import Context
from agent.hook import default_spool
from agent.lock import FolderLock
from agent.outbox import Outbox
from agent.pipeline import Pipeline
from agent.snapshot import load_profile
from agent.sources.folder import FolderSource
from agent.sources.journal import JournalSource
from agent.sources.port import Source
from agent.steps.candidates import Candidates
from agent.steps.dispatch import Dispatch
from agent.steps.journals import Journals
from agent.steps.listen import Listen
from agent.steps.settle import Settle
from agent.steps.station import Station
from agent.supervisor import Supervisor
from agent.telemetry import announce
from agent.telemetry.publisher import Publisher

log = logging.getLogger(__name__)

STOP_S = 4.5
_HEARTBEAT_S = 10.0


class Daemon:
    """`run` returns when `stop` was called; a Daemon is used once."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._supervisor = Supervisor(self._clock)
        self._status: StatusData | None = None
        self._began_ns = self._clock.now_ns()
        self._beat_at = 0.0
        self.topics = Topics(config.site, config.instrument, *([config.mqtt.prefix] if config.mqtt else []))

    def stop(self) -> None:
        """Ask the daemon to end; may be called from any thread or signal handler."""
        self._stop.set()

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Start in order of dependency, work until `stop`, drain and stop. Busy when another daemon is on."""
        state = self._config.state
        with FolderLock(state, "daemon"):
            profile = load_profile(self._config.profile)
            outbox = Outbox.open(state / "outbox.sqlite")
            target = FacilityTarget(self._config.delivery)
            publisher = Publisher(self._config.mqtt, self.topics, outbox, self._clock) if self._config.mqtt else None
            station = Station(
                topics=self.topics,
                context=Context(self._config.site, self._config.instrument, __version__, fingerprint(self._config)),
                profile=profile,
                outbox=outbox,
                workspace=state / "work",
                settle=self._config.settle,
                clock=self._clock,
                wake=publisher.wake if publisher else lambda: None,
            )
            with contextlib.closing(outbox), contextlib.closing(target):
                self._work(station, target, publisher, ready)

    def _work(
        self,
        station: Station,
        target: FacilityTarget,
        publisher: Publisher | None,
        ready: Callable[[], None] | None,
    ) -> None:
        sources = self._sources(station.outbox)
        pipeline = self._pipeline(station, target, sources)
        with _started(sources):
            try:
                if publisher:
                    self._supervisor.start("publish", publisher.run)
                self._supervisor.loop("deliver", pipeline.deliver, 0.2)
                self._supervisor.loop("work", pipeline.work, 0.1)
                self._supervisor.loop("hear", pipeline.hear, 0.1)
                log.info("scope-agent %s is ready", __version__, extra={"action": "ready"})
                if ready:
                    ready()
                while not self._stop.is_set():
                    self._beat(station, pipeline, publisher)
                    self._clock.wait(self._stop, 1.0)
            finally:
                self._drain(station)

    def _drain(self, station: Station) -> None:
        self._announce(station, StatusData(state="offline", agent=__version__))
        left = self._supervisor.stop(STOP_S)
        for name in left:
            log.warning("%s did not stop in time; nothing is lost", name, extra={"action": "stop.late"})
        log.info("scope-agent stopped", extra={"action": "stopped"})

    def _sources(self, outbox: Outbox) -> list[Source]:
        spool = self._config.hook.spool or default_spool()
        journal = JournalSource(spool, outbox.offsets(), self._clock)

        def known(path: str) -> tuple[int, int, str] | None:
            row = outbox.file_at(path)
            return (row.size, row.mtime_ns, row.file_id) if row else None

        return [journal, *(FolderSource(watch, known, self._clock) for watch in self._config.watch)]

    def _pipeline(self, station: Station, target: FacilityTarget, sources: list[Source]) -> Pipeline:
        journal = next(source for source in sources if isinstance(source, JournalSource))
        watches = {str(watch.path.absolute()): watch for watch in self._config.watch}
        candidates = Candidates(station, watches, {})
        listen = Listen(station, sources, candidates, journal.durable_offsets)
        candidates.running = listen.running
        dispatch = Dispatch(station, target, self._config.delivery, self._stop.is_set)
        journals = Journals(station, journal.spool, self._config.hook.keep_mib << 20)
        return Pipeline(station, listen, candidates, Settle(station), journals, dispatch)

    # Signs of life

    def _beat(self, station: Station, pipeline: Pipeline, publisher: Publisher | None) -> None:
        counts = station.outbox.counts()
        queue = sum(n for state, n in counts.items() if state.value not in ("verified", "released", "rejected"))
        problems = self._supervisor.problems()
        state = StatusData(
            state="degraded" if problems else "online",
            agent=__version__,
            reasons=problems,
            started_at=iso(self._began_ns),
        )
        if state != self._status:
            self._announce(station, state)
        current = pipeline.listen.current()
        if publisher and (current or queue):
            progress = Progress(
                acquisition=current.id if current else None,
                frames=current.frames if current else 0,
                planned=current.plan.frames if current else None,
                queue=queue,
                bytes_left=station.outbox.bytes_left(),
                disk_free=shutil.disk_usage(self._config.state).free,
            )
            publisher.progress(progress.model_dump_json().encode())
        if self._clock.monotonic() >= self._beat_at:
            self._beat_at = self._clock.monotonic() + _HEARTBEAT_S
            broker = publisher.problem if publisher else "no broker is configured"
            self._heartbeat({"broker": broker, "problems": problems, "queue": queue})

    def _announce(self, station: Station, status: StatusData) -> None:
        self._status = status
        station.outbox.announce([announce.status(self.topics, status, self._clock.now_ns())])
        station.wake()

    def _heartbeat(self, said: dict[str, object]) -> None:
        """What `scope-agent status` reads beside the outbox."""
        path = self._config.state / "heartbeat.json"
        beat = {"pid": os.getpid(), "version": __version__, "at": iso(self._clock.now_ns())}
        beat["started_at"] = iso(self._began_ns)
        making = path.with_suffix(".making")
        try:
            making.write_text(json.dumps(beat | said), encoding="utf-8")
            making.replace(path)
        except OSError as error:
            log.warning("heartbeat: %s", error, extra={"action": "heartbeat"})


@contextlib.contextmanager
def _started(sources: list[Source]) -> Iterator[None]:
    """Sources run inside the block; each is stopped whatever happens."""
    with contextlib.ExitStack() as stack:
        for source in sources:
            source.start()
            stack.callback(source.stop)
        yield


def stop_on_signals(stop: Callable[[], None]) -> None:
    """First Ctrl-C or terminate request: stop cleanly. The second: leave at once, nothing is lost."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        for name in names:
            signal.signal(getattr(signal, name), lambda *_: os._exit(130))
        stop()

    names = ["SIGINT", "SIGTERM"] + (["SIGBREAK"] if sys.platform == "win32" else [])
    for name in names:
        signal.signal(getattr(signal, name), handler)


def lower_priority() -> None:
    """The acquisition comes first: below-normal CPU and idle disk priority, where the system allows it."""
    import psutil

    me = psutil.Process()
    with contextlib.suppress(psutil.Error, OSError):
        if sys.platform == "win32":
            me.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
            me.ionice(psutil.IOPRIO_LOW)
        else:
            me.nice(10)
        if sys.platform == "linux":
            me.ionice(psutil.IOPRIO_CLASS_IDLE)
