"""A small HTTP/1.1 client: one exchange at a time on a gevent socket, parsed by httptools.

Invariant: a connection goes back to the pool only after a whole response with nothing behind it, so no
request ever meets what was left of another. After a time-out it is closed: HTTP cannot ask again on it.

Locust's own clients hide what happens to the connection: which one it was, its bytes, how it broke.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType

import httptools

from loadtests.users.connect import Address, Broken, Connection
from loadtests.users.operation import Try

MOST_BYTES = 64 * 1024 * 1024
"""The largest body that is taken."""


def request_bytes(method: str, address: Address, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request as it goes out, but for the headers that differ from try to try.

    Those, and the blank line, are appended by `Exchange`: `head` ends after the last common header.
    """
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")


class Pool:
    """Idle connections to one address; with `keep` false each request has a connection of its own."""

    def __init__(self, address: Address, *, keep: bool, connect_timeout_s: float) -> None:
        self.address = address
        self.keep = keep
        self.connect_timeout_s = connect_timeout_s
        self._idle: deque[Connection] = deque()

    def take(self) -> Connection:
        """An open connection: the one used last that is still open, or a new one. Raises Broken."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.stale:
                return connection
            connection.close()
        return Connection(self.address, self.connect_timeout_s)

    def give(self, connection: Connection) -> None:
        """Take back a connection on which nothing is outstanding."""
        if self.keep:
            self._idle.append(connection)
        else:
            connection.close()


class Exchange:
    """One request and its response, read as it comes. A context manager; `tried` is told what happens."""

    def __init__(self, pool: Pool, tried: Try, timeout_s: float, *, head_only: bool = False) -> None:
        """`timeout_s` is for each read; `head_only`: the response has no body, whatever it says."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self._pool = pool
        self._tried = tried
        self._timeout_s = timeout_s
        self._head_only = head_only
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._headers_complete = False
        self._kept_alive = False
        self._surplus = False
        self._size = 0
        self._connection: Connection | None = None
        self._sent = self._received = 0

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._tried.sent += connection.sent - self._sent
        self._tried.received += connection.received - self._received
        if self.reusable:
            self._pool.give(connection)
        else:
            connection.close()

    def send(self, request: bytes) -> None:
        """Send the request, and wait until the response's headers are there. Raises Broken."""
        self._connection = connection = self._pool.take()
        self._tried.connection = connection.ordinal
        reused = connection.sent > 0
        # a new connection's handshake belongs to this try; an old one's traffic to others
        self._sent, self._received = (connection.sent, connection.received) if reused else (0, 0)
        connection.send(request, self._timeout_s)
        while not self._headers_complete:
            self._read()
        self._tried.status = self.status

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece as it comes. Raises Broken when it breaks off."""
        while True:
            while self._chunks:
                yield self._chunks.popleft()
            if self.complete:
                return
            self._read()

    def body(self) -> bytes:
        """The whole body. Raises Broken."""
        return b"".join(self.chunks())

    def _read(self) -> None:
        if self._connection is None:
            raise Broken("connection_closed")
        self.take_in(self._connection.receive(self._timeout_s))

    def take_in(self, data: bytes) -> None:
        """Go on with what was read; nothing means that the server has closed. Raises Broken."""
        if not data:
            self._ended()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise Broken("protocol_error", "an upgrade that was not asked for") from error
        except httptools.HttpParserError as error:
            if not self.complete:
                raise Broken("protocol_error", str(error)) from error
            self._surplus = True

    def _ended(self) -> None:
        """The server closed: that ends a body which has no other end, and breaks off any other."""
        delimited = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "")
        if not self._headers_complete or delimited:
            raise Broken(
                "connection_closed", "the server closed the connection before the response was whole"
            )
        self.complete = self._surplus = True

    @property
    def reusable(self) -> bool:
        """Whether the connection can be used again: the response is whole, and nothing came behind it."""
        return self.complete and self._kept_alive and not self._surplus

    # --- httptools' callbacks

    def on_message_begin(self) -> None:
        """A response begins; a second one was not asked for."""
        if self.complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; names are lower-cased, a repeated one's last value holds."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The status is known; that of an interim response (100 to 199) is not the answer."""
        status = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()
            return
        if self.complete:
            self._surplus = True
            return
        self.status = status
        self._headers_complete = True
        if self._head_only:
            self.complete = True
            self._kept_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self.complete:
            self._surplus = True
            return
        self._size += len(data)
        if self._size > MOST_BYTES:
            raise Broken("protocol_error", f"a body of more than {MOST_BYTES} bytes")
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        """The response is whole. (Only until this returns does the parser know whether to keep alive.)"""
        if self._headers_complete:
            self.complete = True
            self._kept_alive = self._parser.should_keep_alive()
