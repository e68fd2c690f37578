"""From a committed dataset to its row: the record says what, the place says whose and when."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from pydantic import ValidationError

from agent.clock import iso
from agent.contract.layout import RECORD
from agent.contract.record import Captured, Record
from agent.facility.catalogue import Catalogue, Entry
from agent.facility.refusal import Unknown
from agent.facility.storage import Storage

log = logging.getLogger(__name__)

_MAX_TEXT = 8000


def index(catalogue: Catalogue, storage: Storage, dataset: str) -> None:
    """Write the row of a dataset. Raises Retryable, Unknown."""
    files = len(storage.manifest(dataset))
    try:
        record = read_record(storage, dataset)
    except Unknown:
        catalogue.put(_bare(dataset, files, f"it has no {RECORD}"))
    except ValidationError as error:
        where = ".".join(str(level) for level in error.errors(include_url=False)[0]["loc"]) or "the whole"
        catalogue.put(_bare(dataset, files, f"{RECORD} cannot be read: {where}"))
    else:
        catalogue.put(_entry(dataset, files, record), _text(record))


def reconcile(catalogue: Catalogue, storage: Storage, every: bool = False) -> int:
    """Bring the catalogue in line with the datasets; `every` reads them all again. How many rows changed."""
    held, listed = set(storage.datasets()), catalogue.datasets()
    for dataset in listed - held:
        catalogue.remove(dataset)
    fresh = held if every else held - listed
    for dataset in fresh:
        index(catalogue, storage, dataset)
    return len(fresh) + len(listed - held)


def read_record(storage: Storage, dataset: str) -> Record:
    """The record of a committed dataset. Raises Unknown, ValidationError."""
    return Record.model_validate_json(storage.file(dataset, RECORD).read_bytes())


def _entry(dataset: str, files: int, record: Record) -> Entry:
    bare = _bare(dataset, files, None)
    said = (record.site, record.instrument)
    placed = (bare.site, bare.instrument)
    objective = next((part for part in record.hardware.components if _is_objective(part.kind, part.id, record)), None)
    return bare.model_copy(
        update={
            "id": record.id,
            "name": record.name,
            "started_at": record.started_at,
            "finished_at": record.finished_at,
            "finish_reason": record.finish_reason,
            "frames": record.actual.frames,
            "frames_planned": record.planned.frames,
            "bytes": sum(file.size for file in record.files) if record.files else None,
            "user": _word(record.session.user),
            "project": _word(record.session.project),
            "sample": _word(record.session.sample),
            "objective": (objective.label or _word(objective.attributes.get("Model"))) if objective else None,
            "channels": [channel.name for channel in record.channels],
            "completeness": record.completeness,
            "problem": f"its record names {'/'.join(said)}" if said != placed else None,
        }
    )


def _is_objective(kind: str, component: str, record: Record) -> bool:
    in_use = record.hardware.in_use
    return kind == "Objective" and (not in_use or component in in_use)


def _bare(dataset: str, files: int, problem: str | None) -> Entry:
    """What the place alone says."""
    site, instrument, year, month, day, leaf = dataset.split("/")
    started, _, rest = leaf.partition("_")
    name, _, id8 = rest.rpartition("_")
    started_ns = _time_ns(f"{year}{month}{day}{started}")
    return Entry(
        dataset=dataset,
        id=id8,
        site=site,
        instrument=instrument,
        name=name or rest,
        started_ns=started_ns,
        started_at=iso(started_ns) if started_ns else None,
        files=files,
        problem=problem,
    )


def _time_ns(digits: str) -> int:
    try:
        when = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(when.timestamp()) * 10**9


def _word(captured: Captured | None) -> str | None:
    return str(captured.value) if captured is not None and captured.value is not None else None


def _text(record: Record) -> str:
    words = [record.software.get("name", ""), record.finish_reason]
    words += [part.label for part in record.hardware.components if part.label]
    words += [file.path.rpartition("/")[2] for file in record.files if file.role == "data"]
    return " ".join(words)[:_MAX_TEXT]
