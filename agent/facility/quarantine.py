"""Datasets that are not what their manifest says: listed with the reason, told as an alert, found by no search.

A note in the storage is the truth; the catalogue's list is made again from the notes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pydantic import ValidationError

from agent.clock import Clock, SystemClock, iso
from agent.contract.event import TYPE_PREFIX, UNCOUNTED, AlertData, Envelope, event_id
from agent.contract.topics import Topics
from agent.facility.catalogue import Catalogue, Quarantined
from agent.facility.naming import owner_of
from agent.facility.storage import Storage

log = logging.getLogger(__name__)

CODE = "quarantine"
_FOLDER = "quarantine"

Announce = Callable[[str, bytes], None]
"""Publishes a retained message at a topic."""


class Quarantine:
    """Adds and ends quarantines. `announce` is set by whoever has a broker."""

    def __init__(self, catalogue: Catalogue, storage: Storage, prefix: str, clock: Clock | None = None) -> None:
        self._catalogue = catalogue
        self._storage = storage
        self._prefix = prefix
        self._clock = clock or SystemClock()
        self.announce: Announce = lambda topic, payload: None

    def add(self, dataset: str, reason: str, *, stored: bool) -> None:
        """List a dataset with the reason; the same again changes nothing. Raises Retryable, NoSpace."""
        known = self._catalogue.quarantined(dataset)
        if known and (known[0].reason, known[0].stored) == (reason, stored):
            return
        site, instrument = owner_of(dataset).split("/")
        since = known[0].since if known else iso(self._clock.now_ns())
        one = Quarantined(dataset=dataset, site=site, instrument=instrument, reason=reason, since=since, stored=stored)
        log.warning("%s is in quarantine: %s", dataset, reason)
        self._storage.keep_note(_note(dataset), one.model_dump_json().encode())
        self._catalogue.isolate(one)
        self._tell(site, instrument)

    def end(self, dataset: str) -> None:
        """The dataset is as it should be, or gone. Nothing happens where it was not in quarantine."""
        if not self._catalogue.release(dataset):
            return
        self._storage.drop_note(_note(dataset))
        log.info("%s is in quarantine no more", dataset)
        site, instrument = owner_of(dataset).split("/")
        self._tell(site, instrument)

    def restore(self) -> None:
        """Bring the catalogue's list in line with the notes: after the catalogue was lost, or another replica wrote."""
        noted: dict[str, Quarantined] = {}
        for name in self._storage.notes(_FOLDER):
            try:
                one = Quarantined.model_validate_json(self._storage.note(name) or b"")
            except ValidationError:
                log.warning("the note %s cannot be read: left alone", name)
            else:
                noted[one.dataset] = one
        listed = {one.dataset: one for one in self._catalogue.quarantined()}
        for dataset, one in noted.items():
            if dataset not in listed:
                self._catalogue.isolate(one)
        for dataset in listed.keys() - noted.keys():
            self._catalogue.release(dataset)

    def tell_all(self) -> None:
        """Announce what is in quarantine: a broker may have lost it."""
        for site, instrument in {(one.site, one.instrument) for one in self._catalogue.quarantined()}:
            self._tell(site, instrument)

    def _tell(self, site: str, instrument: str) -> None:
        """One alert an instrument, retained; cleared with the last of its datasets."""
        mine = [one for one in self._catalogue.quarantined() if (one.site, one.instrument) == (site, instrument)]
        topic = Topics(site, instrument, self._prefix).alert(CODE)
        data = None
        if mine:
            more = f" (and {len(mine) - 1} more)" if len(mine) > 1 else ""
            data = AlertData(code=CODE, text=f"{mine[0].dataset} is in quarantine: {mine[0].reason}{more}"[:2000])
        told = Envelope(
            id=event_id("facility", site, instrument, CODE, data.text if data else iso(self._clock.now_ns())),
            source="/facility",
            type=f"{TYPE_PREFIX}.alert.{CODE}.v1",
            subject=f"{site}/{instrument}",
            time=mine[0].since if mine else iso(self._clock.now_ns()),
            # The facility has no place in the instrument's count.
            sequence=UNCOUNTED,
            data=data.model_dump() if data else None,
        )
        self.announce(topic, told.model_dump_json().encode())
        if data is None:
            self.announce(topic, b"")


def _note(dataset: str) -> str:
    return f"{_FOLDER}/{dataset}.json"
