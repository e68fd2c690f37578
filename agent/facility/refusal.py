"""What the facility says no with. Storage knows nothing of HTTP but the number."""

from __future__ import annotations

from http import HTTPStatus

from agent.errors import Rejected


class Refusal(Rejected):
    """The request cannot be served; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = int(status)


class Unknown(Refusal):
    """No such upload, dataset or file. Callers go on without it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, HTTPStatus.NOT_FOUND)


class Conflict(Refusal):
    """The request does not fit what the facility holds. Callers may find that it holds the same already."""

    def __init__(self, message: str) -> None:
        super().__init__(message, HTTPStatus.CONFLICT)


class Forgotten(Refusal):
    """The hash of what came before a chunk is not known any more, as after a restart."""

    def __init__(self) -> None:
        super().__init__(
            "the hash so far is not known: send 'Upload-Checksum: sha256 <base64>' of the body alone",
            HTTPStatus.PRECONDITION_FAILED,
        )
