"""HTTP/1.1 to one server, over connections that are kept.

A peer that crawls is given up like one that is frozen: each piece of a body and each answer has a deadline made of
the stall time and of the bytes that it carries. (A timeout for each read and write, as HTTP clients have it, never
ends while a byte comes now and then.)
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from agent.delivery.http11 import Connection, Headers, NotHttp, Response, head
from agent.errors import Misconfigured, Unreachable

SLOWEST = 32 << 10
"""Bytes a second below which a peer counts as stalled."""
_CONNECT_S = 10.0
_TOGETHER = 1 << 20
"""Most that goes out by one write; a first piece up to this size goes with the head."""


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes to send, in pieces that are not copied together."""

    pieces: Iterable[bytes] = ()
    size: int = 0
    once: bool = False
    """The pieces can be taken only once, so that the request cannot be repeated."""

    @classmethod
    def of(cls, *pieces: bytes) -> Body:
        return cls(pieces, sum(map(len, pieces)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    method: str
    path: str
    status: int
    headers: Headers
    """Names are compared without regard to case."""
    body: bytes

    @property
    def text(self) -> str:
        """The body in one short line, for messages."""
        return " ".join(self.body.decode("utf-8", "replace").split())[:300]


class Reply:
    """An answer that is still coming."""

    def __init__(self, connection: Connection, found: Response, stall_s: float) -> None:
        self._found, self._limit, self._stall_s = found, connection.limit, stall_s
        self.status = found.status
        self.headers = found.headers

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        self._limit.restart(self._stall_s + self._found.expected(size) / SLOWEST)
        return self._found.read(size)

    def all(self) -> bytes:
        """The whole body, which must be small."""
        pieces = []
        while piece := self.read(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)


class Wire:
    """May be used by several threads. Raises Unreachable when the server does not answer, or not in time."""

    def __init__(self, url: str, what: str, stall_s: float, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self.what = f"{what} at {parts.scheme}://{parts.netloc}"
        self.prefix = parts.path.rstrip("/")
        self._address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        self._stall_s = stall_s
        self._tls = _tls(ca_file) if parts.scheme == "https" else None
        self._free: deque[Connection] = deque()

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        patience_s: float = 0.0,
    ) -> Answer:
        """One request. `patience_s` is added to the deadline where the server has much to do before it answers."""
        with self.asked(method, path, headers=headers, body=body, patience_s=patience_s) as reply:
            return Answer(method, path, reply.status, reply.headers, reply.all())

    @contextmanager
    def asked(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        patience_s: float = 0.0,
    ) -> Iterator[Reply]:
        """Like `ask`, for an answer that is read piece by piece inside the block."""
        connection = self._connection()
        kept = False
        try:
            found = self._begin(connection, method, self._head(method, path, headers or {}, body), body, patience_s)
            yield Reply(connection, found, self._stall_s)
            kept = found.ended and not found.closes
        except OSError as error:
            raise self._unreachable(error) from error
        finally:
            if kept:
                self._free.append(connection)
            else:
                connection.close()

    def begin(self, lines: bytes, body: bytes) -> Callable[[], Answer | None]:
        """Send the head and body of a PUT and return before it is answered.

        What it returns waits for the answer, and must be called: None when the connection was lost, which tells
        nothing of the request. Its time runs from now on; an answer that has come is never late.
        """
        connection = self._connection()
        try:
            if connection.open and not connection.rests():
                connection.close()
            if not connection.open:
                connection.limit.restart(self._stall_s)
                connection.connect()
            connection.limit.restart(self._stall_s + len(body) / SLOWEST)
            connection.push(lines, body)
        except OSError as error:
            connection.close()
            if not isinstance(error, ConnectionError):
                raise self._unreachable(error) from error
        connection.limit.restart(self._stall_s)
        return partial(self._end, connection)

    def _end(self, connection: Connection) -> Answer | None:
        kept = False
        try:
            if not connection.open:
                return None
            found = connection.response("PUT")
            body = b"" if found.ended else Reply(connection, found, self._stall_s).all()
            kept = not found.closes
            return Answer("PUT", "", found.status, found.headers, body)
        except (ConnectionError, NotHttp):
            return None
        except OSError as error:
            raise self._unreachable(error) from error
        finally:
            if kept:
                self._free.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """End all connections."""
        while self._free:
            self._free.pop().close()

    def _head(self, method: str, path: str, headers: Mapping[str, str], body: Body | None) -> bytes:
        told = dict(headers)
        if body or method in ("POST", "PUT", "PATCH"):
            told["Content-Length"] = str(body.size if body else 0)
        try:
            return head(method, self.prefix + path, self.host, told)
        except ValueError as error:
            raise Misconfigured(
                f"{self.what} cannot be asked: is there a line end in a token or a name? {error}"
            ) from error

    def _begin(
        self, connection: Connection, method: str, lines: bytes, body: Body | None, patience_s: float
    ) -> Response:
        if connection.open and ((body and body.once) or not connection.rests()):
            connection.close()
        again = connection.open
        try:
            return self._exchange(connection, method, lines, body, patience_s)
        except ConnectionError:
            connection.close()
            if not again:
                raise
        # The server had closed a connection that rested: that tells nothing of this request.
        return self._exchange(connection, method, lines, body, patience_s)

    def _exchange(
        self, connection: Connection, method: str, lines: bytes, body: Body | None, patience_s: float
    ) -> Response:
        connection.limit.restart(self._stall_s)
        if not connection.open:
            connection.connect()
        refused: OSError | None = None
        try:
            for pieces in _together(lines, body):
                connection.limit.restart(self._stall_s + len(pieces[-1]) / SLOWEST)
                connection.push(*pieces)
        except (BrokenPipeError, ConnectionResetError) as error:
            # A server that refuses may close before it read everything; its answer is worth more than the error.
            refused = error
        connection.limit.restart(self._stall_s + patience_s)
        try:
            return connection.response(method)
        except OSError as error:
            raise (refused or error) from None

    def _connection(self) -> Connection:
        try:
            return self._free.pop()
        except IndexError:
            return Connection(self._address, self._tls, min(_CONNECT_S, self._stall_s))

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            return Unreachable(f"{self.what} stalled: it did not take or send enough in time")
        return Unreachable(f"{self.what} cannot be reached: {error or type(error).__name__}")


def _together(lines: bytes, body: Body | None) -> Iterator[tuple[bytes | memoryview, ...]]:
    """The head, with the first piece of the body where that is small."""
    pieces = iter(body.pieces if body else ())
    first = next(pieces, b"")
    if len(first) <= _TOGETHER:
        yield (lines, first) if first else (lines,)
    else:
        yield (lines,)
        pieces = chain((first,), pieces)
    for piece in pieces:
        if len(piece) <= _TOGETHER:
            yield (piece,)
            continue
        # Each piece that is sent has its own limit: that of a large one would be minutes.
        view = memoryview(piece)
        for at in range(0, len(piece), _TOGETHER):
            yield (view[at : at + _TOGETHER],)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"delivery.ca_file {ca_file} holds no certificates (PEM): {error}") from error
    return context
