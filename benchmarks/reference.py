"""An open-model client that is as simple as can be, to check arithmetic and the service against each other.

Nothing of the load generator's is in it: asyncio, one connection for each arrival, times by one clock.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.staller import unambiguous

_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One arrival: when it was due, when its request was sent, when the reply was there (Unix seconds)."""

    due: float
    start: float
    end: float


async def _one(host: str, port: int, due: float) -> Seen:
    start = time.time()
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
        await reader.readuntil(b"ok")
        return Seen(due, start, time.time())
    finally:
        writer.close()


async def _all(host: str, port: int, rate: float, seconds: float) -> list[Seen]:
    begin = unambiguous(time.time() + 0.2, 1 / rate)
    tasks = []
    for number in range(round(rate * seconds)):
        due = begin + number / rate
        await asyncio.sleep(max(due - time.time(), 0))
        tasks.append(asyncio.create_task(_one(host, port, due)))
    async with asyncio.timeout(_WITHIN_S):
        return list(await asyncio.gather(*tasks))


def observe(address: str, rate: float, seconds: float) -> list[Seen]:
    """Come `rate` times a second. Raises OSError, TimeoutError."""
    host, _, port = address.rpartition(":")
    return asyncio.run(_all(host, int(port), rate, seconds))
