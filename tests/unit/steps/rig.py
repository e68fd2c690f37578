"""The pipeline with a real folder source on a real folder, a held clock, and restarts."""

from __future__ import annotations

import os
import random
from pathlib import Path

from agent.acquisition import State
from agent.outbox import FileRow
from agent.sources.folder import FolderSource
from agent.sources.mounts import away_below
from agent.sources.settings import WatchSettings
from agent.testing.target import MemoryTarget
from tests.unit.steps.test_steps import Bench
from tests.writers import thor


class Rig(Bench):
    """`restart` ends this one and begins another on the same state and target."""

    def __init__(self, folder: Path, target: MemoryTarget | None = None) -> None:
        super().__init__(folder)
        if target is not None:
            self.target = self.pipeline.dispatch.target = target
        settings = WatchSettings(path=self.watched, mode="poll", poll_s=1, quiet_s=2, patience_s=60)

        def known(path: str) -> tuple[int, int, str] | None:
            row = self.outbox.file_at(path)
            return (row.size, row.mtime_ns, row.file_id) if row else None

        self.folder_source = FolderSource(settings, known, self.clock)
        self.folder_source.start()
        self.pipeline.listen.sources = [self.folder_source]
        away = away_below([str(self.watched)])
        self.pipeline.candidates.away = self.pipeline.candidates._gone.away = self.pipeline.settle.away = away

    def restart(self) -> Rig:
        self.close()
        return Rig(self.folder, self.target)

    def close(self) -> None:
        self.folder_source.stop()
        self.outbox.close()

    def until_queued(self) -> None:
        """Everything but the delivery."""
        for _ in range(60):
            self.clock.pass_(0.5)
            self.pipeline.hear()
            self.pipeline.work()
            if self.outbox.due(State.QUEUED, self.clock.now_ns()):
                return
        raise AssertionError(self.all())

    def rows(self) -> list[FileRow]:
        """The data files of all acquisitions."""
        return [row for run in self.all() for row in self.outbox.files(run.id) if row.role == "data"]

    def changes(self) -> list[tuple[str, str, str]]:
        """(what, where it was, where it is), in the words of the audit."""
        found = [change for run in self.all() for change in self.outbox.source_changes(run.id)]
        return [(change.what, Path(change.source).name, Path(change.detail).name) for change in found]

    def delivered(self) -> list[list[str]]:
        """The data files of each dataset at the target, sorted."""
        return sorted(
            sorted(name for name in files if name.startswith("data/")) for files in self.target.committed.values()
        )


def thor_set(folder: Path, seed: int = 5) -> Path:
    """A whole dataset of several files; its main file."""
    folder.mkdir(parents=True, exist_ok=True)
    for op in thor(random.Random(seed)).ops:
        path = folder / op.name
        if op.data and op.at is None:
            with path.open("ab") as file:
                file.write(op.data)
        elif op.data:
            with path.open("r+b") as file:
                file.seek(op.at)
                file.write(op.data)
    return folder / "Experiment.xml"


def spread(path: Path, mtime_ns: int) -> None:
    """Give the file a time of change."""
    os.utime(path, ns=(mtime_ns, mtime_ns))
