"""What is said on connections in memory, and a request that goes through."""

from __future__ import annotations

from tests.proxy.layer7.in_memory import Memory, Pair

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"


def post(size: int, *lines: bytes, body: bytes = b"") -> bytes:
    """The head of a request with a body, and what is given of it."""
    return b"\r\n".join([b"POST /a HTTP/1.1", b"Content-Length: %d" % size, *lines]) + b"\r\n\r\n" + body


def say(memory: Memory, pair: Pair, side: str, data: bytes) -> None:
    getattr(pair, side).send(data)
    memory.loop.turn()


def finish(memory: Memory, pair: Pair, *sides: str) -> None:
    for side in sides:
        getattr(pair, side).finish()
        memory.loop.turn()


def served(memory: Memory, pair: Pair) -> None:
    """A request goes through, on this connection."""
    asked, answered = len(pair.upstream.got), len(pair.client.got)
    say(memory, pair, "client", GET)
    assert pair.upstream.got[asked:] == GET
    say(memory, pair, "upstream", OK)
    assert pair.client.got[answered:] == OK
