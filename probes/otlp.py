"""The OTLP/HTTP receiver that Brownout embeds: POST /v1/metrics, protobuf or JSON, plain or gzip.

Invariant: a request is answered with success only after every subscriber has taken it, so what an exporter
was told is stored is stored; and nothing a client sends (size, compression, nonsense) costs more than one
bounded body. Traces and logs are accepted and dropped. It listens on loopback only unless told otherwise.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp (paths, responses, status codes).
"""

from __future__ import annotations

import hmac
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # the package ships no stubs
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from probes.http_body import BodyTooLarge, MalformedBody, inflate, read_body
from probes.otlp_json import MalformedOtlp, decode

Subscriber = Callable[[ExportMetricsServiceRequest], object]

MAX_BODY = 16 * 2**20
"""Bytes of one request, before and after decompression."""

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_INVALID_ARGUMENT, _INTERNAL, _UNIMPLEMENTED, _UNAUTHENTICATED = 3, 13, 12, 16  # google.rpc.Code


class Receiver:
    """Receives metrics over HTTP in threads of its own, and passes each request to its subscribers in turn.

    Subscribers run under `lock`, one request at a time; hold it to read what they keep from another thread.
    """

    def __init__(
        self,
        *subscribers: Subscriber,
        host: str = "127.0.0.1",
        port: int = 0,
        max_body: int = MAX_BODY,
        idle_s: float = 60.0,
        token: str | None = None,
    ) -> None:
        """Binds at once; `idle_s` is how long a connection may be silent. Raises OSError if it cannot.

        With a `token` nobody is listened to who does not show it as `Authorization: Bearer TOKEN`.
        """
        self.lock = threading.RLock()
        self.requests = 0
        self.rejected = 0
        self.problem: str | None = None
        """What last went wrong, with a subscriber (a full disk) or a client, for whoever judges the run."""
        self.max_body = max_body
        self.idle_s = idle_s
        self._token = token
        self._subscribers = list(subscribers)
        self._server = _Server((host, port), self)
        self._thread: threading.Thread | None = None

    @property
    def endpoint(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT is to be: `http://127.0.0.1:PORT`."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def subscribe(self, subscriber: Subscriber) -> None:
        """Pass every later request to `subscriber` as well."""
        with self.lock:
            self._subscribers.append(subscriber)

    def start(self) -> Receiver:
        """Begin to answer; returns itself."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="otlp-receiver", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Finish the request at hand, close every connection and the port. Calling it again does nothing."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.close_connections()
        self._server.server_close()

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def deliver(self, request: ExportMetricsServiceRequest) -> None:
        """Pass one request to all subscribers; raises what they raise."""
        with self.lock:
            self.requests += 1
            for subscriber in self._subscribers:
                subscriber(request)

    def admits(self, authorization: str) -> bool:
        """Whether a request's header is that of somebody who may send."""
        if self._token is None:
            return True
        wanted = f"Bearer {self._token}"
        return hmac.compare_digest(wanted.encode(), authorization.encode("utf-8", "replace"))

    def refused(self, problem: str) -> None:
        """Count a request that could not be taken, and keep why."""
        with self.lock:
            self.rejected += 1
            self.problem = problem


class _Server(ThreadingHTTPServer):
    """Knows its open connections, so that stopping does not wait for idle keep-alive clients."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without the reverse DNS look-up of HTTPServer, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client: object) -> None:
        """Note the connection, then serve it in a thread."""
        if isinstance(request, socket.socket):
            with self._open_lock:
                self._open.add(request)
        super().process_request(request, client)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Forget the connection, and close it."""
        if isinstance(request, socket.socket):
            with self._open_lock:
                self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End the reading side of every open connection; its thread answers what it has read, and ends."""
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RD)
                except OSError:
                    continue  # the client was first

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is its own affair; it is counted, not printed."""
        self.receiver.refused("a client closed its connection in the middle of a request")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "brownout-otlp"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def setup(self) -> None:
        """Bound how long a silent client holds its thread."""
        super().setup()
        self.connection.settimeout(self.server.receiver.idle_s)

    def do_POST(self) -> None:
        """One export."""
        receiver = self.server.receiver
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not receiver.admits(self.headers.get("Authorization", "")):
            self.close_connection = True  # a stranger's body is not read
            self._refuse(401, "expected the token of this run as Authorization: Bearer", kind)
            return
        try:
            body = read_body(self.rfile, self.headers, receiver.max_body)
        except (BodyTooLarge, MalformedBody) as error:
            self.close_connection = True  # the rest of the body is unread
            self._refuse(413 if isinstance(error, BodyTooLarge) else 400, str(error), kind)
            return
        if self.path in ("/v1/traces", "/v1/logs"):
            self._answer(200, kind, b"" if kind == _PROTOBUF else b"{}")
        elif self.path != "/v1/metrics":
            self._refuse(404, f"expected /v1/metrics, /v1/traces or /v1/logs, got {self.path:.80}", kind)
        elif kind not in (_PROTOBUF, _JSON):
            self._refuse(415, f"expected Content-Type {_PROTOBUF} or {_JSON}, got {kind or 'none'}", kind)
        else:
            self._take(body, kind)

    def _take(self, body: bytes, kind: str) -> None:
        receiver = self.server.receiver
        try:
            plain = inflate(body, self.headers.get("Content-Encoding", ""), receiver.max_body)
            request = decode(plain) if kind == _JSON else ExportMetricsServiceRequest.FromString(plain)
        except BodyTooLarge as error:
            self._refuse(413, str(error), kind)
            return
        except (MalformedBody, MalformedOtlp) as error:
            self._refuse(400, str(error), kind)
            return
        except DecodeError as error:
            self._refuse(400, f"expected an OTLP metrics request in protobuf: {error}", kind)
            return
        try:
            receiver.deliver(request)
        except Exception as error:  # whatever a subscriber raises, the exporter must not hear success
            self._refuse(500, f"the request could not be stored: {type(error).__name__}: {error}", kind)
            return
        self._answer(200, kind, b"" if kind == _PROTOBUF else b"{}")

    def do_GET(self) -> None:
        """Say what this is, to a person who looks."""
        self._answer(405, "text/plain", b"POST OTLP metrics to /v1/metrics\n")

    def _refuse(self, status: int, problem: str, kind: str) -> None:
        """Answer with google.rpc.Status, as OTLP asks, in the request's own encoding."""
        self.server.receiver.refused(problem)
        code = {500: _INTERNAL, 404: _UNIMPLEMENTED, 401: _UNAUTHENTICATED}.get(status, _INVALID_ARGUMENT)
        if kind == _PROTOBUF:
            self._answer(status, kind, Status(code=code, message=problem).SerializeToString())
        else:
            self._answer(status, _JSON, json.dumps({"code": code, "message": problem}).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind or _JSON)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: problems are counted, and the receiver keeps the last one."""
