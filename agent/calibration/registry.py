"""The registry: every result ever recorded, one JSON line each, appended and synced, never rewritten."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from agent.calibration.entry import Entry, time_of
from agent.calibration.result import Frozen, Kind
from agent.calibration.settings import CalibrationSettings
from agent.clock import utc
from agent.errors import Busy, Damaged, NoSpace, Rejected, Retryable
from agent.lock import FolderLock

log = logging.getLogger(__name__)

FILE = "calibrations.jsonl"
_PATIENCE_S = 5.0


class Due(Frozen):
    """Something that must be measured again. `entry` is None where it never was."""

    kind: Kind
    what: str
    since: str | None
    days: float | None = Field(description="Days overdue; negative: still that many days to go.")
    entry: str | None


class Registry:
    """Open with `Registry.open`; may be used from any thread, and beside other processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Entry] = {}
        self._read_to = 0
        self._mutex = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Registry:
        """The registry in file `path`, or in `path/calibrations.jsonl` of a folder; made at the first `add`."""
        registry = cls(path / FILE if path.suffix != ".jsonl" else path)
        registry.entries()
        return registry

    def entries(self) -> list[Entry]:
        """Every entry in the order in which it was recorded, corrected ones too."""
        with self._mutex:
            self._read()
            return list(self._entries.values())

    def get(self, entry_id: str) -> Entry:
        """The entry whose id is, or ends with, the text; Rejected when there is not exactly one."""
        ending = entry_id.replace("-", "")
        found = [entry for entry in self.entries() if entry.id.replace("-", "").endswith(ending)]
        if len(found) != 1:
            raise Rejected(f"{entry_id}: {len(found)} calibrations have this id; see 'calibrations list'")
        return found[0]

    def add(self, entry: Entry) -> Entry:
        """Append an entry; the same data analysed again gives back the entry that is already there."""
        return self.add_all([entry])[0]

    def add_all(self, entries: Iterable[Entry]) -> list[Entry]:
        """Append entries, all of them with one sync. Rejected when a correction names no entry."""
        with self._mutex, self._locked():
            self._read()
            kept, new = [], []
            for entry in entries:
                known = self._same(entry)
                if known is None:
                    if entry.corrects is not None and entry.corrects not in self._entries:
                        raise Rejected(f"there is no calibration {entry.corrects} to correct")
                    new.append(entry)
                    self._entries[entry.id] = entry
                kept.append(known or entry)
            try:
                self._append(new)
            except OSError as error:
                for entry in new:
                    self._entries.pop(entry.id, None)
                kind = NoSpace if error.errno in (28, 122) else Retryable
                raise kind(f"{self._path} cannot be written: {error.strerror or error}") from error
            return kept

    def in_force(self, at_ns: int | None = None) -> list[Entry]:
        """Of each slot the entry measured last before `at_ns` and not corrected by another one since."""
        at = utc(at_ns) if at_ns is not None else None
        every = self.entries()
        replaced = {entry.corrects for entry in every if entry.corrects}
        latest: dict[tuple[object, ...], Entry] = {}
        for entry in every:
            if entry.id in replaced or not entry.metrics or (at is not None and time_of(entry.measured_at) > at):
                continue
            known = latest.get(entry.slot)
            if known is None or time_of(entry.measured_at) >= time_of(known.measured_at):
                latest[entry.slot] = entry
        return list(latest.values())

    def due(self, now_ns: int, policy: CalibrationSettings) -> list[Due]:
        """What is in force with its time to go, longest overdue first, and what the policy requires and nobody did."""
        now = utc(now_ns)
        found = []
        present = self.in_force(now_ns)
        for entry in present:
            days = (now - time_of(entry.due_at)).total_seconds() / 86_400
            found.append(
                Due(kind=entry.kind, what=about(entry), since=entry.due_at, days=round(days, 2), entry=entry.id)
            )
        missing = [kind for kind in policy.require if kind not in {entry.kind for entry in present}]
        never = [Due(kind=kind, what=f"{kind}: never measured", since=None, days=None, entry=None) for kind in missing]
        return [*never, *sorted(found, key=lambda due: -(due.days or 0))]

    def export(self) -> dict[str, Any]:
        """Everything as one JSON document."""
        entries = [entry.model_dump(mode="json", exclude_none=True) for entry in self.entries()]
        return {"schema": "scope-agent calibrations", "version": 1, "entries": entries}

    def load(self, document: dict[str, Any]) -> int:
        """Add the entries of an exported document that are not here yet; how many. Rejected when it is none."""
        try:
            entries = [Entry.model_validate(one) for one in document["entries"]]
        except (KeyError, TypeError, ValidationError) as error:
            raise Rejected(f"this is no export of calibrations: {str(error).splitlines()[0]}") from error
        known = {entry.id for entry in self.entries()}
        new = [entry for entry in entries if entry.id not in known]
        return sum(kept.id not in known for kept in self.add_all(new))

    # The file

    def _locked(self) -> FolderLock:
        return _Patient(self._path.parent, "calibrations")

    def _same(self, entry: Entry) -> Entry | None:
        """The entry that holds the same result of the same data.

        What a person found in them with other parameters, or after the first result was taken back, is new.
        """
        if entry.id in self._entries:
            return self._entries[entry.id]
        if not entry.inputs or entry.corrects:
            return None
        alike = [e for e in self._entries.values() if e.slot == entry.slot and e.inputs == entry.inputs]
        if entry.acquisition is None:
            replaced = {known.corrects for known in self._entries.values()}
            alike = [e for e in alike if e.id not in replaced and e.values == entry.values]
        return next((known for known in alike if not known.corrects), None)

    def _read(self) -> None:
        """Read what was appended since the last time, up to the last whole line."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_to)
                text = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise Retryable(f"{self._path} cannot be read: {error.strerror or error}") from error
        whole = text[: text.rfind(b"\n") + 1]
        for line in whole.splitlines():
            if line.strip():
                self._take(line)
        self._read_to += len(whole)

    def _take(self, line: bytes) -> None:
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError as error:
            # A line that a power cut tore must not cost the others.
            reason = Damaged(f"{self._path} holds a damaged line: {str(error).splitlines()[0]}")
            log.warning("%s", reason, extra={"action": "calibration.damaged"})
            return
        self._entries[entry.id] = entry

    def _append(self, entries: list[Entry]) -> None:
        if not entries:
            return
        lines = [json.dumps(e.model_dump(mode="json", exclude_none=True), ensure_ascii=False) + "\n" for e in entries]
        with self._path.open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())


class _Patient(FolderLock):
    """Another process appends for milliseconds: wait for it."""

    def __enter__(self) -> FolderLock:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return super().__enter__()
            except Busy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def about(entry: Entry) -> str:
    """What an entry holds for, in words."""
    held = entry.holds_for
    parts = [held.objective, held.camera, " to ".join(held.channels) or None, entry.series]
    return f"{entry.kind}: {', '.join(part for part in parts if part) or entry.instrument}"
