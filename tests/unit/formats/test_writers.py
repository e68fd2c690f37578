"""No dataset is ever declared whole while its writer has more to write; and at the end every one is.

A few runs a writer by default; SCOPE_AGENT_RUNS=1000 makes the long campaign. A failure prints its seed.
"""

import os
import random

import pytest

from agent.formats import datasets_in
from agent.sources.quiet import Quiet
from agent.steps.examine import examine
from tests.writers import WRITERS

_NAMES = sorted(WRITERS)
RUNS = int(os.environ.get("SCOPE_AGENT_RUNS", 3 * len(_NAMES)))
QUIET_S = 5.0


class Stage:
    """A folder, a clock that is held, and the handles that the writer keeps open."""

    def __init__(self, folder):
        self.folder, self.now, self.quiet = folder, 1000.0, Quiet()
        self.handles = {}
        self.written = 0.0

    def write(self, op, keep):
        path = self.folder / op.name
        path.parent.mkdir(parents=True, exist_ok=True)
        file = self.handles.get(op.name)
        if file is None:
            file = path.open("r+b" if path.exists() else "w+b", buffering=0)
            self.handles[op.name] = file
        if op.data:
            file.seek(0, 2) if op.at is None else file.seek(op.at)
            file.write(op.data)
        if op.size is not None:
            file.truncate(op.size)
        if not op.closes:
            self.written = self.now
        if not keep or op.closes:
            self.handles.pop(op.name).close()

    def findings(self, wait):
        """What we think of everything in the folder, `wait` seconds later."""
        self.now += wait
        return [examine(one, self.quiet, self.now, QUIET_S) for one in datasets_in(self.folder)]

    def close(self):
        for file in self.handles.values():
            file.close()
        self.handles.clear()


def play(folder, name, seed):
    dice = random.Random(seed)
    run = WRITERS[name](dice)
    stage = Stage(folder)
    # A writer on another machine shows no handle; then only the files themselves and quiet time can tell.
    seen = dice.random() < 0.5
    killed = dice.randrange(1, len(run.ops)) if run.sure and dice.random() < 0.25 else None
    looks = sorted(dice.sample(range(len(run.ops)), min(len(run.ops), 25)))
    try:
        for number, op in enumerate(run.ops[:killed]):
            stage.write(op, keep=seen)
            if number not in looks or not run.ops[number + 1 :] or all(one.closes for one in run.ops[number + 1 :]):
                continue
            # Without any sign a pause must be shorter than the quiet time: that is what quiet time means.
            # Letting go changes nothing in a file: a pause is over when the writer writes on.
            patient = run.sure or (bool(stage.handles) and not run.ops[number + 1].closes)
            for _ in range(2):
                wait = dice.uniform(0.1, 60.0 if patient else QUIET_S * 0.9)
                left = stage.written + QUIET_S * 0.9 - stage.now
                for found in stage.findings(wait if patient else max(min(wait, left), 0)):
                    assert not found.whole, (seed, run.format, number, len(run.ops), op.name, found)
        if killed is not None and any(not one.closes for one in run.ops[killed:]):
            stage.close()
            for found in stage.findings(3600) + stage.findings(3600):
                assert not found.whole, (seed, run.format, "killed", killed, len(run.ops), found)
            return
    finally:
        stage.close()
    if killed is None:
        stage.findings(1)
        ended = stage.findings(2 * QUIET_S)
        assert [found.reason for found in ended] == [""], (seed, run.format, ended)
        assert ended[0].dataset.format == run.format, (seed, ended)
        assert len(ended[0].dataset.files) == len({op.name for op in run.ops}), (seed, ended)


@pytest.mark.parametrize("seed", range(RUNS))
def test_never_whole_early(tmp_path, seed):
    play(tmp_path, _NAMES[seed % len(_NAMES)], seed)
