"""Frames of a WebSocket (RFC 6455, section 5): what may come next, their headers, their masks. Pure.

Written for speed: one look at a table says what the first byte of a frame means where it stands, and whether
it may stand there.
"""

from __future__ import annotations

import os
from typing import Final

BAD: Final = 0
"""What no sender may send there."""
WHOLE: Final = 1
"""A message in one frame."""
FIRST: Final = 2
MIDDLE: Final = 3
LAST: Final = 4
CONTROL: Final = 5
"""A ping or a pong."""
CLOSE: Final = 6

FIN: Final = 0x80
RSV1: Final = 0x40
"""The first bit reserved to extensions: with permessage-deflate, the message is compressed."""
TEXT: Final = 1
BINARY: Final = 2
MASKED: Final = 0x80
CONTROL_MAX: Final = 125
"""Bytes of a control frame's payload: RFC 6455, 5.5."""


def _step(first: int, *, inside: bool, deflate: bool) -> int:
    whole, reserved, opcode = bool(first & FIN), first & 0x70, first & 0x0F
    if opcode in (TEXT, BINARY) and not inside and (not reserved or (deflate and reserved == RSV1)):
        return WHOLE if whole else FIRST
    if reserved:
        return BAD
    if opcode == 0 and inside:
        return LAST if whole else MIDDLE
    if opcode in (9, 10) and whole:
        return CONTROL
    return CLOSE if opcode == 8 and whole else BAD


def steps(*, deflate: bool) -> tuple[bytes, bytes]:
    """What each first byte of a frame means, between messages and inside of one that is in fragments."""
    outside, inside = (
        bytes(_step(first, inside=inside, deflate=deflate) for first in range(256))
        for inside in (False, True)
    )
    return outside, inside


Header = tuple[int, int, bytes]
"""Where a frame's payload begins, how long it is, and what it is masked with (empty: it is not)."""
NO_FRAME: Final[Header] = (0, 0, b"")


def header(data: bytes, at: int, mask_bit: int) -> Header | None:
    """The header of the frame that begins at `at`; None while it is not whole, NO_FRAME where it is none.

    `mask_bit` is MASKED where the sender has to mask, else 0. A length has to be in its shortest form:
    RFC 6455, 5.2.
    """
    size = len(data)
    if size - at < 2:
        return None
    length = data[at + 1] ^ mask_bit
    body = at + 2
    if length > 127:
        return NO_FRAME
    if length > 125:
        width = 2 if length == 126 else 8
        if size - body < width:
            return None
        length = int.from_bytes(data[body : body + width])
        if length < (126 if width == 2 else 65536) or length >> 63:
            return NO_FRAME
        body += width
    if not mask_bit:
        return body, length, b""
    if size - body < 4:
        return None
    return body + 4, length, data[body : body + 4]


def masked(payload: bytes, key: bytes) -> bytes:
    """`payload` with `key` on it, or without it: RFC 6455, 5.3."""
    size = len(payload)
    keys = (key * ((size + 3) // 4))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(keys, "little")).to_bytes(size, "little")


def frame(first: int, payload: bytes, mask_bit: int) -> bytes:
    """A frame with the first byte `first`; masked at random where `mask_bit` says so."""
    size = len(payload)
    if size < 126:
        head = bytes((first, mask_bit | size))
    elif size < 65536:
        head = bytes((first, mask_bit | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, mask_bit | 127)) + size.to_bytes(8)
    if not mask_bit:
        return head + payload
    key = os.urandom(4)
    return head + key + masked(payload, key)
