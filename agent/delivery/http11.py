"""One HTTP/1.1 connection whose every wait ends with a limit.

The standard client spends a tenth of a millisecond a request on objects for headers: with tens of thousands of small
files that was a third of the whole cost. Here a head goes out in one piece with its body and an answer's head is read
line by line.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")

_LINE = 1 << 16
_LINES = 200
_RTT = struct.Struct("@68xI")
"""The round trip in `struct tcp_info` (microseconds)."""
_NEAR_US = 500
_NEAR_HOLDS = 384 << 10
"""Bytes: 800 MB/s over the longest way that is called near."""
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?\r?\n")


class NotHttp(OSError):
    """What came is no HTTP answer."""


class Headers(dict[str, str]):
    """By name, without regard to case: names are kept in lower case."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def told(self, name: str) -> str | None:
        """The value; None where there is no such header."""
        return super().get(name.lower())

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        """The value, or `default`."""
        return super().get(name.lower(), default)


class Limit:
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


class Connection:
    """Used by one thread at a time; `open` is False until the first request and after `close`."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None, connect_s: float) -> None:
        self.limit = Limit()
        self.open = False
        self._address, self._tls, self._connect_s = address, tls, connect_s
        self._socket: socket.socket
        self._incoming: Incoming

    def connect(self) -> None:
        """Raises OSError."""
        made = socket.create_connection(self._address, timeout=self._connect_s)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A router that forgets a connection tells nobody.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        _hold_little(made)
        if self._tls is not None:
            made = self._tls.wrap_socket(made, server_hostname=self._address[0])
        # Where something waits, it sets a limit for as long as it does: mostly nothing does.
        made.settimeout(0)
        self._socket = made
        self._incoming = Incoming(made, self.limit)
        self.open = True

    def rests(self) -> bool:
        """Nothing has come since the last answer: what has would be taken for the answer to the next request."""
        return self._incoming.nothing()

    def close(self) -> None:
        """May be repeated."""
        if self.open:
            self.open = False
            self._socket.close()

    def push(self, *pieces: bytes | memoryview) -> None:
        """Send; the limit is one for all of them, not for each write."""
        sent = 0
        if len(pieces) > 1 and self._tls is None and hasattr(self._socket, "sendmsg"):
            with suppress(BlockingIOError):
                sent = self._socket.sendmsg(pieces)
        for piece in pieces:
            if sent >= len(piece):
                sent -= len(piece)
                continue
            self._socket.settimeout(self.limit.left())
            try:
                self._socket.sendall(memoryview(piece)[sent:] if sent else piece)
            finally:
                self._socket.settimeout(0)
            sent = 0

    def response(self, method: str) -> Response:
        """The head of the answer. Raises NotHttp, and OSError when the peer is gone or too slow."""
        while True:
            line = self._incoming.line()
            match = _STATUS.fullmatch(line)
            if match is None:
                raise (
                    ConnectionResetError("the peer closed the connection")
                    if not line
                    else NotHttp(f"no HTTP answer: {line[:60]!r}")
                )
            headers = self._incoming.headers() or self._headers()
            status = int(match[1])
            if status >= 200:
                return Response(self._incoming, method, status, headers, old=line.startswith(b"HTTP/1.0"))

    def _headers(self) -> Headers:
        found = Headers()
        for _ in range(_LINES):
            line = self._incoming.line()
            if line in (b"\r\n", b"\n"):
                return found
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                break
            found[name.strip().lower()] = value.strip()
        raise NotHttp("the head of the answer does not end as it should")


def _hold_little(made: socket.socket) -> None:
    """To a peer that is near, hold no more than its line takes: megabytes under way would only leave the processor's
    cache, which costs an eighth more time. Far away they keep the line full, and the system knows how many (Linux).
    """
    if hasattr(socket, "TCP_INFO"):
        known = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.size)
        if len(known) == _RTT.size and _RTT.unpack(known)[0] < _NEAR_US:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _NEAR_HOLDS)


class Incoming:
    """What has come over a socket and was not taken yet; it waits no longer than the limit allows."""

    def __init__(self, sock: socket.socket, limit: Limit) -> None:
        self._sock, self._limit = sock, limit
        self._held = b""
        self._at = 0

    def nothing(self) -> bool:
        """The peer has sent nothing more and has not closed."""
        if self._at < len(self._held):
            return False
        try:
            self._held, self._at = self._sock.recv(1), 0
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def headers(self) -> Headers | None:
        """All headers and the empty line, where they have come together and are written as usual; mostly they are."""
        end = self._held.find(b"\r\n\r\n", self._at)
        if end < 0:
            return None
        found = Headers()
        lines = self._held[self._at : end].decode("latin-1").split("\r\n")
        if len(lines) >= _LINES:
            return None
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or "\n" in line:
                return None
            found[name.strip().lower()] = value.strip()
        self._at = end + 4
        return found

    def line(self) -> bytes:
        """With its end; without one where the peer closed, or after 64 KiB."""
        while True:
            end = self._held.find(b"\n", self._at) + 1
            if end or len(self._held) - self._at > _LINE:
                break
            more = self._received()
            if not more:
                end = len(self._held)
                break
            self._held, self._at = self._held[self._at :] + more, 0
        begin, self._at = self._at, end or len(self._held)
        return self._held[begin : self._at]

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only where the peer closed."""
        held = self._held[self._at : self._at + size]
        self._at += len(held)
        if len(held) == size:
            return held
        into = bytearray(size)
        into[: len(held)] = held
        at, view = len(held), memoryview(into)
        while at < size and (got := self._waited(self._sock.recv_into, view[at:])):
            at += got
        return bytes(view[:at])

    def _received(self) -> bytes:
        return self._waited(self._sock.recv, _LINE)

    def _waited(self, receive: Callable[[A], R], argument: A) -> R:
        try:
            return receive(argument)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._sock.settimeout(self._limit.left())
        try:
            return receive(argument)
        finally:
            self._sock.settimeout(0)


