"""`python -m benchmarks.staller`: an HTTP service that stalls for the last second of every five.

Its port is the one line on stdout. What comes in a stall is answered at its end, what comes else at once.
When that is follows from the machine's clock alone (`stall_left_s`), so what any arrival should meet is known
exactly, without asking the service.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Final, cast

import uvloop

PERIOD_S: Final = 5.0
STALL_S: Final = 1.0
_REPLY: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


def stall_left_s(moment: float) -> float:
    """How long the stall still lasts at a moment (Unix seconds); 0 outside of one."""
    into = moment % PERIOD_S
    return PERIOD_S - into if into >= PERIOD_S - STALL_S else 0.0


def unambiguous(moment: float, spacing_s: float) -> float:
    """The next moment from which arrivals, `spacing_s` apart, stay half of that away from each stall's edges.

    One that is due right at an edge would be let through or not by chance. `spacing_s` divides a second.
    """
    return (moment // spacing_s + 1.5) * spacing_s


class Connection(asyncio.Protocol):
    """One connection; requests have no body and come one at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer, now or later."""
        self._data += data
        if not self._data.endswith(b"\r\n\r\n"):
            return
        self._data = b""
        left = stall_left_s(time.time())
        if left:
            self._loop.call_later(left, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_REPLY)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.disable()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
