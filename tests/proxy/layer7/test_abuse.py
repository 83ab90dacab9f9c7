"""Abuse over real sockets: large, endless, slow and malicious messages, in a process of its own that is looked into.

What is left over is asked of the process itself: its descriptors, and the objects that are alive in it.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.layer7.scene import GET, MIB, OK, Scene, Sending, at_least, take
from tests.proxy.vitals import WAIT_S, Watched, resident


@pytest.fixture(scope="module")
def process(embedded_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A proxy's process that tells what lives in it."""
    watched = Watched(type(embedded_server), tmp_path_factory.mktemp("layer7") / "report")
    yield watched
    watched.close()


@pytest.fixture
def scene(process: Watched) -> Iterator[Scene]:
    """After the test nothing is left over, and nothing has gone wrong."""
    scene = Scene(process)
    yield scene
    scene.close()
    process.settle()


# --- large --------------------------------------------------------------------------------------------------

LARGE = 100 * MIB
TOXICS: dict[str, tuple[str, dict[str, Any], dict[str, Any]] | None] = {
    "none": None,
    "not fitting": ("http_reply", {}, {"where": {"json": {"/a": 1}}}),
    "delayed": ("http_delay", {"delay": 1}, {}),
    "edited, upstream": ("json_edit", {"pointer": "/a"}, {"stream": "upstream"}),
    "edited": ("json_edit", {"pointer": "/a"}, {}),
    "replayed": ("reply_replayed", {}, {}),
    "streamed": ("sse_unfinished", {}, {}),
}


def large(chunked: bool) -> Iterator[bytes]:
    """A large body, in its framing, and the line that says so first."""
    piece = bytes(range(256)) * 4096
    yield b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % LARGE
    for _ in range(LARGE // MIB):
        yield b"%x\r\n%b\r\n" % (MIB, piece) if chunked else piece
    if chunked:
        yield b"0\r\n\r\n"


def passes(to: socket.socket, size: int) -> int:
    """Take that many bytes, and add them up."""
    total = left = 0
    buffer = bytearray(MIB)
    while left < size:
        got = to.recv_into(buffer, min(MIB, size - left))
        assert got
        left += got
        total += buffer.count(b"\x07", 0, got)
    return total


@pytest.mark.parametrize(
    ("toxic", "chunked"), [*((toxic, True) for toxic in TOXICS), ("none", False), ("edited", False)]
)
def test_a_large_body_streams_through(scene: Scene, toxic: str, chunked: bool) -> None:
    """100 MiB each way, whatever looks at it, in a few MiB of memory; what would have to see it whole is told so."""
    asked = TOXICS[toxic]
    path = scene.toxic(asked[0], asked[1], **asked[2]) if asked else ""
    client, upstream = scene.pair()
    before = at_least(scene.watched)
    size = sum(map(len, large(chunked)))

    def request() -> Iterator[bytes]:
        yield b"POST /a HTTP/1.1\r\nHost: a\r\n"
        yield from large(chunked)

    def reply() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        yield from large(chunked)

    with Sending(client, request):
        assert passes(upstream, size + len(b"POST /a HTTP/1.1\r\nHost: a\r\n")) >= LARGE // 256
    with Sending(upstream, reply):
        if chunked and asked and asked[0] != "http_reply" and asked[2].get("stream") != "upstream":
            passes(client, LARGE)  # chunks may be cut otherwise
            client.settimeout(WAIT_S)
            while not client.recv(MIB).endswith(b"0\r\n\r\n"):
                pass
        else:
            assert passes(client, size + len(b"HTTP/1.1 200 OK\r\n")) >= LARGE // 256
    assert resident(scene.watched) - before < 40 * MIB
    if toxic in ("not fitting", "edited", "edited, upstream"):
        assert scene.counts(path)["unread"] == 1
    assert scene.counts(path)["applied"] <= (toxic == "delayed") if path else True


# --- compressed ---------------------------------------------------------------------------------------------


def encoded(encoding: str) -> bytes:
    """A reply whose body is a bomb, or of an encoding that is not read."""
    body = (
        gzip.compress(b'{"a":' + b" " * 64 * MIB + b"1}")
        if encoding == "gzip"
        else b"\x1b\x03\x00" + b"x" * 100
    )
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "gzip, gzip"])
def test_what_cannot_be_decoded_within_a_bound_passes_and_is_told(scene: Scene, encoding: str) -> None:
    """Bombs, br, what is not what it says: as it came, counted as unread."""
    toxic = scene.toxic("json_edit", {"pointer": "/a"})
    client, upstream = scene.pair()
    client.sendall(GET)
    take(upstream, len(GET))
    reply = encoded(encoding)
    before = at_least(scene.watched)
    upstream.sendall(reply)
    assert take(client, len(reply)) == reply
    assert scene.counts(toxic) | {"bytes": 0} == {
        "connections": 1, "bytes": 0, "applied": 0, "matched": 1, "unread": 1
    }  # fmt: skip
    assert resident(scene.watched) - before < 40 * MIB


