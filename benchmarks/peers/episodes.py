"""`episodes.py LOOP URL CONNECTIONS SECONDS ACTIONS`: OpenEnv episodes by the package websockets.

LOOP is `asyncio` or `uvloop`; ACTIONS a file. One line of JSON at the end.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import uvloop
from websockets.asyncio.client import ClientConnection, connect

Message = dict[str, object]


async def _exchange(socket: ClientConnection, kind: str, data: Message, took: list[float]) -> Message:
    nonce = f"{random.getrandbits(64):016x}"
    begin = time.perf_counter()
    await socket.send(json.dumps({"type": kind, "data": {**data, "nonce": nonce}}))
    reply = json.loads(await socket.recv())
    took.append(time.perf_counter() - begin)
    if reply["type"] != "observation" or reply["data"]["observation"]["nonce"] != nonce:
        raise ValueError(f"not the answer: {reply}")
    found: Message = reply["data"]
    return found


async def _user(url: str, until: float, actions: Sequence[Message], took: list[float]) -> None:
    while time.monotonic() < until:
        async with connect(url, compression=None, proxy=None) as socket:
            reply = await _exchange(socket, "reset", {"seed": 3}, took)
            for action in actions:
                if reply["done"]:
                    break
                reply = await _exchange(socket, "step", action, took)
            await socket.send('{"type": "close"}')


async def _users(url: str, connections: int, seconds: float, actions: Sequence[Message]) -> list[float]:
    took: list[float] = []
    until = time.monotonic() + seconds
    await asyncio.gather(*(_user(url, until, actions, took) for _ in range(connections)))
    return took


def main() -> None:
    """Play, and tell."""
    loop, url, connections, seconds, path = sys.argv[1:]
    actions = json.loads(Path(path).read_text())
    run = uvloop.run if loop == "uvloop" else asyncio.run
    took = run(_users(url, int(connections), float(seconds), actions))
    percents = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p999": 99.9}
    latency = {name: float(np.percentile(took, percent)) * 1000 for name, percent in percents.items()}
    print(json.dumps({"requests": len(took), "failed": 0, "dropped": 0, **latency}))


if __name__ == "__main__":
    main()
