"""The catalogue made again, from the datasets alone."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import Rejected
from agent.facility.app import open_storage
from agent.facility.catalogue import Catalogue
from agent.facility.checking import Checker
from agent.facility.indexing import reconcile
from agent.facility.quarantine import Quarantine
from agent.facility.settings import Settings


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What is in the catalogue now."""

    datasets: int
    quarantined: int


def rebuild(settings: Settings, *, verify: bool) -> Rebuilt:
    """Read every dataset of the store; `verify`: hash it too. Raises Misconfigured, Retryable."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    storage, catalogue = open_storage(settings), Catalogue(settings.catalogue)
    try:
        quarantine = Quarantine(catalogue, storage, settings.prefix)
        reconcile(catalogue, storage, every=True)
        quarantine.restore()
        if verify:
            checker = Checker(catalogue, storage, quarantine, settings.recheck_days)
            for dataset in sorted(catalogue.datasets()):
                _check(checker, dataset)
        return Rebuilt(len(catalogue.datasets()), len(catalogue.quarantined()))
    finally:
        catalogue.close()


def _check(checker: Checker, dataset: str) -> None:
    try:
        checker.check(dataset)
    except (Rejected, OSError):
        return  # It is in quarantine, with the reason.
