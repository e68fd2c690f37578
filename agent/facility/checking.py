"""Compares what is stored with the manifests, one dataset after the other, for as long as the facility runs."""

from __future__ import annotations

import logging
import threading

from agent.clock import Clock, SystemClock
from agent.contract.upload import CommitAnswer
from agent.errors import Rejected, ScopeAgentError
from agent.facility.catalogue import Catalogue
from agent.facility.comparing import told
from agent.facility.quarantine import Quarantine
from agent.facility.refusal import Unknown
from agent.facility.storage import Storage

log = logging.getLogger(__name__)

_DAY_NS = 86_400 * 10**9
_LOOK_S = 10.0
_REST = 3.0
"""Times as long as a check took: reading everything must leave the disks to the others."""


class Checker:
    """A thread. Datasets that nobody here has hashed yet come first; others again after `recheck_days`."""

    def __init__(
        self,
        catalogue: Catalogue,
        storage: Storage,
        quarantine: Quarantine,
        recheck_days: float,
        clock: Clock | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._storage = storage
        self._quarantine = quarantine
        self._age_ns = int(recheck_days * _DAY_NS)
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="facility-check", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    def stop(self) -> None:
        """Returns soon: a check that goes on reads on in a thread that ends with the process."""
        self._stop.set()
        self._woken.set()
        self._thread.join(2)

    def check(self, dataset: str) -> CommitAnswer:
        """Hash what is stored now; quarantine follows from what is found. Raises Unknown, Retryable."""
        try:
            answer = self._storage.verify(dataset)
        except Unknown:
            self._catalogue.remove(dataset)
            self._quarantine.end(dataset)
            raise
        except (Rejected, OSError) as error:
            self._quarantine.add(dataset, f"it cannot be read: {error}", stored=True)
            self._catalogue.checked(dataset, self._clock.now_ns())
            raise
        if not answer.verified and self._storage.is_committed(dataset):
            self._quarantine.add(dataset, told(answer), stored=True)
        elif answer.verified:
            self._quarantine.end(dataset)
        self._catalogue.checked(dataset, self._clock.now_ns())
        return answer

    def _run(self) -> None:
        while not self._stop.is_set():
            self._woken.clear()
            seconds = self._one()
            if seconds is None:
                self._woken.wait(_LOOK_S)
            else:
                self._stop.wait(min(600.0, _REST * seconds))

    def _one(self) -> float | None:
        """Check one dataset; how long it took, None where there was nothing to do."""
        began = self._clock.monotonic()
        try:
            dataset = self._catalogue.unchecked(self._clock.now_ns() - self._age_ns)
            if dataset is None:
                return None
            self.check(dataset)
        except Rejected as error:
            log.warning("%s", error)
        except (ScopeAgentError, OSError):
            log.exception("the check of a dataset did not finish: going on later")
            return None
        return self._clock.monotonic() - began
