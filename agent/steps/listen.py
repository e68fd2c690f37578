"""Step 1: what the sources tell becomes acquisitions in the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from agent.acquisition import Acquisition, FoundBy, State, fold, move
from agent.acquisition.moves import RunEvent, begin
from agent.contract.ids import derived_id
from agent.sources.events import FileSeen, FilesGone, RunFinished, RunProgress, RunStarted, SourceEvent, WatchLost
from agent.sources.port import Source
from agent.steps.station import Station
from agent.telemetry import announce

log = logging.getLogger(__name__)


class Candidates(Protocol):
    """Takes the files that were seen in watched folders."""

    def add(self, seen: FileSeen) -> None: ...

    def claim(self, run: Acquisition) -> bool: ...

    def gone(self, event: FilesGone) -> None: ...


@dataclass(slots=True)
class Listen:
    """Owned by one thread."""

    station: Station
    sources: Sequence[Source]
    candidates: Candidates
    offsets: Callable[[], Mapping[str, int]]
    """Where the journals may be read from after a restart."""
    running: dict[str, Acquisition] = field(default_factory=dict)
    """Acquisitions that are on, by origin."""
    _saved: dict[str, int] = field(default_factory=dict)

    def step(self) -> bool:
        """Hear each source once. True when something was heard."""
        heard = False
        for source in self.sources:
            for event in source.poll():
                self._hear(event)
                heard = True
        if heard:
            self._save_offsets()
        return heard

    def current(self) -> Acquisition | None:
        """The acquisition that began last and is still on."""
        return max(self.running.values(), key=lambda run: run.started_ns, default=None)

    def _save_offsets(self) -> None:
        moved = {name: at for name, at in self.offsets().items() if self._saved.get(name) != at}
        if moved:
            self.station.outbox.save_offsets(moved)
            self._saved |= moved

    def _hear(self, event: SourceEvent) -> None:
        match event:
            case RunStarted():
                self._started(event)
            case RunProgress() | RunFinished():
                self._went_on(event)
            case FileSeen():
                self.candidates.add(event)
            case FilesGone():
                self.candidates.gone(event)
            case WatchLost():
                self._lost(event)

    def _started(self, event: RunStarted) -> None:
        known = self.station.outbox.by_origin(event.origin)
        if known is None:
            run = begin(event, derived_id(event.at_ns, self.station.topics.root, event.origin))
            if self.candidates.claim(run):
                run = replace(run, found_by=FoundBy.BOTH)
            now = self.station.clock.now_ns()
            events = [
                announce.lifecycle(self.station.topics, run, now),
                announce.current(self.station.topics, run, now, run.id),
            ]
            self.station.save(run, events)
            log.info("acquisition started: %s", run.name, extra={"action": "started", "acquisition": run.id})
        else:
            run = known.acquisition
        if run.state is State.ACQUIRING:
            self.running[event.origin] = run

    def _went_on(self, event: RunEvent) -> None:
        run = self.running.get(event.origin)
        if run is None:
            return
        after = fold(run, event)
        if after.state is State.ACQUIRING:
            self.running[event.origin] = after
            return
        del self.running[event.origin]
        now = self.station.clock.now_ns()
        events = [
            announce.lifecycle(self.station.topics, after, now),
            announce.current(self.station.topics, None, now, after.id),
        ]
        # An aborted run is announced as such, then goes the way of every other.
        self.station.save(move(after, State.SETTLING), events)
        log.info(
            "acquisition %s: %d frames",
            after.reason,
            after.frames,
            extra={"action": "finished", "acquisition": run.id},
        )

    def _lost(self, event: WatchLost) -> None:
        log.warning("watch events lost in %s: %s", event.root, event.reason, extra={"action": "watch.lost"})
        alert = announce.alert(self.station.topics, "watch-lost", f"{event.root}: {event.reason}", event.at_ns)
        self.station.outbox.announce([alert])
        self.station.wake()
