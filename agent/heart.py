"""Signs of life: status when it changes, progress once a second while there is something to say, a heartbeat file."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent import __version__
from agent.clock import iso
from agent.contract.event import Progress, StatusData
from agent.steps.listen import Listen
from agent.steps.station import Station
from agent.telemetry import announce
from agent.telemetry.envelope import epoch_of
from agent.telemetry.jumps import Jumps
from agent.telemetry.publisher import Publisher

log = logging.getLogger(__name__)

_FILE_EVERY_S = 10.0
_COUNT_EVERY_S = 30.0
"""So often an idle agent tells the number of its newest event: who missed the last one need not wait for another."""


@dataclass(slots=True)
class Heart:
    """Owned by the daemon's main thread, which calls `beat` once a second."""

    station: Station
    listen: Listen
    publisher: Publisher | None
    state: Path
    problems: Callable[[], list[str]]
    _began_ns: int = field(init=False)
    _jumps: Jumps = field(init=False)
    _epoch: str = field(init=False)
    _status: StatusData | None = None
    _busy: bool = False
    _told: int | None = None
    _tell_at: float = 0.0
    _file_due: float = 0.0

    def __post_init__(self) -> None:
        self._began_ns = self.station.clock.now_ns()
        self._jumps = Jumps(self.station.clock)
        self._epoch = epoch_of(self.station.outbox, self.station.clock)

    def beat(self) -> None:
        """Say what has changed."""
        problems = [*self.problems(), *self._around()]
        queue = self.station.outbox.queue()
        self._say(
            StatusData(
                state="degraded" if problems else "online",
                agent=__version__,
                reasons=problems,
                started_at=iso(self._began_ns),
            )
        )
        self._progress(queue)
        now = self.station.clock.monotonic()
        if now >= self._file_due:
            self._file_due = now + _FILE_EVERY_S
            broker = self.publisher.problem if self.publisher else "no broker is configured"
            self._write({"broker": broker, "problems": problems, "queue": queue})

    def _around(self) -> list[str]:
        """What is wrong with what others tell us, and with the clock."""
        jump = self._jumps.problem()
        return [*(self.publisher.troubles if self.publisher else []), *([jump] if jump else [])]

    def stop(self) -> None:
        """The last status: offline, on purpose."""
        self._say(StatusData(state="offline", agent=__version__))

    def _say(self, status: StatusData) -> None:
        if status != self._status:
            self._status = status
            topics, now = self.station.topics, self.station.clock.now_ns()
            self.station.outbox.announce([announce.status(topics, status, now)])
            self.station.wake()

    def _progress(self, queue: int) -> None:
        """Once a second while busy or when events are new, else now and then."""
        current = self.listen.current()
        was_busy, self._busy = self._busy, bool(current or queue)
        last = None if self.station.outbox.unpublished(0, 1) else self.station.outbox.last_sequence()
        now = self.station.clock.monotonic()
        due = last is not None and (last != self._told or now >= self._tell_at)
        if self.publisher is None or not (self._busy or was_busy or due):
            return
        self._told, self._tell_at = last, now + _COUNT_EVERY_S
        progress = Progress(
            acquisition=current.id if current else None,
            frames=current.frames if current else 0,
            planned=current.plan.frames if current else None,
            queue=queue,
            bytes_left=self.station.outbox.bytes_left(),
            disk_free=shutil.disk_usage(self.state).free,
            last=last,
            epoch=self._epoch,
        )
        self.publisher.progress(progress.model_dump_json().encode())

    def _write(self, said: dict[str, object]) -> None:
        """What `scope-agent status` reads beside the outbox."""
        path = self.state / "heartbeat.json"
        beat = {"pid": os.getpid(), "version": __version__, "at": iso(self.station.clock.now_ns())}
        making = path.with_suffix(".making")
        try:
            making.write_text(json.dumps(beat | {"started_at": iso(self._began_ns)} | said), encoding="utf-8")
            making.replace(path)
        except OSError as error:
            log.warning("heartbeat: %s", error, extra={"action": "heartbeat"})
