"""What the facility says no with: one class for each answer, so that storage knows nothing of HTTP but a number."""

from __future__ import annotations

from agent.contract.upload import CHECKSUM_MISMATCH
from agent.errors import Rejected


class Refusal(Rejected):
    """The request cannot be served; `status` is the HTTP status that says so."""

    status = 400


class Unauthenticated(Refusal):
    """No token, or one that is not known (any more)."""

    status = 401


class Foreign(Refusal):
    """The token belongs to another instrument."""

    status = 403


class Unknown(Refusal):
    """No such upload, dataset or file."""

    status = 404


class Stalled(Refusal):
    """The sender stopped sending."""

    status = 408


class Conflict(Refusal):
    """The request does not fit what the facility holds."""

    status = 409


class OtherVersion(Refusal):
    """Not tus 1.0."""

    status = 412


class TooLarge(Refusal):
    """More bytes than allowed or announced."""

    status = 413


class NotTus(Refusal):
    """A body that is not a tus chunk."""

    status = 415


class WrongChecksum(Refusal):
    """The chunk that arrived is not the chunk that was sent."""

    status = CHECKSUM_MISMATCH


class TooMany(Refusal):
    """A limit on concurrent use is reached."""

    status = 503
