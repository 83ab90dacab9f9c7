"""Bodies of HTTP requests, read and decompressed within a bound.

Invariant: no more than `limit` bytes (and one buffer) are ever held, whatever the length that is announced,
the chunks that come, or the ratio of the compression.
"""

from __future__ import annotations

import zlib
from email.message import Message
from io import BufferedIOBase


class BodyTooLarge(ValueError):
    """A body above the bound."""


class MalformedBody(ValueError):
    """A body that is not framed or compressed as its headers say."""


def read_body(stream: BufferedIOBase, headers: Message, limit: int) -> bytes:
    """The body, by Content-Length or in chunks (RFC 9112, sections 6 and 7.1).

    Raises:
        BodyTooLarge: it is, or says that it is, longer than `limit` bytes.
        MalformedBody: no length, a bad one, or the client ended in the middle.
    """
    if headers.get("Transfer-Encoding", "").strip().lower() == "chunked":
        return _read_chunks(stream, limit)
    announced = headers.get("Content-Length", "")
    if not (announced.isascii() and announced.isdigit() and len(announced) < 20):
        raise MalformedBody(f"expected a Content-Length, got {announced or 'none'!r:.40}")
    return _exactly(stream, _bounded(int(announced), limit))


def _bounded(length: int, limit: int) -> int:
    if length > limit:
        raise BodyTooLarge(f"expected a body of at most {limit} bytes, got {length}; export smaller batches")
    return length


def _exactly(stream: BufferedIOBase, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise MalformedBody(f"expected {length} bytes, got {len(data)} before the client ended")
    return data


def _read_chunks(stream: BufferedIOBase, limit: int) -> bytes:
    body = bytearray()
    while True:
        line = stream.readline(1024)
        size = line.split(b";")[0].strip()
        if not line.endswith(b"\n") or not size or len(size) > 16 or size.strip(b"0123456789abcdefABCDEF"):
            raise MalformedBody(f"expected a chunk's size in hex digits, got {line[:40]!r}")
        length = int(size, 16)
        if not length:
            break
        _bounded(len(body) + length, limit)
        body += _exactly(stream, length)
        if stream.readline(3).strip():
            raise MalformedBody("expected the end of a chunk's line after its data")
    for _ in range(100):
        if stream.readline(8192) in (b"\r\n", b"\n", b""):
            return bytes(body)
    raise MalformedBody("expected at most 100 trailer lines")


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding: none, identity, gzip or deflate.

    Raises:
        BodyTooLarge: more than `limit` bytes come out.
        MalformedBody: an unknown encoding, or data that are not so encoded.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise MalformedBody(f"expected Content-Encoding gzip, deflate or identity, got {encoding:.40}")
    plain = bytearray()
    try:
        while body:
            engine = zlib.decompressobj(31 if encoding == "gzip" else 15)
            plain += engine.decompress(body, limit + 1 - len(plain))
            if len(plain) > limit:
                raise BodyTooLarge(f"expected at most {limit} bytes after decompression, got more")
            if not engine.eof:
                raise MalformedBody(f"expected a whole {encoding} stream, got a part of one")
            body = engine.unused_data
    except zlib.error as error:
        raise MalformedBody(f"expected {encoding} data: {error}") from error
    return bytes(plain)
