"""A proxy that reads HTTP in a process that is looked into, and the peers on both sides of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.proxy.vitals import WAIT_S, Watched, resident

MIB = 1024 * 1024
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: a\n\n\r\n"


class Scene:
    """A proxy that reads HTTP, in front of a server that the test plays."""

    def __init__(self, watched: Watched, protocol: str = "http") -> None:
        self.watched = watched
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listener.settimeout(WAIT_S)
        self.place = watched.api.proxy(f"127.0.0.1:{self.listener.getsockname()[1]}", protocol=protocol)
        self.sockets: list[socket.socket] = [self.listener]

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A connection: its client's end, and its upstream's."""
        client = self.place.connect()
        upstream = self.listener.accept()[0]
        self.sockets += [client, upstream]
        for sock in (client, upstream):
            sock.settimeout(WAIT_S)
        return client, upstream

    def toxic(self, type: str, attributes: dict[str, Any] | None = None, **more: Any) -> str:
        """Add a toxic; its path."""
        body = {"type": type, "attributes": attributes or {}, **more}
        reply = self.watched.api.request("POST", f"{self.place.path}/toxics", body)
        assert reply.status == 200, reply.body
        return f"{self.place.path}/toxics/{reply.json['name']}"

    def heal(self, toxic: str) -> None:
        """Take a toxic away."""
        assert self.watched.api.request("DELETE", toxic).status == 204

    def counts(self, toxic: str) -> dict[str, int]:
        """What a toxic did."""
        found: dict[str, int] = self.watched.api.request("GET", f"{toxic}/counts").json
        return found

    def open(self) -> int:
        """Connections that the proxy has open."""
        return int(self.watched.metric("brownout_proxy_connections", proxy=self.place.name))

    def serves(self) -> None:
        """A request goes through, on a new connection."""
        client, upstream = self.pair()
        client.sendall(GET)
        assert take(upstream, len(GET)) == GET
        upstream.sendall(OK)
        assert take(client, len(OK)) == OK

    def close(self) -> None:
        """End the peers."""
        for sock in self.sockets:
            sock.close()


def take(sock: socket.socket, size: int) -> bytes:
    """That many bytes."""
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(size - len(data), MIB))
        assert piece, bytes(data[-200:])
        data += piece
    return bytes(data)


def rest(sock: socket.socket) -> bytes:
    """What comes until the end, however that comes."""
    data = bytearray()
    try:
        while piece := sock.recv(MIB):
            data += piece
    except ConnectionError:
        pass
    return bytes(data)


def at_least(watched: Watched) -> int:
    """Bytes of memory that the process uses now; what it uses at most is counted anew from here."""
    Path(f"/proc/{watched.process.pid}/clear_refs").write_text("5")
    return resident(watched)


class Sending:
    """Sends in a thread, as the other end has to be read meanwhile."""

    def __init__(self, sock: socket.socket, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._thread = threading.Thread(target=self._send, args=(sock, pieces))
        self._thread.start()

    def _send(self, sock: socket.socket, pieces: Callable[[], Iterator[bytes]]) -> None:
        try:
            for piece in pieces():
                sock.sendall(piece)
        except OSError:
            pass

    def __enter__(self) -> Sending:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join()
