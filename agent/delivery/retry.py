"""What to do after a failure: pure in (error, attempts)."""

from __future__ import annotations

from dataclasses import dataclass

from agent.delivery.settings import DeliverySettings
from agent.errors import Rejected, Retryable, ScopeAgentError


class Later(Retryable):
    """The other side said when to come again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Never again by itself."""


def decide(error: ScopeAgentError, attempts: int, settings: DeliverySettings) -> Retry | GiveUp:
    """Rejected ends it; anything else is tried again, twice as late each time.

    A wrong token or address (Misconfigured) is retried too: nothing is lost while a human corrects it.
    """
    if isinstance(error, Rejected):
        return GiveUp()
    pause = settings.retry_first_s * 2 ** min(attempts, 30)
    if isinstance(error, Later):
        pause = max(pause, error.seconds)
    return Retry(min(pause, settings.retry_most_s))
