"""A TCP proxy between an agent and a server that does what networks and servers do on bad days."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress


class Meddler:
    """Passes bytes on to `port` until told otherwise; what it does is asked anew for every piece."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.cut_after: int | None = None
        """Reset a connection after so many bytes towards the server."""
        self.frozen = False
        """Take nothing and answer nothing."""
        self.crawl_s: float | None = None
        """Pass one byte of each answer on, then wait so long."""
        self.lose: Callable[[bytes], bool] = lambda head: False
        """Asked with the head of a request: pass it on, but lose its answer."""
        self.twice = False
        """Give every answer two times."""
        self.swap = False
        """Give each of two answers that come at the same time to the other request."""
        self.say: list[bytes] = []
        """Answers to give instead of the server's, in turn."""
        self.heads: list[bytes] = []
        self.cuts = 0
        self._swapping = threading.Lock()
        self._swapped: list[tuple[bytes, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self._open += [client, server]
            state = {"lose": False, "sent": 0}
            threading.Thread(target=self._up, args=(client, server, state), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client, state), daemon=True).start()

    def _exchange(self, data: bytes, client: socket.socket) -> None:
        """Hold an answer until another comes, and give each to the other's connection; alone it goes its own way."""
        with self._swapping:
            if self._swapped:
                other, waiting = self._swapped.pop()
                with suppress(OSError):
                    waiting.sendall(data)
                client.sendall(other)
                return
            self._swapped.append((data, client))
        time.sleep(0.1)
        with self._swapping:
            if (data, client) in self._swapped:
                self._swapped.remove((data, client))
                client.sendall(data)

    def _forget(self, *ended: socket.socket) -> None:
        for connection in ended:
            with suppress(ValueError):
                self._open.remove(connection)

    def _up(self, client: socket.socket, server: socket.socket, state: dict) -> None:
        with suppress(OSError):
            while True:
                while self.frozen:
                    time.sleep(0.02)
                data = client.recv(1 << 16)
                if not data:
                    break
                if b" HTTP/1.1\r\n" in data[:2000]:
                    self.heads.append(data.split(b"\r\n", 1)[0])
                    state["lose"] = self.lose(self.heads[-1])
                    if self.say:
                        client.sendall(self.say.pop(0))
                        reset(client)
                        break
                state["sent"] += len(data)
                if self.cut_after is not None and state["sent"] > self.cut_after:
                    self.cuts += 1
                    reset(client)
                    break
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _down(self, server: socket.socket, client: socket.socket, state: dict) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                while self.frozen:
                    time.sleep(0.02)
                if state["lose"]:
                    self.cuts += 1
                    reset(client)
                    server.close()
                    return
                if self.swap:
                    self._exchange(data, client)
                    continue
                if self.twice:
                    data *= 2
                for at in range(len(data)):
                    pause = self.crawl_s
                    if pause is None:
                        client.sendall(data[at:])
                        break
                    client.sendall(data[at : at + 1])
                    time.sleep(pause)
            client.close()
        server.close()
        self._forget(client, server)


def reset(connection: socket.socket) -> None:
    """Close with RST, as a router does that forgot the connection."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread that waits on it would keep it open.
        connection.shutdown(socket.SHUT_RD)
    connection.close()
