"""A WebSocket client: wsproto's protocol on a gevent socket, one text message at a time.

Invariant: a time-out takes nothing away. A message that comes later is the next one that `receive` returns,
exactly as a stock client's socket would have it: this module does not know which reply belongs to which
request, and must not. (It is not called `websocket`: Locust puts this folder on sys.path.)
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from loadtests.users.connect import Address, Broken, Connection

MOST_BYTES = 64 * 1024 * 1024
"""The largest message that is taken."""


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
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._messages: deque[str] = deque()
        self._parts: list[str] = []
        self._size = 0
        self._accepted = False
        self._closed = False
        self.connection = Connection(address, timeout)
        try:
            request = Request(host=address.authority, target=path, extra_headers=list(headers))
            self.connection.send(self._protocol.send(request), timeout)
            while not self._accepted:
                self._pump(until - time.monotonic())
        except BaseException:
            self.connection.close()
            raise

    def send(self, text: str, timeout: float) -> None:
        """Send one text message. Raises Broken."""
        self._write(TextMessage(data=text), timeout)

    def receive(self, timeout: float) -> str:
        """The next text message, within `timeout` seconds. Raises Broken: `timeout`, or it is closed."""
        until = time.monotonic() + timeout
        while not self._messages:
            if self._closed:
                raise Broken("connection_closed", "the server closed the WebSocket")
            self._pump(until - time.monotonic())
        return self._messages.popleft()

    def close(self, *, politely: bool = True) -> None:
        """Close it: with a close frame if `politely`, and in any case without waiting for an answer."""
        if politely and not self._closed:
            with contextlib.suppress(Broken):  # it is gone already, which is what was wanted
                self._write(CloseConnection(code=1000), 1.0)
        self._closed = True
        self.connection.close()

    def _write(self, event: TextMessage | CloseConnection, timeout: float) -> None:
        try:
            data = self._protocol.send(event)
        except LocalProtocolError as error:
            raise Broken("connection_closed", str(error)) from error
        self.connection.send(data, timeout)

    def _pump(self, timeout: float) -> None:
        """Wait for the next bytes, and take in what they say."""
        if timeout <= 0:
            raise Broken("timeout", "no reply in time")
        data = self.connection.receive(timeout)
        try:
            self._protocol.receive_data(data or None)
            for event in self._protocol.events():
                self._take(event)
        except (RemoteProtocolError, LocalProtocolError) as error:
            if not data:
                raise Broken("connection_closed", "the server closed the connection") from error
            raise Broken("protocol_error", str(error)) from error
        if not data:
            self._closed = True
            if not self._accepted:
                raise Broken("connection_closed", "the server closed the connection during the handshake")

    def _take(self, event: object) -> None:
        match event:
            case TextMessage(data=text, message_finished=whole):
                self._text(text, whole)
            case AcceptConnection():
                self._accepted = True
            case Ping():
                self.connection.send(self._protocol.send(event.response()), 1.0)
            case RejectConnection(status_code=status):
                raise Broken(str(status), f"the handshake was refused with {status}")
            case RejectData():
                pass
            case CloseConnection():
                self._closed = True
                if not self._messages:
                    raise Broken("connection_closed", f"the server closed the WebSocket ({event.code})")
            case BytesMessage():
                raise Broken("protocol_error", "expected a text message, got a binary one")
            case _:
                pass

    def _text(self, text: str, whole: bool) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size > MOST_BYTES:
            raise Broken("protocol_error", f"a message of more than {MOST_BYTES} bytes")
        if whole:
            self._messages.append("".join(self._parts))
            self._parts.clear()
            self._size = 0