class Response:
    """An answer whose body is still to be read."""

    def __init__(self, incoming: Incoming, method: str, status: int, headers: Headers, *, old: bool) -> None:
        self.status, self.headers = status, headers
        self.ended = False
        """The whole body was read."""
        self.closes = old or "close" in headers.get("connection").lower()
        """The connection cannot be used again."""
        self._incoming = incoming
        self._chunked = "chunked" in headers.get("transfer-encoding").lower()
        self._left: int | None = None
        if method == "HEAD" or status in (204, 304):
            self.ended = True
        elif not self._chunked:
            self._measured(headers.told("content-length"))

    def _measured(self, length: str | None) -> None:
        if length is None:
            self.closes = True
            return
        if not length.isascii() or not length.isdigit():
            raise NotHttp(f"no length of a body: {length[:40]!r}")
        self._left = int(length)
        self.ended = self._left == 0

    def expected(self, size: int) -> int:
        """Bytes that reading `size` waits for, as far as the peer told."""
        return size if self._left is None or self._chunked else min(size, self._left)

    def read(self, size: int) -> bytes:
        """At most `size` more bytes; empty at the end."""
        if self.ended:
            return b""
        if self._chunked and not self._left and not self._next_chunk():
            self.ended = True
            return b""
        data = self._incoming.read(size if self._left is None else min(size, self._left))
        if self._left is None:
            self.ended = not data
            return data
        if not data:
            raise ConnectionResetError("the answer ended before its end")
        self._left -= len(data)
        if not self._chunked:
            self.ended = self._left == 0
        elif not self._left:
            self._line()
        return data

    def _next_chunk(self) -> bool:
        """False when there is none: the body is at its end."""
        text = self._line().split(b";", 1)[0].strip()
        try:
            self._left = int(text, 16)
        except ValueError:
            raise NotHttp(f"no size of a chunk: {text[:40]!r}") from None
        if self._left:
            return True
        while self._line() not in (b"\r\n", b"\n"):
            continue
        return False

    def _line(self) -> bytes:
        line = self._incoming.line()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the answer ended before its end")
        return line


def head(method: str, path: str, host: str, headers: Mapping[str, str]) -> bytes:
    """Bytes of a request's head; ValueError for a name or value that would end its line."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    text = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"
    if not text.count("\r") == text.count("\n") == len(headers) + 3:
        raise ValueError(f"the head of {method} {path}")
    return text.encode("latin-1")