def test_json_bombs_are_no_json(scene: Scene) -> None:
    """Deep, huge, half a surrogate pair, no UTF-8: requests that toxics look into, and replies that they would edit."""
    scene.toxic("json_edit", {"pointer": "/a", "action": "scale", "factor": 1e12}, name="down")
    scene.toxic("json_edit", {"pointer": "/a", "action": "scale"}, name="up", stream="upstream")
    scene.toxic("rpc_error", name="rpc", toxicity=0.5, where={"tool": "nobody"})
    scene.toxic("http_reply", name="id", toxicity=0.000001, id={"json": "/a"})
    client, upstream = scene.pair()
    bombs = (
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"9" * 4000 + b"}",
        b'{"a":' + b"9" * 100_000 + b"}",
        b'{"a":"\\ud800","jsonrpc":"2.0","method":"\\ud800"}',
        b'{"a":'
        + b"[" * 900
        + b"]" * 900
        + b',"jsonrpc":"2.0","id":1,"method":"m","params":{"b":'
        + b"[" * 800
        + b"]" * 800
        + b"}}",
        b"\xff\xfe\x00{}",
        b'{"a":NaN}',
        b"",
    )
    for bomb in bombs:
        body = b"Content-Length: %d\r\n\r\n%b" % (len(bomb), bomb)
        client.sendall(b"POST /a HTTP/1.1\r\n" + body)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += take(upstream, 1)
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        take(upstream, int(length[1]))
        upstream.sendall(b"HTTP/1.1 200 OK\r\n" + body)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += take(client, 1)
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        take(client, int(length[1]))
    assert scene.watched.metric("brownout_defects_total") == 0


# --- many ---------------------------------------------------------------------------------------------------


def test_ten_thousand_pipelined_requests_are_answered_in_order(scene: Scene) -> None:
    """By the upstream, by a toxic in its place, and late: each reply is where its request was."""
    scene.toxic("http_reply", {"body": "made up"}, name="made", where={"path": "*7"})
    scene.toxic("http_delay", {"delay": 1}, name="slow", where={"path": "*99"})
    client, upstream = scene.pair()
    requests = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(10_000))

    def serve() -> Iterator[bytes]:
        got = b""
        left = 9_000
        while left:
            got += upstream.recv(MIB)
            *whole, got = got.split(b"\r\n\r\n")
            left -= len(whole)
            for one in whole:
                number = one.split()[1][1:]
                yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(number), number)

    def ask() -> Iterator[bytes]:
        yield requests

    with Sending(client, ask), Sending(upstream, serve):
        stream = client.makefile("rb")
        for number in range(10_000):
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.startswith(b"Content-Length: "):
                    length = int(line.split()[1])
            assert stream.read(length) == (b"made up" if number % 10 == 7 else b"%d" % number)
        stream.close()


def test_answers_to_a_client_that_does_not_read_are_bounded(scene: Scene) -> None:
    """It sends requests as long as it can: what is made up for it does not pile up."""
    scene.toxic("http_reply", {"body": "x" * 60_000})
    client, _ = scene.pair()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    before = at_least(scene.watched)
    client.settimeout(0.5)
    with pytest.raises(TimeoutError):
        while True:
            client.sendall(GET * 1000)
    assert resident(scene.watched) - before < 40 * MIB


def test_a_head_that_comes_byte_by_byte_costs_no_more_than_its_bytes(scene: Scene) -> None:
    """60 KiB of it: a slow-loris may hold a connection, not the processor."""
    client, upstream = scene.pair()
    head = b"GET / HTTP/1.1\r\nA: " + b"b" * 60_000 + b"\r\n\r\n"

    def seconds() -> float:
        fields = Path(f"/proc/{scene.watched.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before = seconds()
    for at in range(len(head)):
        client.send(head[at : at + 1])
    assert take(upstream, len(head)) == head
    assert seconds() - before < 20


# --- bad peers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["http", "tcp"])
@pytest.mark.parametrize(
    "shape",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
    ],
)
def test_what_cannot_be_read_passes_and_is_told(process: Watched, protocol: str, shape: bytes) -> None:
    """Requests that two readers could take for two things, and what is no HTTP: as they came, counted as unread."""
    scene = Scene(process, protocol)
    toxic = scene.toxic("http_reply", {}, where={"path": "/never"})
    client, upstream = scene.pair()
    client.sendall(shape)
    assert take(upstream, len(shape)) == shape
    upstream.sendall(OK)
    assert take(client, len(OK)) == OK
    client.sendall(GET)
    assert take(upstream, len(GET)) == GET
    assert scene.counts(toxic)["unread"] == 1
    scene.close()
    process.settle()


def test_the_record_tells_of_what_is_in_no_charset(scene: Scene) -> None:
    """Ids and methods with halves of surrogate pairs and Latin-1 come out of the API as JSON."""
    scene.toxic("http_reply", {"status": 500}, id={"json": "/id"})
    client, _ = scene.pair()
    body = b'{"id":"\\ud800\\u0000","jsonrpc":"2.0","method":"\\udfff"}'
    client.sendall(
        b"POST /%%ff HTTP/1.1\r\nTraceparent: 00-\xe9-b-01\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    assert take(client, 12) == b"HTTP/1.1 500"
    reply = scene.watched.api.request("GET", f"{scene.place.path}/hits")
    assert json.loads(reply.body)["hits"][0]["type"] == "http_reply"
