"""Thumbnails of datasets: made here, one after the other, never while the instrument that sent them acquires."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.clock import Clock, SystemClock, iso
from agent.errors import ScopeAgentError
from agent.facility.indexing import read_record
from agent.facility.naming import owner_of
from agent.facility.storage import Storage

log = logging.getLogger(__name__)

_FOLDER = "previews"
_MAX_WAITING = 5000
_LOOK_S = 2.0
VERSION = 1


class Thumbnail(BaseModel):
    """A picture of a channel: `low` and `high` are the counts shown as black and white."""

    model_config = ConfigDict(frozen=True)

    name: str
    file: str
    width: int
    height: int
    low: float | None = None
    high: float | None = None


class Preview(BaseModel):
    """The thumbnails of a dataset; `problem` says why there are none, or not all."""

    model_config = ConfigDict(frozen=True)

    version: int = VERSION
    made_at: str
    thumbnails: list[Thumbnail] = []
    problem: str | None = None


class Previews:
    """A thread with a queue; what is in it is lost with the process, and asked for again when somebody looks."""

    def __init__(self, storage: Storage, is_acquiring: Callable[[str], bool], clock: Clock | None = None) -> None:
        self._storage = storage
        self._is_acquiring = is_acquiring
        self._clock = clock or SystemClock()
        self._waiting: queue.Queue[str | None] = queue.Queue(_MAX_WAITING)
        self._known: set[str] = set()
        self._later: dict[str, None] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="facility-previews", daemon=True)
        self.on_made: Callable[[str], None] = lambda dataset: None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def of(self, dataset: str) -> Preview | None:
        """The preview of a dataset; None where it is to be made, which is begun then."""
        text = self._storage.note(f"{_FOLDER}/{dataset}/index.json")
        try:
            known = Preview.model_validate_json(text) if text else None
        except ValidationError:
            known = None
        if known is None or known.version != VERSION:
            self.want(dataset)
            return None
        return known

    def picture(self, dataset: str, number: int) -> bytes | None:
        """A thumbnail as PNG."""
        return self._storage.note(f"{_FOLDER}/{dataset}/{number}.png")

    def want(self, dataset: str) -> None:
        """Make the preview when there is time; where very many wait, somebody has to look first."""
        if dataset not in self._known and len(self._known) < _MAX_WAITING:
            self._known.add(dataset)
            self._waiting.put_nowait(dataset)

    def is_waiting(self, dataset: str) -> bool:
        """Is the preview put off until the instrument is idle?"""
        return self._is_acquiring(owner_of(dataset))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                dataset = self._waiting.get(timeout=_LOOK_S / 4)
            except queue.Empty:
                dataset = None
            if dataset is not None:
                self._later[dataset] = None
            ready = next((one for one in self._later if not self._is_acquiring(owner_of(one))), None)
            if ready is not None:
                del self._later[ready]
                self._make(ready)
                self._known.discard(ready)

    def _make(self, dataset: str) -> None:
        from agent.facility.thumbnails import draw

        try:
            names = [channel.name for channel in read_record(self._storage, dataset).channels]
        except (ScopeAgentError, ValueError):
            names = []
        try:
            pictures, problem = draw(self._storage, dataset, names)
            thumbnails = []
            for number, picture in enumerate(pictures):
                self._storage.keep_note(f"{_FOLDER}/{dataset}/{number}.png", picture.png)
                thumbnails.append(Thumbnail.model_validate(picture.said))
            made_at = iso(self._clock.now_ns())
            preview = Preview(made_at=made_at, thumbnails=thumbnails, problem=problem)
            self._storage.keep_note(f"{_FOLDER}/{dataset}/index.json", preview.model_dump_json().encode())
        except (ScopeAgentError, OSError) as error:
            log.warning("no preview of %s: %s", dataset, error)
        else:
            self.on_made(dataset)
