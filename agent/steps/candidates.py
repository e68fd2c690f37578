"""Files seen in watched folders, until they are whole datasets and become acquisitions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.acquisition import Acquisition, FoundBy, State
from agent.contract.ids import derived_id
from agent.formats import identify
from agent.formats.registry import FALLBACK
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
_SLACK_NS = 10_000_000_000
_EVER_NS = 1 << 62
_WITHOUT_ROWS = (State.SETTLING, State.COMPLETE, State.CAPTURED, State.DOCUMENTED)


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
    running: MutableMapping[str, Acquisition]
    """Acquisitions that the hook tells of, by origin; their files are not acquisitions of their own."""
    told: Callable[[], bool] = lambda: True
    """Whether hook and log told all they know: until then a file that is seen may be theirs."""
    quiet: Quiet = field(default_factory=Quiet)
    _by_main: dict[Path, _Candidate] = field(default_factory=dict)
    _main_of: dict[str, Path] = field(default_factory=dict)

    def add(self, seen: FileSeen) -> None:
        """A file is there, or changed."""
        now = self.station.clock.monotonic()
        main = self._main_of.get(seen.path) or self._folder_of(Path(seen.path))
        candidate = self._by_main.get(main) if main else None
        if candidate is None:
            owner = next((run for run in self._unfinished() if _writes(run, seen.path)), None)
            if owner is not None:
                self._both(owner)
                return
            candidate = self._new(seen, now)
        candidate.due = min(candidate.due, now + _AGAIN_S)
        candidate.pause = _AGAIN_S

    def claim(self, run: Acquisition) -> bool:
        """The hook tells of a run: what it writes is no candidate of its own. True when some of it was seen."""
        mine = [
            one for one in self._by_main.values() if any(_writes(run, file) for file in (str(one.main), *one.members))
        ]
        for candidate in mine:
            self._forget(candidate)
        return bool(mine)

    def step(self) -> bool:
        """Examine what is due. True when a dataset became an acquisition."""
        if not self.told():
            return False
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
        if dataset.format != FALLBACK and self._adopt(candidate):
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

    def _adopt(self, candidate: _Candidate) -> bool:
        """Give the dataset to the run that a log told of at that time, for the log names no file."""
        runs = [run for run in self._unfinished() if run.only_logged and _covers(run, candidate.seen_ns)]
        if len(runs) != 1:
            return False
        run = runs[0]
        noted = run.notes if run.outputs else (*run.notes, "its files were found by their time")
        mine = replace(run, outputs=(*run.outputs, str(candidate.main)), notes=noted)
        if run.origin in self.running:
            self.running[run.origin] = mine
        self.station.save(mine)
        return True

    def _unfinished(self, states: tuple[State, ...] = (State.SETTLING,)) -> list[Acquisition]:
        entries = [entry for state in states for entry in self.station.outbox.due(state, _EVER_NS)]
        return [*self.running.values(), *(entry.acquisition for entry in entries)]

    def _owner(self, files: list[str]) -> Acquisition | None:
        """The hook's acquisition that writes these files and has no row for them in the outbox yet."""
        return next((run for run in self._unfinished(_WITHOUT_ROWS) if any(_writes(run, file) for file in files)), None)

    def _both(self, owner: Acquisition) -> None:
        if owner.found_by is not FoundBy.HOOK or owner.state not in (State.ACQUIRING, State.SETTLING):
            return
        both = replace(owner, found_by=FoundBy.BOTH)
        if owner.origin in self.running:
            self.running[owner.origin] = both
        self.station.save(both)

    def _acquisition(self, candidate: _Candidate) -> Acquisition:
        now = self.station.clock.now_ns()
        found = identity(candidate.main)
        key = f"{found.size}:{found.mtime_ns}:{found.file_id}" if found else "folder"
        origin = f"watch:{candidate.main}:{key}"
        return Acquisition(
            id=derived_id(found.mtime_ns if found else candidate.seen_ns, self.station.topics.root, origin),
            origin=origin,
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
    """True when the file is one of the run's outputs, lies below one, or belongs to one of several positions:
    pymmcore-plus makes `x/x_p000.ome.tiff` of `x.ome.tiff`, older writers put them beside it."""
    path = Path(file)
    for output in map(Path, run.outputs):
        stem, _, ending = output.name.partition(".")
        place = path.parent in (output.parent, output.parent / stem)
        position = place and path.name.startswith(f"{stem}_") and path.name.endswith(ending)
        if path == output or output in path.parents or position:
            return True
    return False


def _covers(run: Acquisition, seen_ns: int) -> bool:
    """True when a file that appeared at this time may be of the run."""
    end = run.finished_ns if run.finished_ns is not None else seen_ns
    return run.started_ns - _SLACK_NS <= seen_ns <= end + _SLACK_NS
