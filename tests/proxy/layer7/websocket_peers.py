"""A WebSocket server that says what it was asked, a proxy in front of it, and frames made by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

WITHIN_S = 30.0
"""How long anything that is to happen may take."""
NOTHING_S = 0.3
"""How long is waited for what must not come."""


class Api(Protocol):
    """The API of the embedded proxy, as tests/proxy/conftest.py has it."""

    def request(self, method: str, path: str, body: object = None) -> Any:
        """A request, and its reply."""

    def proxy(self, upstream: str, **more: object) -> Any:
        """A new proxy."""


class Spot:
    """A proxy that reads HTTP from the first byte, in front of `upstream`."""

    def __init__(self, api: Api, upstream: str) -> None:
        self.api = api
        self.place = api.proxy(upstream, protocol="http")
        self.path = self.place.path
        self.listen: str = self.place.listen

    def inject(self, type: str, attributes: Mapping[str, object] | None = None, **more: object) -> str:
        """Add a toxic; its path."""
        body = {"type": type, "attributes": dict(attributes or {}), **more}
        reply = self.api.request("POST", f"{self.path}/toxics", body)
        assert reply.status == 200, reply.body
        return f"{self.path}/toxics/{reply.json['name']}"

    def heal(self, toxic: str) -> None:
        """Take a toxic away."""
        assert self.api.request("DELETE", toxic).status == 204

    def counts(self, toxic: str) -> dict[str, int]:
        """What it did."""
        counted: dict[str, int] = self.api.request("GET", f"{toxic}/counts").json
        return counted

    def hits(self) -> list[dict[str, Any]]:
        """What was struck."""
        found: list[dict[str, Any]] = self.api.request("GET", f"{self.path}/hits").json["hits"]
        return found


class Environment:
    """A WebSocket server: answers each message with an observation that names it, and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.closes: list[tuple[int | None, str]] = []
        self.open: set[ServerConnection] = set()
        self.server: Server | None = None

    async def handle(self, peer: ServerConnection) -> None:
        """Answer until the end."""
        self.open.add(peer)
        with contextlib.suppress(ConnectionClosed):
            async for message in peer:
                asked = json.loads(message)
                self.got.append(asked)
                await peer.send(json.dumps(observation(asked)))
        self.open.discard(peer)
        self.closes.append((peer.close_code, peer.close_reason or ""))


def observation(asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to a message."""
    return {
        "type": "observation",
        "data": {"observation": {"nonce": asked["nonce"], "text": "x" * 50}, "reward": 0.5, "done": False},
    }


@contextlib.asynccontextmanager
async def environment(api: Api) -> AsyncIterator[tuple[Environment, Spot]]:
    """The server, and a proxy in front of it."""
    made = Environment()
    async with serve(made.handle, "127.0.0.1", 0, close_timeout=5, max_size=None) as made.server:
        port = next(iter(made.server.sockets)).getsockname()[1]
        yield made, Spot(api, f"127.0.0.1:{port}")


def dialled(spot: Spot, compression: str | None) -> connect:
    """A stock client of it."""
    return connect(
        f"ws://{spot.listen}/ws",
        proxy=None,
        compression=compression,
        open_timeout=WITHIN_S,
        ping_interval=None,
    )


async def tell(client: ClientConnection, *nonces: str, type: str = "step") -> None:
    """Send a message for each nonce."""
    for nonce in nonces:
        await client.send(json.dumps({"type": type, "nonce": nonce}))


async def heard(client: ClientConnection) -> str:
    """The nonce in the next reply."""
    return str((await said(client))["data"]["observation"]["nonce"])


async def said(client: ClientConnection) -> Any:
    """The next reply."""
    return json.loads(await asyncio.wait_for(client.recv(), WITHIN_S))


async def ask(client: ClientConnection, nonce: str) -> str:
    """Send one message; the nonce in what comes next."""
    await tell(client, nonce)
    return await heard(client)


async def true(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


# --- by hand ------------------------------------------------------------------------------------------------

HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%b\r\n"
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


def frame(first: int, payload: bytes, *, masks: bool) -> bytes:
    """One frame, by RFC 6455, section 5.2."""
    size = len(payload)
    bit = 0x80 if masks else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if not masks:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[at & 3] for at, byte in enumerate(payload))


class Deflater:
    """Compresses messages with context takeover: RFC 7692, 7.2.1."""

    def __init__(self) -> None:
        self._encoder = zlib.compressobj(6, zlib.DEFLATED, -15)

    def message(self, payload: bytes) -> bytes:
        """A message's payload, compressed."""
        return (self._encoder.compress(payload) + self._encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


def until_blank(sock: socket.socket) -> bytes:
    """A head, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        assert piece, head
        head += piece
    return head
