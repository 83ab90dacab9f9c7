"""A gateway that speaks HTTP/1.0 to its clients, as old gateways do: it ends a reply by closing, and says no length.

Nothing then tells a reply that was cut from one that has ended (RFC 9112, section 8: a close-delimited body is
complete when the connection is closed). Python's own HTTP server does so by default.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
from types import TracebackType

_WITHIN_S = 30.0


class Gateway:
    """Passes each POST on to `upstream` (`host:port`), and the reply back as it comes; a context manager."""

    def __init__(self, upstream: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = _WITHIN_S

            def do_POST(self) -> None:
                with contextlib.suppress(OSError):  # a client that leaves
                    _pass_on(self, upstream)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing to say."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # so that closing waits for them
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Gateway:
        self._serving.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()


def _pass_on(asked: http.server.BaseHTTPRequestHandler, upstream: str) -> None:
    body = asked.rfile.read(int(asked.headers["Content-Length"]))
    connection = http.client.HTTPConnection(upstream, timeout=_WITHIN_S)
    with contextlib.closing(connection):
        connection.request("POST", asked.path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        asked.send_response(reply.status)
        asked.send_header("Content-Type", reply.headers["Content-Type"])
        asked.end_headers()
        while piece := reply.read1(65536):
            asked.wfile.write(piece)
