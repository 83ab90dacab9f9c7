"""Our WebSocket client against a real server, and against servers that break the protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from tests.loadtests import unruly

ROOT = Path(__file__).resolve().parents[2]
TALKER = Path(__file__).with_name("talker.py")
WITHIN_S = 60
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def talk(url: str, *texts: str | None, timeout_s: float = 30.0) -> list[dict[str, Any]]:
    """Send texts (None: only receive) and tell what came."""
    done = subprocess.run(
        [sys.executable, str(TALKER), url, str(timeout_s)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input="".join(json.dumps(text) + "\n" for text in texts),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def served(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    """The package websockets as the server; it refuses whatever the protocol forbids a client."""
    server: Server
    with serve(handler, "127.0.0.1", 0, compression=None, close_timeout=5) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_messages_come_back_as_they_were_sent() -> None:
    """Texts of all sizes and scripts, in order; the request has the headers that it was given; a polite close."""
    seen: dict[str, Any] = {}

    def echo(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.update(path=connection.request.path, own=connection.request.headers["x-own"])
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                connection.send(message)
        seen["code"] = connection.close_code

    texts = ["", "a", "é€\U0001f600", "x" * 125, "x" * 126, "y" * 65_535, "z" * 65_536, "w" * 300_000]
    with served(echo) as url:
        first, *came = talk(url, *texts)
    assert first == {"open": True}
    assert [each["came"] for each in came] == texts
    assert seen == {"path": "/ws", "own": "1", "code": 1000}


def test_fragments_and_pings_are_the_clients_affair() -> None:
    """A reply in fragments, with pings before it, is one message, and each ping was answered."""
    answered = threading.Event()

    def handler(connection: ServerConnection) -> None:
        connection.recv()
        pongs = [connection.ping(), connection.ping(b"payload")]
        connection.send(["in ", "three ", "parts"])
        for pong in pongs:
            assert pong.wait(WITHIN_S)
        answered.set()
        connection.send("all answered")

    with served(handler) as url:
        assert talk(url, "go", None)[1:] == [{"came": "in three parts"}, {"came": "all answered"}]
    assert answered.is_set()


def test_what_came_before_the_close_is_there() -> None:
    """A server that answers and closes is heard first, and then it is closed."""

    def handler(connection: ServerConnection) -> None:
        connection.recv()
        connection.send("last")
        connection.close(1001)

    with served(handler) as url:
        assert talk(url, "go", None)[1:] == [{"came": "last"}, {"broken": "connection_closed"}]


def test_a_refused_handshake_is_its_status() -> None:
    """A status instead of a WebSocket is the error type."""
    with unruly.http(lambda request: request.reply(503, b"no")) as url:
        assert talk(url) == [{"refused": "503"}]


def _handshake(connection: socket.socket, **changes: bytes | None) -> None:
    """Answer as a server does, but for some headers (None: left out)."""
    head = b""
    while b"\r\n\r\n" not in head and (more := connection.recv(4096)):
        head += more
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
    assert key is not None
    headers: dict[str, bytes | None] = {
        "Upgrade": b"websocket",
        "Connection": b"keep-alive, Upgrade",
        "Sec_WebSocket_Accept": base64.b64encode(sha1(key[1] + GUID).digest()),  # noqa: S324
        **changes,
    }
    lines = [
        name.replace("_", "-").encode() + b": " + value
        for name, value in headers.items()
        if value is not None
    ]
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")


def test_a_message_right_behind_the_handshake_is_not_lost() -> None:
    """Some servers speak first, in the same packet."""

    def answer(connection: socket.socket) -> None:
        with connection.makefile("rwb") as file:
            _handshake(connection)
            file.write(b"\x81\x05first")
            file.flush()
            file.read()

    with unruly.tcp(answer) as url:
        assert talk(url, None)[1:] == [{"came": "first"}]


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec_WebSocket_Accept": b"bm90IGl0"},
        {"Sec_WebSocket_Accept": None},
        {"Upgrade": b"h2c"},
        {"Connection": None},
        {"Sec_WebSocket_Extensions": b"permessage-deflate"},
        {"Sec_WebSocket_Protocol": b"chat"},
        {"no colon in it\r\nX": b"1"},
    ],
    ids=lambda changes: "-".join(changes)[:24],
)
def test_a_handshake_that_is_none_is_refused(changes: dict[str, bytes | None]) -> None:
    """A 101 that does not answer the key, or agrees to what nobody asked, is a protocol error."""
    with unruly.tcp(lambda connection: _handshake(connection, **changes)) as url:
        assert talk(url) == [{"refused": "protocol_error"}]


@pytest.mark.parametrize(
    ("said", "error_type"),
    [
        (b"SSH-2.0-x\r\n", "protocol_error"),
        (b"HTTP/1.1 abc\r\n\r\n", "protocol_error"),
        (b"HTTP/1.1 " + b"x" * 70_000, "protocol_error"),
        (b"HTTP/1.1 101 Swi", "connection_closed"),
        (b"", "connection_closed"),
        (b"HTTP/1.0 403\n\n", "403"),
    ],
    ids=["other", "status", "endless", "half", "nothing", "bare"],
)
def test_garbage_instead_of_a_handshake_has_a_name(said: bytes, error_type: str) -> None:
    """Whatever a server says instead, the client tells what it was, and does not wait for more."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        with contextlib.suppress(OSError):  # the client has heard enough
            connection.sendall(said)

    with unruly.tcp(answer) as url:
        assert talk(url) == [{"refused": error_type}]


@pytest.mark.parametrize(
    ("said", "error_type"),
    [
        (b"\x82\x01x", "protocol_error"),
        (b"\x81\x81maskx", "protocol_error"),
        (b"\x81\x05ha", "connection_closed"),
        (b"", "connection_closed"),
    ],
    ids=["binary", "masked", "half", "nothing"],
)
def test_frames_that_are_none_have_a_name(said: bytes, error_type: str) -> None:
    """A frame that must not be, or the end in the middle of one."""

    def answer(connection: socket.socket) -> None:
        _handshake(connection)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while connection.recv(4096):
                pass

    with unruly.tcp(answer) as url:
        (said_last,) = talk(url, None)[-1].values()  # it may come with the handshake, or later
        assert said_last == error_type


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    """A time-out is one: in the handshake, and where pings come instead of a reply."""

    def silent(connection: socket.socket) -> None:
        while connection.recv(4096):
            pass

    def pinging(connection: socket.socket) -> None:
        _handshake(connection)
        connection.sendall(b"\x89\x00")
        silent(connection)

    with unruly.tcp(silent) as url:
        assert talk(url, timeout_s=0.2) == [{"refused": "timeout"}]
    with unruly.tcp(pinging) as url:
        assert talk(url, None, timeout_s=1.0)[1:] == [{"broken": "timeout"}]
