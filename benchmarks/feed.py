"""`python -m benchmarks.feed`: the upstream of streams and frames. Its port is the one line on stdout.

`GET /events` is a stream of 20 events a second, each with the time at which it was made. `GET /echo` and
`GET /push` become WebSockets: one answers each message with another of the same size, one sends without end.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import re
import time
from collections.abc import Callable
from typing import Final, cast

import uvloop

EVENT_EVERY_S: Final = 0.05
_SLOTS: Final = 50
"""Streams are spread evenly over the time between two events: some of them are served each millisecond."""
_EVENTS_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_EVENT: Final = (
    b'data: {"at":"%016d","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
)
AT: Final = re.compile(rb'"at":"(\d{16})"')
"""When an event was made, in nanoseconds of the machine's monotonic clock."""

MESSAGE: Final = b'{"type":"step","data":{"nonce":"b5f1c2a9","message":"%b"}}' % (b"x" * 145)
"""200 bytes of JSON: a step of an environment."""
SENT: Final = b"\x81\x7e" + len(MESSAGE).to_bytes(2) + MESSAGE
"""A text message as a server sends it."""
_MASK: Final = b"\x1f\x2e\x3d\x4c"
ASKED: Final = (
    b"\x81\xfe"
    + len(MESSAGE).to_bytes(2)
    + _MASK
    + bytes(byte ^ _MASK[place % 4] for place, byte in enumerate(MESSAGE))
)
"""A text message as a client sends it."""
_PUSHED: Final = SENT * 16
_KEY: Final = re.compile(rb"(?i)sec-websocket-key: *([^\r]+)")


class Clock:
    """Serves the streams, each slot at its time; one that is late does not shift the later ones."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: list[set[Feed]] = [set() for _ in range(_SLOTS)]
        self._next = 0
        self._began = self._loop.time()
        self._made = 0
        self._serve()

    def add(self, feed: Feed) -> Callable[[], None]:
        """Serve `feed` until what is given back is called."""
        slot = self._slots[self._made * 7 % _SLOTS]
        self._made += 1
        slot.add(feed)
        return lambda: slot.discard(feed)

    def _serve(self) -> None:
        due = int((self._loop.time() - self._began) / EVENT_EVERY_S * _SLOTS)
        while self._next <= due:
            for feed in self._slots[self._next % _SLOTS]:
                feed.event()
            self._next += 1
        self._loop.call_later(EVENT_EVERY_S / _SLOTS, self._serve)


class Feed(asyncio.Protocol):
    """One connection; it has one request."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._head = b""
        self._left = 0
        self._paused = False
        self._over: Callable[[], None] | None = None
        self._take: Callable[[bytes], None] = self._request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._paused = True
        if self._over is not None:
            self._over()

    def data_received(self, data: bytes) -> None:
        """Take it."""
        self._take(data)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self._paused = False
        if self._take == self._drop:
            self._push()

    def event(self) -> None:
        """Send an event, made now."""
        event = _EVENT % time.monotonic_ns()
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))

    def _request(self, data: bytes) -> None:
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        path = self._head.split(b" ", 2)[1]
        if path == b"/events":
            self._transport.write(_EVENTS_HEAD)
            self._take = self._drop
            self._paused = True  # so that it is never taken for one that pushes
            self._over = self._clock.add(self)
            return
        key = _KEY.search(self._head)
        if key is None or path not in (b"/echo", b"/push"):
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            self._transport.close()
            return
        accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        self._take = self._echo if path == b"/echo" else self._drop
        if path == b"/push":
            self._push()

    def _echo(self, data: bytes) -> None:
        """All messages are of one size, so they are counted and not read."""
        whole, self._left = divmod(self._left + len(data), len(ASKED))
        if whole:
            self._transport.write(SENT * whole)

    def _push(self) -> None:
        for _ in range(8):
            if self._paused:
                return
            self._transport.write(_PUSHED)
        asyncio.get_running_loop().call_soon(self._push)

    def _drop(self, data: bytes) -> None:
        """Nothing is expected."""


async def _serve() -> None:
    clock = Clock()
    server = await asyncio.get_running_loop().create_server(lambda: Feed(clock), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.disable()  # a pause would look like one of the proxy's
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
