"""Bodies as they were before `Content-Encoding` was applied to them (RFC 9110, section 8.4)."""

from __future__ import annotations

import zlib
from typing import Final

from loadtests.users.connect import Broken
from loadtests.users.wire import MOST_BYTES

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


def decoded(body: bytes, encoding: str) -> bytes:
    """The body without the encodings that its header names, last one first.

    Raises Broken (`protocol_error`): an encoding that is unknown here, bytes that are none of it, a body that
    was cut short, or one that unpacks to more than `MOST_BYTES`.
    """
    for name in reversed(encoding.lower().split(",")):
        match name.strip():
            case "" | "identity":
                pass
            case "gzip" | "x-gzip":
                body = _inflated(body, _GZIP_OR_ZLIB)
            case "deflate":
                # by the standard in zlib's wrapping; some servers send it without
                wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
                body = _inflated(body, _GZIP_OR_ZLIB if wrapped else _RAW)
            case other:
                raise Broken(
                    "protocol_error", f"the content encoding {other[:40]} is unknown here", retry=False
                )
    return body


def _inflated(body: bytes, window: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while body:
        unpacking = zlib.decompressobj(window)
        try:
            parts.append(unpacking.decompress(body, MOST_BYTES + 1 - size))
        except zlib.error as error:
            raise Broken("protocol_error", f"a packed body that cannot be unpacked: {error}") from error
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise Broken(
                "protocol_error", f"a body that unpacks to more than {MOST_BYTES} bytes", retry=False
            )
        if not unpacking.eof:
            raise Broken("protocol_error", "a packed body that was cut short")
        body = unpacking.unused_data  # gzip: another member may follow
    return b"".join(parts)
