"""Files seen in watched folders, until they are whole datasets and become acquisitions."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.acquisition import Acquisition, Files, FoundBy, State, compact
from agent.contract.ids import derived_id
from agent.formats import identify
from agent.formats.port import Dataset
from agent.formats.registry import FALLBACK
from agent.memory import give_back
from agent.sources.events import FileSeen, FilesGone, FinishReason, Plan
from agent.sources.identity import identity
from agent.sources.longpaths import plain
from agent.sources.quiet import Quiet
from agent.sources.settings import WatchSettings
from agent.sources.spelling import shown
from agent.steps.enqueue import data_files
from agent.steps.examine import Finding, examine
from agent.steps.follow import Follow, Relation, Standing
from agent.steps.gone import Gone
from agent.steps.relocate import is_moved, relocated
from agent.steps.settle import completed, source_files
from agent.steps.station import Station
from agent.telemetry import announce

log = logging.getLogger(__name__)

_AGAIN_S = 0.5
_SLOWEST_S = 30.0
_BUDGET_S = 0.2
"""One step works for so long at most; what is left is done in the next."""
_MOST = 20_000
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
    away: Callable[[str, str], bool] = lambda *_: False
    """Whether the watched folder above a path, where a file of this identity was, cannot be looked into now."""
    quiet: Quiet = field(default_factory=Quiet)
    follow: Follow = field(init=False)
    _gone: Gone = field(init=False)
    _by_main: dict[Path, _Candidate] = field(default_factory=dict)
    _main_of: dict[str, Path] = field(default_factory=dict)
    _arrived: dict[str, FileSeen] = field(default_factory=dict)
    """Seen, and not yet asked what they are."""
    _waiting: tuple[float, list[Acquisition]] = (float("-inf"), [])
    """Acquisitions before delivery, and when they were read."""

    def __post_init__(self) -> None:
        self.follow = Follow(self.station)
        self._gone = Gone(self.station, self.away)

    def add(self, seen: FileSeen) -> None:
        """A file is there, or changed."""
        candidate = self._candidate_of(seen.path)
        if candidate is not None:
            self._stir(candidate)
        elif not self._is_of_a_run((seen.path,)):
            self._arrived[seen.path] = seen

    @property
    def has_room(self) -> bool:
        """False while so many files are waited for that a walk had better find more of them later."""
        return len(self._by_main) + len(self._arrived) < _MOST

    def gone(self, event: FilesGone) -> None:
        """Files may have been deleted."""
        self._gone.told(event)

    def claim(self, run: Acquisition) -> bool:
        """The hook tells of a run: what it writes is no candidate of its own. True when some of it was seen."""
        mine = [one for one in self._by_main.values() if _claims(run, one)]
        for candidate in mine:
            self._forget(candidate)
        arrived = [path for path in self._arrived if _writes(run, path)]
        for path in arrived:
            del self._arrived[path]
        return bool(mine or arrived)

    def step(self) -> bool:
        """Examine what is due. True when a dataset became an acquisition, or more is to be done at once."""
        if not self.told():
            return False
        now = self.station.clock.monotonic()
        self._take_in(now)
        due = sorted((one for one in self._by_main.values() if one.due <= now), key=lambda one: one.due)
        became = False
        for candidate in due:
            became = self._examine(candidate, now) or became
            if self.station.clock.monotonic() > now + _BUDGET_S:
                return True
        return self._gone.step() or became or bool(self._arrived)

    def _take_in(self, now: float) -> None:
        """Ask files that were seen what they are, for a moment: ten thousand at once must not hold up the rest."""
        while self._arrived and self.station.clock.monotonic() <= now + _BUDGET_S / 2:
            seen = self._arrived.pop(next(iter(self._arrived)))
            candidate = self._candidate_of(seen.path)
            if candidate is None:
                if self._is_of_a_run((seen.path,)) or self.follow.seen(seen):
                    continue
                candidate = self._new(seen, now)
            self._stir(candidate)
        self.follow.flush()

    def _stir(self, candidate: _Candidate) -> None:
        candidate.due = min(candidate.due, self.station.clock.monotonic() + _AGAIN_S)
        candidate.pause = _AGAIN_S

    def _candidate_of(self, path: str) -> _Candidate | None:
        main = self._main_of.get(path) or self._folder_of(Path(path))
        return self._by_main.get(main) if main else None

    def _folder_of(self, path: Path) -> Path | None:
        """A candidate that is a folder (OME-Zarr) and holds this file."""
        return next((parent for parent in path.parents if parent in self._by_main), None)

    def _new(self, seen: FileSeen, now: float) -> _Candidate:
        path = Path(seen.path)
        dataset = _dataset(path)
        main = dataset.main if dataset else path
        known = self._by_main.get(main)
        candidate = known or _Candidate(
            main, self.watches[seen.root], now, min(seen.mtime_ns, seen.at_ns), now + _AGAIN_S
        )
        self._by_main[main] = candidate
        for file in dataset.files if dataset else (path,):
            # Files below a folder that is the dataset are known by it: there may be a hundred thousand.
            if main not in file.parents:
                self._main_of[str(file)] = main
                candidate.members.add(str(file))
        return candidate

    def _examine(self, candidate: _Candidate, now: float) -> bool:
        dataset = _dataset(candidate.main)
        if dataset is None:
            self._wait(candidate, now)
            return False
        if not dataset.files:
            self._forget(candidate)
            return False
        if self._taken(candidate, dataset):
            self._forget(candidate)
            return False
        finding = examine(dataset, self.quiet, now, candidate.watch.quiet_s)
        tired = now - candidate.since >= candidate.watch.patience_s
        if not finding.whole and not tired:
            self._wait(candidate, now)
            return False
        return self._decide(candidate, finding, now)

    def _wait(self, candidate: _Candidate, now: float) -> None:
        candidate.pause = min(candidate.pause * 1.5, _SLOWEST_S, max(candidate.watch.quiet_s, _AGAIN_S))
        candidate.due = now + candidate.pause

    def _taken(self, candidate: _Candidate, dataset: Dataset) -> bool:
        """True when the dataset is that of an acquisition which we have and which is not yet whole."""
        if self._is_of_a_run(dataset.files):
            return True
        return self._settles(dataset) or (dataset.format != FALLBACK and self._adopt(candidate))

    def _settles(self, dataset: Dataset) -> bool:
        """True when an acquisition waits for these very files, which may have been moved meanwhile."""
        waiting = [run for one in self._unfinished() if one.main and (run := self._open(one)) is not None]
        if not waiting:
            return False
        if any(run.main == str(dataset.main) for run in waiting):
            return True
        files = compact(source_files(dataset))
        here = {file.path for file in files}
        for run in waiting:
            if any(file.path in here for file in run.files):
                return True
            pair = is_moved(run, files)
            if pair is not None:
                self._save(relocated(run, *pair, dataset.main))
                log.info(
                    "%s was moved to %s before it was delivered", run.main, dataset.main,
                    extra={"action": "source.moved", "acquisition": run.id},
                )  # fmt: skip
                return True
        return False

    def _decide(self, candidate: _Candidate, finding: Finding, now: float) -> bool:
        """The dataset is as whole as it gets: is it a new one? True to be called again at once."""
        acquisition = completed(self._acquisition(candidate, finding), [finding])
        relation = self.follow.relation(acquisition.files)
        match relation.standing:
            case Standing.UNDER_WAY:
                self._wait(candidate, now)
                return False
            case Standing.COMPARING:
                return True
            case Standing.NEW if self.station.outbox.by_origin(acquisition.origin) is None:
                self._become(candidate, _noted(acquisition, relation))
                self.follow.replaced(relation.replaced, acquisition)
        self._forget(candidate)
        give_back(len(acquisition.files))
        return relation.standing is Standing.NEW

    def _adopt(self, candidate: _Candidate) -> bool:
        """Give the dataset to the run that a log told of at that time, for the log names no file."""
        runs = [
            run
            for run in self._unfinished()
            if run.state is State.SETTLING and run.only_logged and _covers(run, candidate.seen_ns)
        ]
        if len(runs) != 1:
            return False
        run = runs[0]
        noted = run.notes if run.outputs else (*run.notes, "its files were found by their time")
        mine = replace(run, outputs=(*run.outputs, str(candidate.main)), notes=noted)
        if run.origin in self.running:
            self.running[run.origin] = mine
        self._save(mine)
        return True

    def _unfinished(self) -> list[Acquisition]:
        """Acquisitions before their delivery that files may belong to; those of the outbox as half a second ago."""
        now = self.station.clock.monotonic()
        if now >= self._waiting[0] + _AGAIN_S:
            entries = (entry for state in _WITHOUT_ROWS for entry in self.station.outbox.due(state, _EVER_NS))
            runs = (entry.acquisition for entry in entries)
            self._waiting = now, [run for run in runs if run.state is State.SETTLING or run.outputs]
        return [*self.running.values(), *self._waiting[1]]

    def _open(self, run: Acquisition) -> Acquisition | None:
        """What a run is at this moment; None when its files are settled."""
        if run.origin in self.running:
            return self.running[run.origin]
        entry = self.station.outbox.get(run.id)
        return entry.acquisition if entry is not None and entry.acquisition.state is State.SETTLING else None

    def _save(self, acquisition: Acquisition) -> None:
        self.station.save(acquisition)
        self._waiting = float("-inf"), []

    def _is_of_a_run(self, files: Sequence[str | Path]) -> bool:
        """True when a run that has not yet gone on writes one of these files; it is noted that both tell of it."""
        runs = [run for run in self._unfinished() if run.outputs]
        owner = next((run for run in runs if any(_writes(run, str(file)) for file in files)), None)
        if owner is not None:
            self._both(owner)
        return owner is not None

    def _both(self, owner: Acquisition) -> None:
        run = self._open(owner)
        if run is None or run.found_by is not FoundBy.HOOK:
            return
        both = replace(run, found_by=FoundBy.BOTH)
        if run.origin in self.running:
            self.running[run.origin] = both
        self._save(both)

    def _acquisition(self, candidate: _Candidate, finding: Finding) -> Acquisition:
        now = self.station.clock.now_ns()
        found = identity(candidate.main)
        origin = f"watch:{candidate.main}:{_key(compact(source_files(finding.dataset)))}"
        return Acquisition(
            id=derived_id(found.mtime_ns if found else candidate.seen_ns, self.station.topics.root, origin),
            origin=origin,
            found_by=FoundBy.WATCH,
            name=shown(candidate.main.name.partition(".")[0]),
            state=State.COMPLETE,
            started_ns=candidate.seen_ns,
            plan=Plan(),
            finished_ns=now,
            reason=FinishReason.UNKNOWN,
        )

    def _become(self, candidate: _Candidate, acquisition: Acquisition) -> None:
        now = self.station.clock.now_ns()
        events = [
            announce.lifecycle(self.station.topics, acquisition, now, "started"),
            announce.lifecycle(self.station.topics, acquisition, now, "finished"),
        ]
        self.station.save(acquisition, events, files=data_files(acquisition))
        log.info("found %s", candidate.main, extra={"action": "found", "acquisition": acquisition.id})

    def _forget(self, candidate: _Candidate) -> None:
        del self._by_main[candidate.main]
        for file in candidate.members:
            self._main_of.pop(file, None)
        self.quiet.forget(str(candidate.main))
        self.follow.forget(candidate.members)


def _key(files: Files) -> str:
    """What the dataset is made of: the same after a restart, another one when a file is added or changed."""
    if len(files) == 1:
        return f"{files[0].size}:{files[0].mtime_ns}:{files[0].file_id}"
    lines = sorted(f"{file.name}:{file.size}:{file.mtime_ns}:{file.file_id}" for file in files)
    digest = hashlib.sha256()
    for number, line in enumerate(lines):
        digest.update(f"{chr(10) if number else ''}{line}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def _noted(acquisition: Acquisition, relation: Relation) -> Acquisition:
    """With what the record must say of earlier deliveries."""
    notes = []
    if relation.replaced:
        earlier = ", ".join(dict.fromkeys(row.acquisition_id for row in relation.replaced))
        notes.append(f"a file of this name was delivered before with other bytes (acquisition {earlier}), which stays")
    if relation.before:
        notes.append(f"{relation.before} of its {len(acquisition.files)} files were delivered before, unchanged")
    return replace(acquisition, notes=(*acquisition.notes, *notes))


def _dataset(path: Path) -> Dataset | None:
    """The dataset that a file belongs to; None while that cannot be read, as of a file that is locked on Windows."""
    try:
        return identify(path).dataset(path)
    except OSError as error:
        log.info("%s cannot be read yet: %s", path, error, extra={"action": "source.locked"})
        return None


def _writes(run: Acquisition, file: str) -> bool:
    """True when the file is one of the run's outputs, lies below one, or belongs to one of several positions:
    pymmcore-plus makes `x/x_p000.ome.tiff` of `x.ome.tiff`, older writers put them beside it."""
    path = Path(plain(file))
    for output in map(Path, map(plain, run.outputs)):
        stem, _, ending = output.name.partition(".")
        place = path.parent in (output.parent, output.parent / stem)
        position = place and path.name.startswith(f"{stem}_") and path.name.endswith(ending)
        if path == output or output in path.parents or position:
            return True
    return False


def _claims(run: Acquisition, candidate: _Candidate) -> bool:
    """True when the run writes the candidate, one of its files, or into it."""
    if any(candidate.main in Path(plain(output)).parents for output in run.outputs):
        return True
    return any(_writes(run, file) for file in (str(candidate.main), *candidate.members))


def _covers(run: Acquisition, seen_ns: int) -> bool:
    """True when a file that appeared at this time may be of the run."""
    end = run.finished_ns if run.finished_ns is not None else seen_ns
    return run.started_ns - _SLACK_NS <= seen_ns <= end + _SLACK_NS
