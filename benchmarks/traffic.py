"""The soak's load: connections that stay and never rest, and connections that come and go in every way."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from dataclasses import dataclass
from typing import Final, cast

_LINGER_0: Final = struct.pack("ii", 1, 0)
_PATIENCE_S: Final = 0.25
"""For a reply behind toxics, which may never come."""


@dataclass(slots=True)
class Done:
    """What the load has done. `failed` counts failures where there was no toxic: each one is a defect."""

    requests: int = 0
    connections: int = 0
    failed: int = 0


class Echo(asyncio.Protocol):
    """The upstream: sends back what comes, and its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class Client(asyncio.Protocol):
    """Sends a message, waits for all of it to come back, and goes on: `rounds` times, or for ever at 0."""

    def __init__(self, done: Done, message: bytes, rounds: int) -> None:
        self.done = done
        self.message = message
        self.rounds = rounds
        self.missing = len(message)
        self.finished: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """True when all rounds were made, False when the connection ended before."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self.done.connections += 1
        self.transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        """Go on when the message is complete."""
        self.missing -= len(data)
        if self.missing > 0:
            return
        self.missing = len(self.message)
        self.done.requests += 1
        self.rounds -= 1
        if self.transport.is_closing() or self.finished.done():
            return
        if self.rounds:
            self.transport.write(self.message)
        elif not self.finished.done():
            self.finished.set_result(True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if not self.finished.done():
            self.finished.set_result(False)

    def end(self, how: str) -> None:
        """Close it: `fin`, `rst`, or `half`, after which the other end closes."""
        if how == "rst":
            sock = self.transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            self.transport.abort()
        elif how == "half" and not self.transport.is_closing():
            self.transport.write_eof()
        else:
            self.transport.close()


async def stay(address: tuple[str, int], done: Done) -> None:
    """One connection without toxics, at full rate until cancelled."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(lambda: Client(done, b"x" * 1000, 0), *address)
    try:
        await client.finished
        done.failed += 1
    finally:
        transport.abort()


async def come_and_go(address: tuple[str, int], done: Done, seed: int, *, toxics: bool) -> None:
    """Connection after connection until cancelled, each with some requests and an end of its own."""
    loop, draw = asyncio.get_running_loop(), random.Random(seed)
    while True:
        message, rounds = b"y" * draw.choice((1, 200, 20_000)), draw.randrange(1, 4)
        client = Client(done, message, rounds)
        try:
            await loop.create_connection(lambda client=client: client, *address)  # type: ignore[misc]
        except OSError:
            done.failed += not toxics
            await asyncio.sleep(0.01)
            continue
        try:
            async with asyncio.timeout(_PATIENCE_S if toxics else 60):
                whole = await client.finished
        except TimeoutError:
            whole = False
        finally:
            client.end(draw.choice(("fin", "rst", "half")) if not toxics else draw.choice(("fin", "rst")))
        done.failed += not (whole or toxics)
