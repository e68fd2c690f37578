"""The record of an acquisition, its files still to come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from agent.acquisition import Acquisition
from agent.clock import iso
from agent.contract.layout import COMPANION
from agent.contract.record import (
    AgentInfo,
    Counts,
    FileEntry,
    Hardware,
    Integrity,
    Planes,
    Record,
    Tier,
)
from agent.document.context import Context
from agent.document.listing import flat, write_object
from agent.snapshot import Snapshot
from agent.sources.events import FinishReason
from agent.sources.spelling import shown


def build_record(
    context: Context, acquisition: Acquisition, snapshot: Snapshot, completeness: dict[str, Tier]
) -> Record:
    """The record of an acquisition; `record_with_files` adds the files."""
    plan = acquisition.plan
    return Record(
        id=acquisition.id,
        site=context.site,
        instrument=context.instrument,
        # A file name that is no UTF-8 must not keep the record from being written.
        name=shown(acquisition.name),
        source=acquisition.found_by.value,
        software=snapshot.software,
        started_at=iso(acquisition.started_ns),
        finished_at=None if acquisition.finished_ns is None else iso(acquisition.finished_ns),
        state=acquisition.state.value,
        finish_reason=acquisition.reason.value,
        planned=Counts(frames=plan.frames, shape=list(plan.shape) or None, axes=list(plan.axes) or None),
        actual=snapshot.actual,
        hardware=Hardware(
            microscope=snapshot.microscope, components=list(snapshot.components), in_use=list(snapshot.in_use)
        ),
        channels=list(snapshot.channels),
        planes=_planes(snapshot),
        property_changes=list(snapshot.property_changes),
        calibration=snapshot.calibration.model_copy(update={"pixel_size": snapshot.pixel_size}),
        environment=snapshot.environment,
        session=snapshot.session,
        completeness=completeness,
        not_carried_over=snapshot.not_carried_over,
        integrity=_integrity(acquisition, snapshot),
        agent=AgentInfo(version=context.agent_version, config_sha256=context.config_sha256),
    )


def record_with_files(out: TextIO, draft: Record, files: Iterable[FileEntry]) -> None:
    """The record's JSON with these files."""
    listed = (flat(file.model_dump(mode="json"), 2) for file in files)
    write_object(out, draft.model_dump(mode="json"), {"files": listed}, 0)
    out.write("\n")


def _planes(snapshot: Snapshot) -> Planes | None:
    count = sum(len(image.planes) for image in snapshot.images)
    return Planes(count=count, listed_in=COMPANION) if count else None


def _integrity(acquisition: Acquisition, snapshot: Snapshot) -> Integrity:
    expected, received = acquisition.plan.frames, snapshot.actual.frames
    # Frames that a canceled run never took are not dropped ones.
    whole = acquisition.reason is FinishReason.COMPLETED and expected is not None and received is not None
    dropped = max(0, (expected or 0) - (received or 0)) if whole else None
    missing = [f"file announced and not there: {name}" for name in acquisition.missing]
    notes = dict.fromkeys([*acquisition.notes, *missing, *snapshot.notes, *snapshot.conflicts])
    return Integrity(
        frames_expected=expected,
        frames_received=received,
        frames_dropped=dropped,
        journal_errors=acquisition.lost,
        notes=[shown(note) for note in notes],
    )
