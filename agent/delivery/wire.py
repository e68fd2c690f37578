"""HTTP/1.1 to one server, over connections that are kept.

A peer that crawls is given up like one that is frozen: each piece of a body and each answer has a deadline made of
the stall time and of the bytes that it carries. (A timeout for each read and write, as HTTP clients have it, never
ends while a byte comes now and then.)
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.errors import Misconfigured, Unreachable

SLOWEST = 32 << 10
"""Bytes a second below which a peer counts as stalled."""
_CONNECT_S = 10.0


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
    headers: Message
    """Names are compared without regard to case."""
    body: bytes

    @property
    def text(self) -> str:
        """The body in one short line, for messages."""
        return " ".join(self.body.decode("utf-8", "replace").split())[:300]


class Reply:
    """An answer that is still coming."""

    def __init__(self, found: http.client.HTTPResponse, limit: _Limit, stall_s: float) -> None:
        self._found, self._limit, self._stall_s = found, limit, stall_s
        self.status = found.status
        self.headers = found.headers

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        self._limit.restart(self._stall_s + size / SLOWEST)
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
        self._free: deque[_Connection] = deque()

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
        told = {"Content-Length": str(body.size if body else 0)} if body or method in ("POST", "PUT", "PATCH") else {}
        connection = self._connection()
        kept = False
        try:
            found = self._begin(connection, method, path, {**told, **(headers or {})}, body, patience_s)
            yield Reply(found, connection.limit, self._stall_s)
            kept = found.isclosed() and not found.will_close
        except (OSError, http.client.HTTPException) as error:
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

    def _begin(
        self,
        connection: _Connection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Body | None,
        patience_s: float,
    ) -> http.client.HTTPResponse:
        if body and body.once:
            connection.close()
        again = connection.sock is not None
        try:
            return self._exchange(connection, method, path, headers, body, patience_s)
        except (ConnectionError, http.client.RemoteDisconnected):
            connection.close()
            if not again:
                raise
        # The server had closed a connection that rested: that tells nothing of this request.
        return self._exchange(connection, method, path, headers, body, patience_s)

    def _exchange(
        self,
        connection: _Connection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Body | None,
        patience_s: float,
    ) -> http.client.HTTPResponse:
        connection.limit.restart(self._stall_s)
        if connection.sock is None:
            connection.connect()
        connection.putrequest(method, self.prefix + path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        refused: OSError | None = None
        try:
            connection.endheaders()
            for piece in body.pieces if body else ():
                connection.limit.restart(self._stall_s + len(piece) / SLOWEST)
                connection.push(piece)
        except (BrokenPipeError, ConnectionResetError) as error:
            # A server that refuses may close before it read everything; its answer is worth more than the error.
            refused = error
        connection.limit.restart(self._stall_s + patience_s)
        try:
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise (refused or error) from None

    def _connection(self) -> _Connection:
        try:
            return self._free.pop()
        except IndexError:
            return _Connection(self._address, self._tls, min(_CONNECT_S, self._stall_s))

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            return Unreachable(f"{self.what} stalled: it did not take or send enough in time")
        return Unreachable(f"{self.what} cannot be reached: {error or type(error).__name__}")


class _Limit:
    """When the peer must be done; shared by everything that waits for it."""

    def __init__(self) -> None:
        self._end = 0.0

    def restart(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


class _Timed(io.RawIOBase):
    """The receiving side of a socket under a limit."""

    def __init__(self, sock: socket.socket, limit: _Limit) -> None:
        self._sock, self._limit = sock, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._limit.left())
        return self._sock.recv_into(buffer)


class _Connection(http.client.HTTPConnection):
    """A connection whose every wait ends with its limit."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None, connect_s: float) -> None:
        super().__init__(*address, timeout=connect_s)
        self.limit = _Limit()
        self._tls = tls
        self.default_port = 443 if tls else 80

    def connect(self) -> None:
        super().connect()
        # A router that forgets a connection tells nobody.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

    def push(self, piece: bytes) -> None:
        """Send; a timeout of sendall is one for all bytes, not for each write."""
        self.sock.settimeout(self.limit.left())
        self.sock.sendall(piece)

    def response_class(self, _sock: Any, *arguments: Any, **named: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        return http.client.HTTPResponse(_Opener(self.sock, self.limit), *arguments, **named)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Opener:
    """What an HTTPResponse needs of a socket."""

    sock: socket.socket
    limit: _Limit

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self.sock, self.limit), 1 << 16)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"delivery.ca_file {ca_file} holds no certificates (PEM): {error}") from error
    return context
