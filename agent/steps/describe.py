"""Step 3: take the snapshot and write the documents."""

from __future__ import annotations

import logging
from pathlib import Path

from agent.acquisition import Acquisition, State
from agent.document import build
from agent.formats import identify
from agent.formats.port import Metadata
from agent.snapshot import take
from agent.sources.journal import read_run
from agent.steps import workspace
from agent.steps.station import Station

log = logging.getLogger(__name__)


def describe(station: Station, acquisition: Acquisition) -> None:
    """complete or captured -> documented"""
    capture = read_run(acquisition.span) if acquisition.span else None
    snapshot = take(acquisition, station.profile, capture, _metadata(acquisition))
    captured = station.advance(acquisition, State.CAPTURED)
    documents = build(station.context, captured, snapshot)
    workspace.write(station.workspace / captured.id, documents)
    tiers = documents.record.completeness
    completeness = {name: f"{tier.filled}/{tier.required}" for name, tier in tiers.items()}
    station.advance(captured, State.DOCUMENTED, completeness=completeness)
    log.info("documented: %s", captured.name, extra={"action": "documented", "acquisition": captured.id})


def _metadata(acquisition: Acquisition) -> Metadata | None:
    if acquisition.main is None:
        return None
    main = Path(acquisition.main)
    form = identify(main)
    return form.metadata(form.dataset(main))
