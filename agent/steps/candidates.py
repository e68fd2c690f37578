"""Files seen in watched folders, until they are whole datasets and become acquisitions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.acquisition import Acquisition, FoundBy, State
from agent.contract.ids import uuid7
from agent.formats import identify
from agent.sources.events import FileSeen, FinishReason, Plan
from agent.sources.identity import identity
from agent.sources.quiet import Quiet
from agent.sources.settings import WatchSettings
from agent.steps.examine import examine
from agent.steps.settle import completed
from agent.steps.station import Station
from agent.telemetry import announce

log = logging.getLogger(__name__)

_AGAIN_S = 0.5
_SLOWEST_S = 30.0


@dataclass(slots=True)
class _Candidate:
    """A dataset that may still be growing."""

    main: Path
    watch: WatchSettings
    since: float
    seen_ns: int
    due: float
    pause: float = _AGAIN_S
    members: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Candidates:
    """Owned by one thread, the one that listens."""

    station: Station
    watches: Mapping[str, WatchSettings]
    """By absolute folder."""
    running: Mapping[str, Acquisition]
    """Acquisitions that the hook tells of, by origin; their files are not acquisitions of their own."""
    quiet: Quiet = field(default_factory=Quiet)
    _by_main: dict[Path, _Candidate] = field(default_factory=dict)
    _main_of: dict[str, Path] = field(default_factory=dict)

    def add(self, seen: FileSeen) -> None:
        """A file is there, or changed."""
        now = self.station.clock.monotonic()
        main = self._main_of.get(seen.path) or self._folder_of(Path(seen.path))
        candidate = self._by_main.get(main) if main else None
        if candidate is None:
            candidate = self._new(seen, now)
        candidate.due = min(candidate.due, now + _AGAIN_S)
        candidate.pause = _AGAIN_S

    def step(self) -> bool:
        """Examine what is due. True when a dataset became an acquisition."""
        now = self.station.clock.monotonic()
        due = [candidate for candidate in self._by_main.values() if candidate.due <= now]
        became = [self._examine(candidate, now) for candidate in due]
        return any(became)

    def _folder_of(self, path: Path) -> Path | None:
        """A candidate that is a folder (OME-Zarr) and holds this file."""
        return next((parent for parent in path.parents if parent in self._by_main), None)

    def _new(self, seen: FileSeen, now: float) -> _Candidate:
        path = Path(seen.path)
        dataset = identify(path).dataset(path)
        known = self._by_main.get(dataset.main)
        candidate = known or _Candidate(
            dataset.main, self.watches[seen.root], now, min(seen.mtime_ns, seen.at_ns), now + _AGAIN_S
        )
        self._by_main[dataset.main] = candidate
        for file in (str(file) for file in dataset.files):
            self._main_of[file] = dataset.main
            candidate.members.add(file)
        return candidate

    def _examine(self, candidate: _Candidate, now: float) -> bool:
        dataset = identify(candidate.main).dataset(candidate.main)
        if not dataset.files:
            self._forget(candidate)
            return False
        owner = self._owner([str(file) for file in dataset.files])
        if owner is not None:
            self._both(owner)
            self._forget(candidate)
            return False
        finding = examine(dataset, self.quiet, now, candidate.watch.quiet_s)
        tired = now - candidate.since >= candidate.watch.patience_s
        if not finding.whole and not tired:
            candidate.pause = min(candidate.pause * 1.5, _SLOWEST_S, max(candidate.watch.quiet_s, _AGAIN_S))
            candidate.due = now + candidate.pause
            return False
        self._become(candidate, completed(self._acquisition(candidate), [finding]))
        self._forget(candidate)
        return True

    def _owner(self, files: list[str]) -> Acquisition | None:
        """The hook's acquisition that writes these files, running or waiting for them to be whole."""
        settling = self.station.outbox.due(State.SETTLING, self.station.clock.now_ns())
        runs = [*self.running.values(), *(entry.acquisition for entry in settling)]
        return next((run for run in runs if any(_writes(run, file) for file in files)), None)

    def _both(self, owner: Acquisition) -> None:
        if owner.found_by is FoundBy.HOOK and owner.origin not in self.running:
            self.station.save(replace(owner, found_by=FoundBy.BOTH))

    def _acquisition(self, candidate: _Candidate) -> Acquisition:
        now = self.station.clock.now_ns()
        found = identity(candidate.main)
        key = f"{found.size}:{found.mtime_ns}:{found.file_id}" if found else "folder"
        return Acquisition(
            id=str(uuid7(now)),
            origin=f"watch:{candidate.main}:{key}",
            found_by=FoundBy.WATCH,
            name=candidate.main.name.partition(".")[0],
            state=State.COMPLETE,
            started_ns=candidate.seen_ns,
            plan=Plan(),
            finished_ns=now,
            reason=FinishReason.UNKNOWN,
        )

    def _become(self, candidate: _Candidate, acquisition: Acquisition) -> None:
        if self._is_known(acquisition):
            return
        now = self.station.clock.now_ns()
        events = [
            announce.lifecycle(self.station.topics, acquisition, now, "started"),
            announce.lifecycle(self.station.topics, acquisition, now, "finished"),
        ]
        self.station.save(acquisition, events)
        log.info("found %s", candidate.main, extra={"action": "found", "acquisition": acquisition.id})

    def _is_known(self, acquisition: Acquisition) -> bool:
        """Every file is in the outbox already, unchanged: found again by a walk after a restart."""
        if self.station.outbox.by_origin(acquisition.origin) is not None:
            return True
        rows = [(file, self.station.outbox.file_at(file.path)) for file in acquisition.files]
        return bool(rows) and all(
            row is not None and (row.size, row.mtime_ns, row.file_id) == (file.size, file.mtime_ns, file.file_id)
            for file, row in rows
        )

    def _forget(self, candidate: _Candidate) -> None:
        del self._by_main[candidate.main]
        for file in candidate.members:
            self._main_of.pop(file, None)
            self.quiet.forget(file)


def _writes(run: Acquisition, file: str) -> bool:
    """True when the file is one of the run's outputs, lies below one, or is `x_p000.ome.tiff` of `x.ome.tiff`."""
    path = Path(file)
    for output in map(Path, run.outputs):
        stem, _, ending = output.name.partition(".")
        sibling = path.parent == output.parent and path.name.startswith(f"{stem}_") and path.name.endswith(ending)
        if path == output or output in path.parents or sibling:
            return True
    return False
