"""`python -m benchmarks.environment STEPS`: an environment on OpenEnv's WebSocket that answers at once.

Its port is the one line on stdout. `GET /status` says how many resets and steps it has answered. It reads no
more of a message than it has to: the frame, whether it is a reset, the nonce. Episodes end after STEPS steps.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import re
import sys
from typing import Final, cast

import uvloop

_KEY: Final = re.compile(rb"(?i)sec-websocket-key: *([^\r]+)")
_NONCE: Final = re.compile(rb'"nonce": ?"([0-9a-f]{16})"')
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT: Final = "You opened a document. It says that the project is led from the Lisbon office."
_REPLY: Final = (
    b'{"type":"observation","data":{"observation":{"text":"%b","nonce":"%%b"},"reward":%%b,"done":%%b}}'
    % _TEXT.encode()
)
_NOT_YET, _LAST = (b"0.0", b"false"), (b"1.0", b"true")


class Counted:
    """What all sessions together have answered."""

    answers = 0


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, counted: Counted, steps: int) -> None:
        self._counted = counted
        self._steps = steps
        self._step = 0
        self._data = b""
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer all that is whole."""
        self._data += data
        if self._open:
            self._frames()
        elif self._data.endswith(b"\r\n\r\n"):
            head, self._data = self._data, b""
            self._request(head)

    def _request(self, head: bytes) -> None:
        key = _KEY.search(head)
        if key is None:
            body = b"%d" % self._counted.answers
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())  # noqa: S324 - the protocol's
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        self._open = True

    def _frames(self) -> None:
        data, at = self._data, 0
        while len(data) - at >= 2:
            opcode, length, head = data[at] & 15, data[at + 1] & 127, at + 2
            if length == 126:
                length, head = int.from_bytes(data[at + 2 : at + 4]), at + 4
            if length == 127:
                raise ValueError("a frame of more than 64 KiB")
            end = head + 4 + length
            if end > len(data):
                break
            if opcode == 8:
                code = _unmasked(data[head + 4 : end], data[head : head + 4])[:2]
                self._transport.write(bytes((0x88, len(code))) + code)
                self._transport.close()
                return
            if opcode == 1:
                self._message(_unmasked(data[head + 4 : end], data[head : head + 4]))
            at = end
        self._data = data[at:]

    def _message(self, message: bytes) -> None:
        if b'"reset"' in message[:20]:
            self._step = 0
        elif b'"step"' in message[:20]:
            self._step += 1
        else:
            return  # a close has no reply
        nonce = _NONCE.search(message)
        if nonce is None:
            raise ValueError(f"a message without a nonce: {message!r}")
        reply = _REPLY % (nonce[1], *(_LAST if self._step == self._steps else _NOT_YET))
        self._counted.answers += 1
        self._transport.write(b"\x81\x7e" + len(reply).to_bytes(2) + reply)


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


async def _serve(steps: int) -> None:
    counted = Counted()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(counted, steps), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.disable()  # a pause would look like one of the client's
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
