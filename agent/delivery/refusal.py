"""The error of our tree for an HTTP answer that was not wanted."""

from __future__ import annotations

from agent.contract.upload import CHECKSUM_MISMATCH
from agent.delivery.retry import Later
from agent.delivery.wire import Answer
from agent.errors import Misconfigured, NoSpace, Rejected, Retryable, ScopeAgentError

_LONGEST_WAIT_S = 3600.0


def refusal(what: str, answer: Answer) -> ScopeAgentError:
    """`what` is the server, for the message. Retryable wherever the same request may succeed later."""
    said = f"{what} answered {answer.status} to {answer.method} {answer.path}: {answer.text}"
    match answer.status:
        case 401 | 403:
            return Misconfigured(f"{said} (check the credentials: expired, revoked or another instrument's?)")
        case 507:
            return NoSpace(said)
        case 429 | 503:
            return Later(said, _seconds(answer.headers.get("Retry-After", "")))
        case code if code == CHECKSUM_MISMATCH:
            return Retryable(f"{said} (a chunk arrived damaged)")
        case code if code < 400:
            # Not the server itself: a portal that asks to log in, or an answer that belongs to another request.
            return Retryable(said)
        case 404 | 408 | 409 | 410 | 412 | 423 | 425:
            return Retryable(said)
        case code if code >= 500:
            return Retryable(said)
        case _:
            return Rejected(said)


def _seconds(text: str) -> float:
    return min(float(text), _LONGEST_WAIT_S) if text.isascii() and text.isdigit() else 0.0
