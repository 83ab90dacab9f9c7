"""Real servers that misbehave, each on a port of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

Answer = Callable[["Request"], None]


class Request:
    """One HTTP request, and ways to answer it. `number` counts the server's requests, from 0."""

    def __init__(self, connection: socket.socket, number: int, head: str, body: bytes) -> None:
        self.connection = connection
        self.number = number
        self.head = head
        self.body = body
        self.over = False

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole response, after which the connection stays open."""
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def close(self) -> None:
        """End the connection once this request is done with."""
        self.over = True

    def reset(self) -> None:
        """End the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.over = True


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 100

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no error here."""


@contextlib.contextmanager
def http(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """An HTTP server that answers each request by `answer`, with `tls` by TLS; yields its URL."""
    lock = threading.Lock()
    seen = 0

    class Handler(socketserver.StreamRequestHandler):
        def setup(self) -> None:
            if tls is not None:
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            if tls is not None:  # the server closes what it accepted, not what that was wrapped in
                self.request.close()

        def handle(self) -> None:
            nonlocal seen
            while head := self._head():
                length = next(
                    (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
                )  # fmt: skip
                with lock:
                    number, seen = seen, seen + 1
                request = Request(self.connection, number, head, self.rfile.read(length))
                answer(request)
                if request.over:
                    return

        def _head(self) -> str:
            lines = []
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                lines.append(line.decode())
            return "".join(lines)

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            scheme = "http" if tls is None else "https"
            yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def tcp(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection what `answer` does, then closes it."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            answer(self.request)

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def refused() -> str:
    """A URL where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def observation(data: dict[str, Any], *, done: bool = False, reward: float = 0.0) -> str:
    """An OpenEnv reply that echoes the nonce of what it answers."""
    return json.dumps(
        {
            "type": "observation",
            "data": {"observation": {"nonce": data["nonce"]}, "reward": reward, "done": done},
        }
    )


Say = Callable[[ServerConnection, int, dict[str, Any]], None]


@contextlib.contextmanager
def openenv(say: Say) -> Iterator[str]:
    """An OpenEnv server: `say` answers the n-th message (from 0) of a connection."""

    def handle(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for number, text in enumerate(connection):
                message = json.loads(text)
                if message["type"] == "close":
                    return
                say(connection, number, message)

    with serve(handle, "127.0.0.1", 0, compression=None, close_timeout=0.1) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()
