"""The daemon: builds the stages, owns every thread, drains and stops within five seconds."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from agent import __version__
from agent.calibration import Registry
from agent.clock import Clock, SystemClock
from agent.config import Config, fingerprint
from agent.contract.topics import Topics
from agent.delivery.pace import Pace
from agent.delivery.port import Target
from agent.delivery.release import Releaser
from agent.delivery.targets import open_target
from agent.document import Context
from agent.formats import configure as configure_formats
from agent.heart import Heart
from agent.hook import default_spool
from agent.lock import FolderLock
from agent.operate.asked import Answering
from agent.operate.finding import Finding
from agent.operate.notify import Notifier
from agent.outbox import Outbox
from agent.pipeline import Pipeline
from agent.snapshot import load_profile
from agent.sources.context import ContextLog
from agent.sources.folder import FolderSource, root_of
from agent.sources.journal import JournalSource
from agent.sources.mmlog import LogSource, default_folder
from agent.sources.mounts import away_below
from agent.sources.port import Source
from agent.steps.amend import Amend
from agent.steps.candidates import Candidates
from agent.steps.dispatch import Dispatch, has_delivered
from agent.steps.hooked import Hooked
from agent.steps.journals import Journals
from agent.steps.listen import Listen
from agent.steps.overdue import Overdue
from agent.steps.release import ReleaseStep
from agent.steps.reserve import Reserve
from agent.steps.settle import Settle
from agent.steps.station import Station
from agent.supervisor import Supervisor
from agent.telemetry import announce
from agent.telemetry.publisher import Publisher

log = logging.getLogger(__name__)

STOP_S = 4.5
_CLOSE_S = 2.0


class Daemon:
    """`run` returns when `stop` was called; a Daemon is used once."""

    def __init__(self, config: Config, clock: Clock | None = None, path: Path | None = None) -> None:
        """`path` is the config file, for the checks that the daemon makes when it is asked to."""
        self._config = config
        self._path = path
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._supervisor = Supervisor(self._clock)
        self.hangs = False
        """After `run`: threads are left that no longer answer, such as in a call to a share that does not return."""
        self.topics = Topics(config.site, config.instrument, *([config.mqtt.prefix] if config.mqtt else []))

    def stop(self) -> None:
        """Ask the daemon to end; may be called from any thread or signal handler."""
        self._stop.set()

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Start in order of dependency, work until `stop`, drain and stop. Busy when another daemon is on."""
        state = self._config.state
        with FolderLock(state, "daemon"):
            configure_formats(self._config.formats)
            profile = load_profile(self._config.profile)
            outbox, damage = Outbox.recover(state / "outbox.sqlite", self._clock)
            station_id = outbox.fact("station", secrets.token_hex(8))
            used = has_delivered(outbox, self._config.delivery)
            target = open_target(self._config.delivery, station_id, used=used)
            publisher = _publisher(self._config, self.topics, outbox, self._clock)
            station = Station(
                topics=self.topics,
                context=_context(self._config),
                profile=profile,
                outbox=outbox,
                workspace=state / "work",
                settle=self._config.settle,
                clock=self._clock,
                wake=publisher.wake if publisher else lambda: None,
                calibration=self._config.calibration,
                registry=Registry.open(state),
                around=ContextLog(state / "context"),
            )
            with contextlib.closing(outbox), self._closed(target):
                if damage:
                    log.error("%s", damage, extra={"action": "outbox.damaged"})
                    outbox.announce([announce.alert(self.topics, "outbox-rebuilt", damage, self._clock.now_ns())])
                self._work(station, target, publisher, ready)

    def _work(
        self,
        station: Station,
        target: Target,
        publisher: Publisher | None,
        ready: Callable[[], None] | None,
    ) -> None:
        sources = self._sources(station.outbox)
        pipeline = self._pipeline(station, target, sources)
        problems = lambda: [*self._supervisor.problems(), *pipeline.dispatch.stuck()]  # noqa: E731
        heart = Heart(station, pipeline.listen, publisher, self._config.state, problems)
        notifier = Notifier()
        with _started(sources):
            try:
                if publisher:
                    self._supervisor.start("publish", publisher.run)
                self._supervisor.loop("deliver", pipeline.deliver, 0.2)
                self._supervisor.loop("work", pipeline.work, 0.1)
                self._supervisor.loop("hear", pipeline.hear, 0.1)
                self._watch_us(heart)
                log.info("scope-agent %s is ready", __version__, extra={"action": "ready"})
                heart.beat()
                notifier.ready()
                if ready:
                    ready()
                while not self._stop.is_set():
                    heart.beat()
                    notifier.alive()
                    self._clock.wait(self._stop, 1.0)
            finally:
                notifier.stopping()
                heart.stop()
                self._drain()

    @contextlib.contextmanager
    def _closed(self, target: Target) -> Iterator[None]:
        """Close it after the block: in a thread, for a share that hangs would keep us for ever."""
        try:
            yield
        finally:
            closing = threading.Thread(target=target.close, name="scope-agent-close", daemon=True)
            closing.start()
            closing.join(_CLOSE_S)
            self.hangs = self.hangs or closing.is_alive()

    def _watch_us(self, heart: Heart) -> None:
        """What lets others see how we are."""
        if self._config.metrics.port:
            from agent.operate.metrics import MetricsServer, collect

            server = MetricsServer(self._config.metrics.port, lambda: collect(heart))
            self._supervisor.start("metrics", server.run)
        path = self._path
        if path is not None:
            self._supervisor.start("answer", Answering(self._config.state, lambda: _checked(path)).run)

    def _drain(self) -> None:
        left = self._supervisor.stop(STOP_S)
        self.hangs = bool(left)
        for name in left:
            log.warning("%s did not stop in time; nothing is lost", name, extra={"action": "stop.late"})
        log.info("scope-agent stopped", extra={"action": "stopped"})

    def _sources(self, outbox: Outbox) -> list[Source]:
        spool = self._config.hook.spool or default_spool()
        journal = JournalSource(spool, outbox.offsets(), self._clock)

        def known(path: str) -> tuple[int, int, str] | None:
            row = outbox.file_at(path)
            return (row.size, row.mtime_ns, row.file_id) if row else None

        hooked = Hooked(outbox, journal.read_to_end)
        logs = self._config.hook.logs if self._config.hook.logs is not None else (default_folder(),)
        unhooked = LogSource(logs, hooked, outbox.offsets(), self._clock)
        return [journal, unhooked, *(FolderSource(watch, known, self._clock) for watch in self._config.watch)]

    def _pipeline(self, station: Station, target: Target, sources: list[Source]) -> Pipeline:
        journal = next(source for source in sources if isinstance(source, JournalSource))
        watches = {root_of(watch): watch for watch in self._config.watch}
        logs = next(source for source in sources if isinstance(source, LogSource))
        away = away_below(list(watches))
        candidates = Candidates(station, watches, {}, lambda: journal.read_to_end() and not logs.undecided(), away)
        listen = Listen(station, sources, candidates, lambda: journal.durable_offsets() | logs.durable_offsets())
        candidates.running = listen.running
        for source in sources:
            if isinstance(source, FolderSource):
                source.room = lambda: candidates.has_room
        pace = Pace(self._config.delivery.limits, self._clock, lambda: bool(listen.running))
        policy = self._config.delivery.release
        release = ReleaseStep(station, Releaser(station.outbox, target, policy.grace_folder), policy)
        reserve = Reserve(station, self._config.state, self._config.delivery.limits.reserve_mib)
        halted = lambda: self._stop.is_set() or reserve.short()  # noqa: E731
        dispatch = Dispatch(station, target, self._config.delivery, halted, pace, release)
        journals = Journals(station, journal.spool, self._config.hook.keep_mib << 20)
        settle, overdue, amend = Settle(station, away=away), Overdue(station), Amend(station)
        return Pipeline(station, listen, candidates, settle, journals, dispatch, overdue, amend, reserve)


def _checked(path: Path) -> list[Finding]:
    from agent.operate.checks import check_all

    return check_all(path)


def _publisher(config: Config, topics: Topics, outbox: Outbox, clock: Clock) -> Publisher | None:
    context = ContextLog(config.state / "context")
    return Publisher(config.mqtt, topics, outbox, clock, context) if config.mqtt else None


def _context(config: Config) -> Context:
    return Context(config.site, config.instrument, __version__, fingerprint(config), config.document)


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
