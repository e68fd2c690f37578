"""Step 2: acquisitions without further frames wait until their files are whole, or patience ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from agent.acquisition import Acquisition, SourceFile, State, compact, move
from agent.formats.port import Dataset
from agent.memory import give_back
from agent.sources.events import FinishReason
from agent.sources.identity import identity
from agent.sources.quiet import Quiet
from agent.sources.spelling import apart
from agent.steps.enqueue import data_files
from agent.steps.examine import CHANGING, Finding, datasets_at, examine
from agent.steps.station import Station

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Settle:
    """Owned by one thread."""

    station: Station
    away: Callable[[str, str], bool] = lambda *_: False
    """Whether the watched folder above a path, where a file of this identity was, cannot be looked into now."""
    quiet: Quiet = field(default_factory=Quiet)
    _since: dict[str, float] = field(default_factory=dict)

    def step(self) -> bool:
        """Look at each settling acquisition once. True when one became complete."""
        now = self.station.clock.now_ns()
        looked = [self._look(entry.acquisition) for entry in self.station.outbox.due(State.SETTLING, now)]
        return any(looked)

    def _look(self, acquisition: Acquisition) -> bool:
        now = self.station.clock.monotonic()
        since = self._since.setdefault(acquisition.id, now)
        try:
            findings = self._findings(acquisition, now)
        except OSError as error:
            log.info("%s cannot be looked at yet: %s", acquisition.name, error, extra={"action": "source.locked"})
            return False
        waiting = [finding for finding in findings if not finding.whole]
        rested = now - since >= self.station.settle.quiet_s
        patient = now - since < self.station.settle.patience_s
        if acquisition.only_logged and not findings and patient:
            return False  # a watched folder may still show what it wrote
        if acquisition.main and not findings:
            if self.away(acquisition.main, acquisition.files[0].file_id if acquisition.files else ""):
                self._since[acquisition.id] = now  # a share that is not there says nothing about its files
                return False
            if patient:
                return False  # moved, perhaps: it is followed when it is seen
        if acquisition.outputs and not findings:
            waiting_for_files = patient if acquisition.reason is not FinishReason.ABORTED else not rested
            if waiting_for_files:
                return False
        # Nothing writes any more and the count is wrong: more patience changes nothing, rest is enough.
        dead = acquisition.reason is FinishReason.ABORTED or all(finding.hopeless for finding in waiting)
        if waiting and not (rested if dead else not patient):
            self._remember(acquisition, findings)
            return False
        del self._since[acquisition.id]
        self._complete(acquisition, findings)
        return True

    def _remember(self, acquisition: Acquisition, findings: list[Finding]) -> None:
        """What a run's files are, once they rest: they are known again when somebody renames them before the end."""
        if acquisition.files or not findings or any(finding.reason == CHANGING for finding in findings):
            return
        files = compact(file for finding in findings for file in source_files(finding.dataset))
        self.station.save(replace(acquisition, main=str(findings[0].dataset.main), files=files))

    def _findings(self, acquisition: Acquisition, now: float) -> list[Finding]:
        settings = self.station.settle
        outputs = acquisition.outputs or ((acquisition.main,) if acquisition.main else ())
        datasets = datasets_at(outputs)
        # Frames are counted over all outputs together, so a single dataset can be held against them.
        frames = acquisition.frames if acquisition.span and len(datasets) == 1 else None
        return [examine(dataset, self.quiet, now, settings.quiet_s, frames) for dataset in datasets]

    def _complete(self, acquisition: Acquisition, findings: list[Finding]) -> None:
        for finding in findings:
            self.quiet.forget(str(finding.dataset.main))
        if acquisition.span is None and not findings and not acquisition.only_logged:
            self.station.reject(acquisition, f"{acquisition.main} was deleted before it was delivered")
            return
        done = move(completed(acquisition, findings), State.COMPLETE)
        self.station.save(done, files=data_files(done))
        give_back(len(done.files))
        for note in done.notes:
            log.warning("%s: %s", done.name, note, extra={"action": "note", "acquisition": done.id})


def completed(acquisition: Acquisition, findings: list[Finding]) -> Acquisition:
    """The acquisition with its files, and what is wrong with them in its notes."""
    doubts = [finding.reason for finding in findings if not finding.whole]
    if acquisition.outputs and not findings:
        doubts.append(f"no file was found at {acquisition.outputs[0]}")
    if acquisition.only_logged and not findings:
        doubts.append("no file of this run was found: watch the folder that the acquisition software writes to")
    reason = acquisition.reason
    if doubts and reason is FinishReason.COMPLETED:
        # "Completed" is believed only when the files agree.
        reason = FinishReason.ERRORED
    datasets = [finding.dataset for finding in findings]
    planes = [finding.planes for finding in findings if finding.planes is not None]
    return replace(
        acquisition,
        reason=reason,
        frames=acquisition.frames if acquisition.span or not planes else sum(planes),
        format=datasets[0].format if datasets else None,
        main=str(datasets[0].main) if datasets else None,
        files=compact(file for dataset in datasets for file in source_files(dataset)),
        missing=tuple(name for dataset in datasets for name in dataset.missing),
        notes=(*acquisition.notes, *doubts),
    )


def source_files(dataset: Dataset) -> Iterator[SourceFile]:
    """The dataset's files as they are now, named as every system can; one that vanished meanwhile is left out."""
    names = apart(path.relative_to(dataset.root).as_posix() for path in dataset.files)
    for path in dataset.files:
        found = identity(path)
        if found is not None:
            yield SourceFile(str(path), names[path.relative_to(dataset.root).as_posix()], *found)
