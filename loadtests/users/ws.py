"""A WebSocket client on a gevent socket, one text message at a time.

Invariant: a time-out takes nothing away. A message that comes later is the next one that `receive` returns,
exactly as a stock client's socket would have it: this module does not know which reply belongs to which
request, and must not. (It is not called `websocket`: Locust puts this folder on sys.path.)
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import time
from collections.abc import Iterable
from hashlib import sha1
from typing import Any, Final

import gevent

from loadtests.users.connect import READ_BYTES, Address, Broken, Connection, broken
from loadtests.users.frames import Frames, Violation, close_frame, pong_frame, text_frame

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MOST_HEAD: Final = 64 * 1024
_BEGINS: Final = b"HTTP/1."
_BLANK: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: |$)")
_SWITCHING: Final = 101
_READ: Final = 1
"""Of libev's events."""


class _Line:
    """A connection without TLS, for one who mostly sends little and then waits.

    gevent's own sockets look up their buffer's size before they send, try to read before they wait, and make
    a time-out object for each wait: together half of what a step of an episode costs.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bare: Any = connection.bare()
        self._hub = gevent.get_hub()
        self._readable = self._hub.loop.io(connection.fileno(), _READ)
        self._timer: Any = None
        self._timer_s = 0.0

    def send(self, data: bytes, timeout: float) -> None:
        """Send all of `data`. Raises Broken."""
        try:
            sent: int = self._bare.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise broken(error) from error
        self._connection.sent += sent
        if sent < len(data):
            self._connection.send(data[sent:], timeout)

    def receive(self, timeout: float) -> bytes:
        """The next bytes, or none when the other side has closed. Raises Broken, `timeout` among it."""
        while True:
            if not self._wait(timeout):
                raise Broken("timeout", "no reply in time")
            try:
                data: bytes = self._bare.recv(READ_BYTES)
            except BlockingIOError:
                continue  # nobody promises that what was there still is
            except OSError as error:
                raise broken(error) from error
            self._connection.received += len(data)
            return data

    def _wait(self, timeout: float) -> bool:
        """Whether there is something to read within the time."""
        if timeout != self._timer_s:
            self._end_timer()
            self._timer, self._timer_s = self._hub.loop.timer(timeout, timeout), timeout
        switch = gevent.getcurrent().switch
        self._readable.start(switch, True)
        self._timer.again(switch, False)
        try:
            ready: bool = self._hub.switch()
            return ready
        finally:
            self._readable.stop()
            self._timer.stop()

    def close(self) -> None:
        """Close it, without waiting for anything."""
        self._readable.close()
        self._end_timer()
        self._connection.close()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer, self._timer_s = None, 0.0


class WebSocket:
    """An open WebSocket. `connection` counts its bytes."""

    def __init__(
        self, address: Address, path: str, headers: Iterable[tuple[bytes, bytes]], timeout: float
    ) -> None:
        """Connect and shake hands, within `timeout` seconds.

        Raises:
            Broken: it could not; a refused handshake's error type is its HTTP status.
        """
        until = time.monotonic() + timeout
        self._frames = Frames()
        self._messages = self._frames.messages
        self._closed = False
        self.connection = Connection(address, timeout)
        self._line: Connection | _Line = self.connection if address.tls else _Line(self.connection)
        try:
            key = base64.b64encode(os.urandom(16))
            self._line.send(_request(address, path, key, headers), timeout)
            head, rest = self._head(until)
            _check(head, key)
            if rest:
                self._take(rest)
        except BaseException:
            self._line.close()
            raise

    def send(self, text: str, timeout: float) -> None:
        """Send one text message. Raises Broken."""
        if self._closed:
            raise Broken("connection_closed", "the WebSocket is closed")
        self._line.send(text_frame(text), timeout)

    def receive(self, timeout: float) -> str:
        """The next text message, within `timeout` seconds. Raises Broken: `timeout`, or it is closed."""
        messages = self._messages
        if not messages:
            if self._closed:
                raise Broken("connection_closed", "the server closed the WebSocket")
            until = time.monotonic() + timeout
            self._take(self._line.receive(timeout))
            while not messages:
                left = until - time.monotonic()
                if left <= 0:
                    raise Broken("timeout", "no reply in time")
                self._take(self._line.receive(left))
        return messages.popleft()

    def close(self, *, politely: bool = True) -> None:
        """Close it: with a close frame if `politely`, and in any case without waiting for an answer."""
        if politely and not self._closed:
            with contextlib.suppress(Broken):  # it is gone already, which is what was wanted
                self._line.send(close_frame(), 1.0)
        self._closed = True
        self._line.close()

    def _head(self, until: float) -> tuple[bytes, bytes]:
        """The head of the handshake's reply, and what came behind it. Raises Broken."""
        data = b""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise Broken("timeout", "no reply in time")
            more = self._line.receive(left)
            if not more:
                raise Broken("connection_closed", "the server closed the connection during the handshake")
            data += more
            if not data.startswith(_BEGINS[: len(data)]):
                raise Broken("protocol_error", f"expected an HTTP response, got {data[:80]!r}")
            if blank := _BLANK.search(data):
                return data[: blank.start()], data[blank.end() :]
            if len(data) > _MOST_HEAD:
                raise Broken("protocol_error", f"a response's head of more than {_MOST_HEAD} bytes")

    def _take(self, data: bytes) -> None:
        """Take in what the server sent; no bytes are its end. Raises Broken."""
        frames = self._frames
        if not data:
            self._closed = True
            if not self._messages:
                raise Broken("connection_closed", "the server closed the connection")
            return
        try:
            frames.feed(data)
        except Violation as violation:
            raise Broken("protocol_error", str(violation)) from violation
        if frames.pings:
            pings, frames.pings = frames.pings, []
            self._line.send(b"".join(map(pong_frame, pings)), 1.0)
        if frames.closed is not None:
            self._closed = True
            if not self._messages:
                raise Broken("connection_closed", f"the server closed the WebSocket ({frames.closed})")


def _request(address: Address, path: str, key: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1\r\nHost: {address.authority}".encode(),
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + key,
        *(name + b": " + value for name, value in headers),
        b"\r\n",
    ]
    return b"\r\n".join(lines)


def _check(head: bytes, key: bytes) -> None:
    """Whether the server has agreed, and to what it was asked for. Raises Broken."""
    first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
    status = _STATUS.match(first)
    if status is None:
        raise Broken("protocol_error", f"expected an HTTP response, got {first[:80]!r}")
    if int(status[1]) != _SWITCHING:
        raise Broken(status[1].decode(), f"the handshake was refused with {status[1].decode()}")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or name != name.strip():
            raise Broken("protocol_error", f"expected a header, got {line[:80]!r}")
        headers[name.lower()] = value.strip()
    accept = base64.b64encode(sha1(key + _GUID).digest())  # noqa: S324 - the protocol's, no secret
    if headers.get(b"sec-websocket-accept") != accept:
        raise Broken("protocol_error", "Sec-WebSocket-Accept does not answer the key")
    upgrade, connection = (headers.get(name, b"").lower() for name in (b"upgrade", b"connection"))
    if upgrade != b"websocket" or b"upgrade" not in map(bytes.strip, connection.split(b",")):
        raise Broken("protocol_error", "a switch to something else than a WebSocket")
    if b"sec-websocket-extensions" in headers or b"sec-websocket-protocol" in headers:
        raise Broken("protocol_error", "an extension or a subprotocol that was not asked for")
