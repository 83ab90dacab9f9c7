"""A slow network before a proxy server's API: it holds back the request that adds a toxic until it is told."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import urllib.parse

CHUNK = 1 << 16
PATIENCE_S = 30.0


class Relay:
    """Passes requests on to `api`; the first POST to a path that ends in `path` only after `let_go` was set.

    `held` is set when that has come, `deleted` counts the DELETEs that were passed on since, and `created` is
    set when the server has answered the POST that was held with a success.
    """

    def __init__(self, api: str, path: str) -> None:
        self._line = f"{path} HTTP/1.1".encode()
        parts = urllib.parse.urlsplit(api)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.api = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.held, self.let_go, self.created = threading.Event(), threading.Event(), threading.Event()
        self.deleted = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End it; what is held is passed on."""
        self.let_go.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        """One connection, one exchange after another, as HTTP clients do; a client that is gone ends nothing."""
        with client, socket.create_connection(self._upstream) as server, contextlib.suppress(OSError):
            held = threading.Event()
            answers = threading.Thread(target=self._answer, args=(server, client, held))
            answers.start()
            try:
                while data := _request(client):
                    if self._is_held(data):
                        held.set()
                    server.sendall(data)
                if held.is_set():
                    self.created.wait(PATIENCE_S)  # a server that sees its client leave may give no answer
            finally:
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_WR)
                answers.join()

    def _is_held(self, request: bytes) -> bool:
        """Whether it is the one to hold back; returns when it may be passed on."""
        line = request.partition(b"\r\n")[0]
        if line.startswith(b"POST ") and line.endswith(self._line) and not self.held.is_set():
            self.held.set()
            self.let_go.wait()
            return True
        if line.startswith(b"DELETE ") and self.held.is_set():
            self.deleted += 1
        return False

    def _answer(self, server: socket.socket, client: socket.socket, held: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                if held.is_set() and data.startswith(b"HTTP/1.1 20"):
                    self.created.set()
                with contextlib.suppress(OSError):
                    client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)


def _request(client: socket.socket) -> bytes:
    """A whole request, so that nothing is missing when its sender is killed; empty when there is none."""
    data = client.recv(CHUNK)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    while missing > 0 and (more := client.recv(CHUNK)):
        data += more
        missing -= len(more)
    return data
