"""Another version of an acquisition's files, when the target has committed the earlier one.

The target took a dataset, its answer was lost, and then the software wrote to the files again. What was committed
stays and is verified as the record there says; what the files are now becomes an acquisition of its own, as it would
have, had we heard the answer in time.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from agent.acquisition import Acquisition, State
from agent.contract.ids import derived_id
from agent.contract.record import FileEntry, Record
from agent.delivery.worker import Delivered
from agent.outbox import Entry, FileRow, NewFile, Outbox, Sent
from agent.steps.station import Station
from agent.telemetry import announce

_UNKNOWN_TIME = 0


def go_on_as_another(station: Station, entry: Entry) -> Acquisition:
    """The same run with its files as they are now, waiting for them to settle; nothing new when it is known."""
    earlier = entry.acquisition
    seen = [f"{file.name}:{file.size}:{file.mtime_ns}:{file.file_id}" for file in earlier.files]
    seen += earlier.notes
    key = hashlib.sha256("\n".join(sorted(seen)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    origin = f"{earlier.origin}+{key}"
    note = f"an earlier version of these files was delivered as {entry.dataset}"
    another = replace(
        earlier,
        id=derived_id(earlier.started_ns, station.topics.root, origin),
        origin=origin,
        state=State.SETTLING,
        notes=(*earlier.notes, note),
    )
    if station.outbox.get(another.id) is None:
        now = station.clock.now_ns()
        events = [announce.lifecycle(station.topics, another, now, event) for event in ("started", "finished")]
        station.save(another, events)
    return another


def take_as_recorded(outbox: Outbox, entry: Entry, record: Record) -> Delivered:
    """The rows become what the target holds; of their sources is known that they are no longer that."""
    rows = {row.target: row for row in outbox.files(entry.acquisition.id)}
    held = [file for file in record.files if file.path in rows]
    outbox.save(entry.acquisition, files=[_row(rows[file.path], file) for file in held])
    known = {file.path: file for file in held}
    outbox.sent(_sent(row, known[row.target]) for row in outbox.files(entry.acquisition.id))
    return Delivered(len(record.files), sum(file.size for file in record.files))


def _row(row: FileRow, file: FileEntry) -> NewFile:
    changed = row.role == "data"
    return NewFile(
        row.target,
        row.source,
        row.role,
        file.size,
        _UNKNOWN_TIME if changed else row.mtime_ns,
        "" if changed else row.file_id,
        row.description,
    )


def _sent(row: FileRow, file: FileEntry) -> Sent:
    return Sent(row, file.sha256, file.source_sha256 or file.sha256, file.size)
