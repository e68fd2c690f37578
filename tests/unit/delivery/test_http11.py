"""Answers as servers and what lies between really give them, over a real socket."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from agent.delivery import http11
from agent.delivery import wire as wire_module
from agent.delivery.wire import Body, Wire
from agent.errors import Misconfigured, Unreachable


class Peer:
    """Says `says` to each request in turn, whatever it is; closes after one that is marked so."""

    def __init__(self) -> None:
        self.says: list[tuple[bytes, bool]] = []
        self.heard: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                self.connections += 1
                if not self._talk(connection):
                    return

    def _talk(self, connection: socket.socket) -> bool:
        while True:
            heard = b""
            while b"\r\n\r\n" not in heard:
                data = connection.recv(65536)
                if not data:
                    return True
                heard += data
            self.heard.append(heard)
            if heard.startswith(b"QUIT"):
                return False
            says, close = self.says.pop(0)
            connection.sendall(says)
            if close:
                return True

    def end(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"QUIT\r\n\r\n")
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.end()


@pytest.fixture
def wire(peer: Peer) -> Iterator[Wire]:
    made = Wire(f"http://127.0.0.1:{peer.port}", "the peer", 2)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("method", "says", "close", "body", "kept"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A:  b \r\n\r\nabc", False, b"abc", True),
        ("PUT", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", False, b"", True),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n", False, b"", True),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", False, b"", True),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: x\r\n\r\n",
         False, b"abc", True),
        ("GET", b"HTTP/1.1 200 OK\r\n\r\nabc", True, b"abc", False),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", True, b"abc", False),
        ("GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", True, b"abc", False),
    ],
)  # fmt: skip
def test_bodies_end_where_they_should(peer, wire, method, says, close, body, kept) -> None:
    again = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain"
    peer.says = [(says, close), (again, False)]
    answer = wire.ask(method, "/x", headers={"A": "b"})
    assert (answer.status, answer.body) == (204 if method == "DELETE" else 200, body)
    assert answer.headers.get("x-a", "none") == ("b" if b"X-A" in says else "none")
    assert wire.ask("GET", "/y").body == b"again"
    assert peer.connections == (1 if kept else 2)
    assert peer.heard[0].startswith(f"{method} /x HTTP/1.1\r\nHost: 127.0.0.1:{peer.port}\r\nA: b\r\n".encode())


@pytest.mark.parametrize(
    "says",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000,
    ],
    ids=lambda says: says[:50].decode(),
)
def test_what_is_no_answer_is_one_error_of_ours(peer: Peer, wire: Wire, says: bytes) -> None:
    peer.says = [(says, True)]
    with pytest.raises(Unreachable, match="cannot be reached"):
        wire.ask("GET", "/x")


def test_a_connection_that_rested_and_was_closed_is_no_failure(peer: Peer, wire: Wire) -> None:
    fine = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    peer.says = [(fine, True), (fine, False)]
    wire.ask("GET", "/x")
    assert wire.ask("PUT", "/y", body=Body.of(b"a", b"b" * 3_000_000)).status == 200
    assert peer.connections == 2


def test_a_line_end_in_a_header_is_refused_before_it_is_sent(peer: Peer, wire: Wire) -> None:
    with pytest.raises(Misconfigured, match="line end"):
        wire.ask("GET", "/x", headers={"Authorization": "Bearer a\r\nX-Evil: yes"})
    assert not peer.heard


def test_an_answer_that_comes_twice_is_not_taken_for_the_next(peer: Peer, wire: Wire) -> None:
    first, second = (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name for name in (b"1", b"2"))
    peer.says = [(first * 2, False), (second, False)]
    assert wire.ask("PUT", "/x").body == b"1"
    time.sleep(0.05)
    assert wire.ask("PUT", "/y").body == b"2"
    assert peer.connections == 2


def test_a_large_piece_does_not_stretch_the_time_that_a_peer_has(monkeypatch) -> None:
    """Its kernel takes a few megabytes, then nothing: what stands still is given up after stall time and a little."""
    monkeypatch.setattr(wire_module, "SLOWEST", 1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Wire(f"http://127.0.0.1:{listener.getsockname()[1]}", "the peer", 0.5)
        began = time.monotonic()
        with pytest.raises(Unreachable, match="stalled"):
            made.ask("PUT", "/x", body=Body.of(bytes(64 << 20)))
        assert time.monotonic() - began < 10


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system tells no round trips")
@pytest.mark.parametrize("near_us", [10_000_000, 0])
def test_little_is_held_for_a_peer_that_is_near_and_only_for_that(peer: Peer, wire: Wire, monkeypatch, near_us) -> None:
    """A limit would be far too little for a store at the other end of the country."""
    made: list[socket.socket] = []
    connect = socket.create_connection

    def noting(*where, **how) -> socket.socket:
        made.append(connect(*where, **how))
        return made[-1]

    monkeypatch.setattr(socket, "create_connection", noting)
    monkeypatch.setattr(http11, "_NEAR_US", near_us)
    peer.says = [(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False)]
    wire.ask("PUT", "/x")
    (used,) = made
    with connect(("127.0.0.1", peer.port)) as plain:
        expected = plain.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    if near_us:
        # Linux doubles what it is told, up to what the system allows.
        expected = 2 * min(384 << 10, int(Path("/proc/sys/net/core/wmem_max").read_text()))
    assert used.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == expected


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[Wire, list[bytes]]]:
    """A peer with TLS that answers each of three requests when it has all of it, a few bytes at a time."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        with context.wrap_socket(listener.accept()[0], server_side=True) as peer:
            for _ in range(3):
                got = b""
                while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < 3_000_000:
                    got += peer.recv(1 << 16)
                heard.append(got.partition(b"\r\n\r\n")[2])
                for piece in (b"HTTP/1.1 200 OK\r\nCont", b"ent-Length: 6\r\n\r", b"\nab", b"cd", b"ef"):
                    peer.sendall(piece)
                    time.sleep(0.02)

    thread = threading.Thread(target=talk)
    thread.start()
    made = Wire(f"https://127.0.0.1:{listener.getsockname()[1]}", "the peer", 5, tmp_path / "ca.pem")
    yield made, heard
    thread.join()
    made.close()
    listener.close()


def test_all_of_it_over_tls(secured) -> None:
    wire, heard = secured
    body = os.urandom(3_000_000)
    assert wire.ask("PUT", "/x", body=Body.of(body[:10], body[10:])).body == b"abcdef"
    assert wire.ask("PUT", "/x", body=Body.of(body)).body == b"abcdef"
    answered = wire.begin(b"PUT /x HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n", body)
    assert answered().body == b"abcdef"
    assert heard == [body] * 3
