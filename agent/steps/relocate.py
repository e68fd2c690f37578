"""An acquisition whose files were renamed or moved before they were delivered goes on from where they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent.acquisition import Acquisition, SourceFile, compact
from agent.sources.identity import Identity, identity


def is_moved(run: Acquisition, files: Sequence[SourceFile]) -> tuple[str, str] | None:
    """(old path, new path) of a file of the run that is among `files` under another name; None when none is."""
    known = {file.file_id: file for file in run.files}
    for file in files:
        old = known.get(file.file_id)
        if old is None or old.path == file.path:
            continue
        was, found = _identity(old), _identity(file)
        there = identity(old.path)
        # The number alone says little: it is given again to new files.
        if found.is_same_file(was) and (there is None or not there.is_same_file(was)):
            return old.path, file.path
    return None


def relocated(run: Acquisition, old: str, new: str, main: Path) -> Acquisition:
    """The acquisition with its paths as they are now; `main` is the dataset's main file today."""
    before, after = Path(old), Path(new)
    while before.name == after.name and before.name:
        before, after = before.parent, after.parent

    def there(path: str) -> str:
        here = Path(path)
        return str(after / here.relative_to(before)) if here.is_relative_to(before) else path

    outputs = tuple(there(output) for output in run.outputs)
    if run.outputs and outputs == run.outputs:
        outputs = (*outputs, str(main))
    return replace(
        run,
        main=str(main),
        outputs=outputs,
        files=compact(replace(file, path=there(file.path)) for file in run.files),
        notes=(*run.notes, f"{before} was renamed or moved to {after} before it was delivered"),
    )


def _identity(file: SourceFile) -> Identity:
    return Identity(file.size, file.mtime_ns, file.file_id)
