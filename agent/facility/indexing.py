"""From a committed dataset to its row: the record says what, the place says whose and when."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import ValidationError

from agent.clock import iso
from agent.contract.layout import RECORD
from agent.contract.record import Captured, Metric, Record, Tier
from agent.errors import Rejected
from agent.facility.amendments import amended
from agent.facility.catalogue import Catalogue, Measurement
from agent.facility.refusal import Unknown
from agent.facility.search import Entry, QcStatus
from agent.facility.storage import Storage

log = logging.getLogger(__name__)

_MAX_TEXT = 8000
_WORST: tuple[QcStatus, ...] = ("fail", "overdue", "pass")


def index(catalogue: Catalogue, storage: Storage, dataset: str) -> None:
    """Write the row of a dataset. Raises Retryable, Unknown, Damaged for a manifest that cannot be read."""
    files = len(storage.manifest(dataset))
    try:
        record = read_record(storage, dataset)
    except Unknown:
        catalogue.put(_bare(dataset, files, f"it has no {RECORD}"))
    except ValidationError as error:
        where = ".".join(str(level) for level in error.errors(include_url=False)[0]["loc"]) or "the whole"
        catalogue.put(_bare(dataset, files, f"{RECORD} cannot be read: {where}"))
    else:
        entry = amended(storage, _entry(dataset, files, record))
        catalogue.put(entry, _text(record), _measured(entry, record))


def reconcile(catalogue: Catalogue, storage: Storage, every: bool = False) -> int:
    """Bring the catalogue in line with the datasets; `every` reads them all again. How many rows changed."""
    held, listed = set(storage.datasets()), catalogue.datasets()
    for dataset in listed - held:
        catalogue.remove(dataset)
    fresh = held if every else held - listed
    for dataset in fresh:
        _try_index(catalogue, storage, dataset)
    return len(fresh) + len(listed - held)


def _try_index(catalogue: Catalogue, storage: Storage, dataset: str) -> None:
    """One dataset that nobody can read must not keep the others out; the check of its bytes tells why."""
    try:
        index(catalogue, storage, dataset)
    except Rejected as error:
        log.warning("%s cannot be read: %s", dataset, error)
        catalogue.put(_bare(dataset, 0, str(error)))


def read_record(storage: Storage, dataset: str) -> Record:
    """The record of a committed dataset. Raises Unknown, ValidationError."""
    return Record.model_validate_json(storage.open(dataset, RECORD).all())


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
            "complete": _percent(list(record.completeness.values())),
            "qc": _worst(list(record.calibration.metrics.values())),
            "problem": f"its record names {'/'.join(said)}" if said != placed else None,
        }
    )


def _is_objective(kind: str, component: str, record: Record) -> bool:
    in_use = record.hardware.in_use
    return kind == "Objective" and (not in_use or component in in_use)


def _percent(tiers: list[Tier]) -> int | None:
    required = sum(max(0, tier.required) for tier in tiers)
    filled = sum(max(0, min(tier.filled, tier.required)) for tier in tiers)
    return 100 * filled // required if required else None


def _worst(metrics: list[Metric]) -> QcStatus:
    found = {metric.status for metric in metrics}
    return next((status for status in _WORST if status in found), "none")


def _measured(entry: Entry, record: Record) -> Iterator[Measurement]:
    for name, metric in record.calibration.metrics.items():
        if metric.value is None or not metric.measured_at or not math.isfinite(metric.value):
            continue
        yield Measurement(
            site=entry.site,
            instrument=entry.instrument,
            metric=name,
            measured_at=metric.measured_at,
            value=metric.value,
            unit=metric.unit,
            low=_finite(metric.low),
            high=_finite(metric.high),
            bound=_finite(metric.limit),
            sense=metric.limit_sense,
            # Overdue is said of a dataset, not of the measurement.
            status="pass" if metric.status == "overdue" else metric.status,
            kind=metric.kind,
        )


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


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
