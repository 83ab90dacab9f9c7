"""permessage-deflate (RFC 7692): what a handshake agreed to, and how a direction's messages are inflated.

With context takeover a message can only be inflated by who has inflated all before it, so each is, whether a
toxic wants it or not; what it comes to is not kept. Once that has failed, no later one can be read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chaos.proxy.layer7.head import ReplyHead

INFLATED_MAX: Final = 64 * 1024 * 1024
"""Bytes that one message may come to; past that the work is no longer done."""
_PIECE: Final = 64 * 1024
_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender leaves out at the end of each message: RFC 7692, 7.2.1."""
_BITS: Final = frozenset(str(bits) for bits in range(8, 16))


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was agreed to: whether messages may be compressed, and who keeps a window from one to the next."""

    deflate: bool = False
    server_keeps: bool = True
    client_keeps: bool = True


def agreed(reply: ReplyHead) -> Agreed | None:
    """What a reply to a handshake agrees to; None where it is an extension that nobody here can read."""
    given = ",".join(value for name, value in reply.headers if name == "sec-websocket-extensions")
    if not given.strip():
        return Agreed()
    if "," in given:
        return None
    name, *parameters = (part.strip().lower() for part in given.split(";"))
    if name != "permessage-deflate":
        return None
    keys = {}
    for parameter in parameters:
        key, _, value = (part.strip() for part in parameter.partition("="))
        keys[key] = value.strip('"')
    for key, value in keys.items():
        if not (
            (key in ("server_no_context_takeover", "client_no_context_takeover") and not value)
            or (key in ("server_max_window_bits", "client_max_window_bits") and value in _BITS)
        ):
            return None
    return Agreed(True, "server_no_context_takeover" not in keys, "client_no_context_takeover" not in keys)


class Window:
    """Inflates the messages of one direction, one after the other. `keeps`: each needs those before it."""

    __slots__ = ("_decoder", "_size", "keeps", "lost")

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps
        self.lost = False
        """A message could not be inflated, or was not."""
        self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        self._size = 0

    def begin(self) -> None:
        """A compressed message begins."""
        self._size = 0
        if not self.keeps:
            self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
            self.lost = False

    def pieces(self, data: bytes, *, last: bool) -> Iterator[bytes]:
        """What `data` comes to, in pieces of at most 64 KiB; `last`: the message ends with it."""
        if last:
            data += _TAIL
        while not self.lost:
            try:
                piece = self._decoder.decompress(data, _PIECE)
            except zlib.error:
                self.lost = True
                return
            self._size += len(piece)
            data = self._decoder.unconsumed_tail
            final = self._decoder.eof  # after a block that says so nothing can follow by this window
            if self._size > INFLATED_MAX or (final and self.keeps):
                self.lost = True
            if piece:
                yield piece
            if final:
                return
            if not data and len(piece) < _PIECE:
                return
