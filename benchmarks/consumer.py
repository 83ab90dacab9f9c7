"""`python -m benchmarks.consumer WHAT HOST:PORT CONNECTIONS SECONDS`: takes streams or frames from `feed`.

Its figures are one line of JSON on stdout. A connection that fails, or ends, ends it with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from dataclasses import dataclass, field
from typing import Final, cast

import uvloop

from benchmarks.feed import ASKED, AT, SENT
from benchmarks.precision import percentile

_WARM_S: Final = 1.0
_TOGETHER: Final = 50
"""Connections that are being opened at the same time."""


@dataclass(slots=True)
class Taken:
    """What has come: delays of events in nanoseconds, and how many there were; frames, both ways."""

    delays_ns: list[int] = field(default_factory=list)
    events: int = 0
    frames: int = 0
    over: bool = False
    failed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Client(asyncio.Protocol):
    """One connection, which asks for `path`; `body` takes what follows the head of the reply."""

    path: bytes
    expected: bytes
    more: bytes = b""

    def __init__(self, taken: Taken) -> None:
        self.taken = taken
        self.begun = asyncio.get_running_loop().create_future()
        self._head: bytes | None = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(b"GET %b HTTP/1.1\r\nHost: benchmark\r\n%b\r\n" % (self.path, self.more))

    def data_received(self, data: bytes) -> None:
        """Take the head, then the body."""
        if self._head is None:
            self.body(data)
            return
        self._head += data
        head, blank, rest = self._head.partition(b"\r\n\r\n")
        if not blank:
            return
        self._head = None
        if not head.startswith(b"HTTP/1.1 " + self.expected):
            self.fail(f"expected {self.expected.decode()}, got {head[:60]!r}")
            return
        self.begun.set_result(None)
        self.begin()
        if rest:
            self.body(rest)

    def begin(self) -> None:
        """The reply has begun."""

    def body(self, data: bytes) -> None:
        """Take a part of it."""
        raise NotImplementedError

    def connection_lost(self, exc: Exception | None) -> None:
        """It must not end before all do."""
        self.fail("a connection ended")

    def fail(self, why: str) -> None:
        """The measurement has failed."""
        for future in (self.begun, self.taken.failed):
            if not self.taken.over and not future.done():
                future.set_exception(ConnectionError(why))


class _Events(_Client):
    path, expected = b"/events", b"200"
    _rest = b""

    def body(self, data: bytes) -> None:
        """See _Client."""
        now = time.monotonic_ns()
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n\n") + 2
        self._rest = data[end:] if end > 1 else data
        made = AT.findall(data, 0, end) if end > 1 else []
        self.taken.events += len(made)
        self.taken.delays_ns.extend(now - int(at) for at in made)


class _Echo(_Client):
    path, expected = b"/echo", b"101"
    more = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    _left = 0

    def begin(self) -> None:
        """See _Client."""
        self.transport.write(ASKED)

    def body(self, data: bytes) -> None:
        """See _Client."""
        whole, self._left = divmod(self._left + len(data), len(SENT))
        self.taken.frames += 2 * whole
        if whole:
            self.transport.write(ASKED * whole)


class _Push(_Echo):
    path = b"/push"

    def begin(self) -> None:
        """See _Client."""

    def body(self, data: bytes) -> None:
        """See _Client."""
        whole, self._left = divmod(self._left + len(data), len(SENT))
        self.taken.frames += whole


_CLIENTS: Final = {"events": _Events, "echo": _Echo, "push": _Push}


async def _consume(what: str, address: str, connections: int, seconds: float) -> dict[str, float]:
    loop, taken, kind = asyncio.get_running_loop(), Taken(), _CLIENTS[what]
    host, _, port = address.rpartition(":")
    clients: list[_Client] = []
    while len(clients) < connections:
        for _ in range(min(_TOGETHER, connections - len(clients))):
            clients.append((await loop.create_connection(lambda: kind(taken), host, int(port)))[1])
        async with asyncio.timeout(60):
            await asyncio.gather(*(client.begun for client in clients[-_TOGETHER:]))
    gc.collect()
    gc.disable()  # a pause would look like one of the proxy's
    await asyncio.wait([taken.failed], timeout=_WARM_S)
    taken.delays_ns.clear()
    before, began = (taken.events, taken.frames), loop.time()
    await asyncio.wait([taken.failed], timeout=seconds)
    if taken.failed.done():
        taken.failed.result()
    lasted = loop.time() - began
    taken.over = True
    taken.failed.cancel()
    for client in clients:
        client.transport.abort()
    delays = sorted(taken.delays_ns)
    return {
        "events": taken.events,
        "frames": taken.frames,
        "events_s": (taken.events - before[0]) / lasted,
        "frames_s": (taken.frames - before[1]) / lasted,
        "p50_ms": percentile(delays, 50) / 1e6 if delays else 0.0,
        "p99_ms": percentile(delays, 99) / 1e6 if delays else 0.0,
    }


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.consumer", description=__doc__)
    parser.add_argument("what", choices=_CLIENTS)
    parser.add_argument("address")
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    print(json.dumps(uvloop.run(_consume(**vars(options)))))


if __name__ == "__main__":
    _main()
