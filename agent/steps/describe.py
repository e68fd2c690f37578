"""Step 3: take the snapshot and write the documents."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.acquisition import Acquisition, State, move
from agent.document import build
from agent.errors import Damaged
from agent.formats import identify
from agent.formats.port import Metadata
from agent.memory import give_back
from agent.snapshot import Snapshot, take
from agent.sources.capture import RunCapture
from agent.sources.identity import identity
from agent.sources.journal import read_run
from agent.steps import workspace
from agent.steps.around import surrounded
from agent.steps.calibrate import announce_alerts
from agent.steps.legible import metadata_of
from agent.steps.station import Station

log = logging.getLogger(__name__)


def describe(station: Station, acquisition: Acquisition) -> None:
    """complete or captured -> documented; back to settling when its files are not where they were"""
    gone = next((file.path for file in acquisition.files if identity(file.path) is None), None)
    if gone is not None:
        # Renamed or deleted: whoever looks at the files can tell.
        station.save(move(acquisition, State.SETTLING), files=[])
        log.warning("%s is not there any more", gone, extra={"action": "source.gone", "acquisition": acquisition.id})
        return
    acquisition, capture = _capture(acquisition)
    results = station.registry.in_force(acquisition.started_ns) if station.registry else []
    snapshot = take(acquisition, station.profile, capture, _metadata(acquisition), results)
    if station.around is not None:
        snapshot = surrounded(snapshot, station.around, acquisition)
    captured = station.advance(acquisition, State.CAPTURED)
    documents = build(station.context, captured, snapshot)
    workspace.write(station.workspace / captured.id, documents)
    tiers = documents.record.completeness
    completeness = {name: f"{tier.filled}/{tier.required}" for name, tier in tiers.items()}
    record = documents.record
    said: dict[str, Any] = {"session": record.session, "environment": record.environment}
    station.advance(captured, State.DOCUMENTED, completeness=completeness, **said)
    announce_alerts(station, {"conflict": _conflict(captured, snapshot)})
    give_back(len(captured.files))
    log.info("documented: %s", captured.name, extra={"action": "documented", "acquisition": captured.id})


def _conflict(acquisition: Acquisition, snapshot: Snapshot) -> str | None:
    """What sources say against each other in the acquisition described last; None clears the alert."""
    if not snapshot.conflicts:
        return None
    more = f" (and {len(snapshot.conflicts) - 1} more)" if len(snapshot.conflicts) > 1 else ""
    return f"{acquisition.name}: {snapshot.conflicts[0]}{more}; both are in the record, correct the wrong one"


def _capture(acquisition: Acquisition) -> tuple[Acquisition, RunCapture | None]:
    """What the hook wrote; a journal that is lost is no reason to lose the images too."""
    if acquisition.span is None:
        return acquisition, None
    try:
        return acquisition, read_run(acquisition.span)
    except (FileNotFoundError, Damaged) as error:
        note = f"what the hook recorded of the frames is lost: {error}"
        return replace(acquisition, notes=tuple(dict.fromkeys((*acquisition.notes, note)))), None


def _metadata(acquisition: Acquisition) -> Metadata | None:
    if acquisition.main is None:
        return None
    main = Path(acquisition.main)
    form = identify(main)
    return metadata_of(form, form.dataset(main))
