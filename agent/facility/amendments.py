"""What is to be read into the records of delivered datasets: events `acquisition/amended`, kept beside the datasets.

A dataset stays as it was delivered. Each amendment is a note of its own, found by its event's id, so that it may come
twice and to several replicas; a row of the catalogue is its record with all of them, in the order of their times.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.contract.event import AmendmentData, Change, Envelope
from agent.contract.ids import is_slug
from agent.facility.search import Entry
from agent.facility.storage import Storage

log = logging.getLogger(__name__)

_NOTES = "facility/amendments"
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_LISTED = ("user", "project", "sample")
_LONGEST = 300


class Amendment(BaseModel):
    """One amendment, as its event told it."""

    model_config = ConfigDict(frozen=True)

    at: str
    by: str
    reason: str | None = None
    confidence: float | None = None
    changes: list[Change]


def keep(storage: Storage, topic: str, payload: bytes) -> str | None:
    """Note an event from `.../{site}/{instrument}/acquisition/amended`; the dataset it is about, None for no event.

    An instrument amends its own datasets only: its topic says which it is. Raises Retryable, NoSpace.
    """
    *_, site, instrument, _, _ = ("", "", *topic.split("/"))
    try:
        event = Envelope.model_validate_json(payload)
        said = AmendmentData.model_validate(event.data)
    except ValidationError as error:
        log.warning("an amendment on %r is not understood: %s", topic[:200], str(error).splitlines()[0])
        return None
    named = _ID.fullmatch(said.id) and _ID.fullmatch(event.id) and is_slug(site) and is_slug(instrument)
    if not named or not said.dataset.startswith(f"{site}/{instrument}/"):
        log.warning("an amendment on %r names no acquisition of this instrument: ignored", topic[:200])
        return None
    kept = Amendment(
        at=event.time, by=said.by, reason=said.reason, confidence=said.confidence, changes=said.changes
    ).model_dump_json()
    storage.keep_note(f"{_folder(site, instrument, said.id)}/{event.id}.json", kept.encode())
    return said.dataset


def amendments(storage: Storage, entry: Entry) -> list[Amendment]:
    """All that amend the record of an entry, in the order of their times."""
    return sorted(_read(storage, entry), key=lambda one: one.at)


def amended(storage: Storage, entry: Entry) -> Entry:
    """The entry as it is to be read now."""
    said = {change.field: change.after for one in amendments(storage, entry) for change in one.changes}
    words = {name: said[f"session.{name}"] for name in _LISTED if f"session.{name}" in said}
    return entry.model_copy(
        update={name: str(word.value)[:_LONGEST] if word is not None else None for name, word in words.items()}
    )


def _read(storage: Storage, entry: Entry) -> Iterator[Amendment]:
    if not _ID.fullmatch(entry.id):
        return
    for name in storage.notes(_folder(entry.site, entry.instrument, entry.id)):
        try:
            yield Amendment.model_validate_json(storage.note(name) or b"")
        except ValidationError:
            log.warning("the note %s cannot be read", name)


def _folder(site: str, instrument: str, acquisition: str) -> str:
    return f"{_NOTES}/{site}/{instrument}/{acquisition}"
