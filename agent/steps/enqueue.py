"""Step 4: every file of the dataset gets a row in the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from agent.acquisition import Acquisition, State, move
from agent.contract.layout import COMPANION, DATA, DEVICE_STATE, METHODS, dataset_path
from agent.outbox import NewFile, Role
from agent.sources.identity import identity
from agent.steps import workspace
from agent.steps.station import Station

_YEAR_2200_MS = 7_258_118_400_000
_ROLES: dict[str, Role] = {COMPANION: "metadata", METHODS: "methods", DEVICE_STATE: "device-state"}


def enqueue(station: Station, acquisition: Acquisition) -> None:
    """documented -> queued"""
    folder = station.workspace / acquisition.id
    path = dataset_path(
        station.topics.site,
        station.topics.instrument,
        acquisition.name,
        _when(acquisition),
        acquisition.id,
    )
    station.save(move(acquisition, State.QUEUED), dataset=path, files=files_of(acquisition, folder))


def _when(acquisition: Acquisition) -> int:
    """The time in the dataset's path, the same when it is found anew after all state was lost.

    When a watched file was first seen nobody can tell again: its id has the time of its last change.
    """
    if acquisition.span is not None or acquisition.only_logged:
        return acquisition.started_ns
    milliseconds = int(acquisition.id.replace("-", "")[:12], 16)
    # Times before 1970 have no place in an id.
    return milliseconds * 1_000_000 if milliseconds < _YEAR_2200_MS else acquisition.started_ns


def files_of(acquisition: Acquisition, folder: Path) -> Iterator[NewFile]:
    """All files of the dataset but those that are sealed last; `folder` is its workspace."""
    documents = _documents(workspace.documents(folder))
    return chain(data_files(acquisition, workspace.descriptions(folder)), documents)


def data_files(acquisition: Acquisition, descriptions: Mapping[str, Path] | None = None) -> Iterator[NewFile]:
    """The rows of its images; known to the outbox from the moment they are whole, so that each is found again."""
    descriptions = descriptions or {}
    return (
        NewFile(
            target=f"{DATA}/{file.name}",
            source=file.path,
            role="data",
            size=file.size,
            mtime_ns=file.mtime_ns,
            file_id=file.file_id,
            description=str(descriptions[file.name]) if file.name in descriptions else None,
        )
        for file in acquisition.files
    )


def _documents(files: dict[str, Path]) -> list[NewFile]:
    rows = []
    for target, source in files.items():
        found = identity(source)
        if found is None:
            raise FileNotFoundError(source)
        rows.append(NewFile(target, str(source), _ROLES.get(target, "metadata"), *found))
    return rows
