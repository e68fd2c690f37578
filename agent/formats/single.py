"""Formats in which one file is one dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.formats.binary import Binary, opened
from agent.formats.port import Dataset, Verdict
from agent.formats.tiff_layout import TroubleError


def alone(name: str, path: Path) -> Dataset:
    """The file and nothing else."""
    return Dataset(name, path, path.parent, (path,))


def judged(path: Path, judge: Callable[[Binary], Verdict]) -> Verdict:
    """The verdict of `judge` about an open file, or the trouble it ran into."""
    with opened(path) as file:
        try:
            return judge(file)
        except TroubleError as trouble:
            return trouble.verdict
