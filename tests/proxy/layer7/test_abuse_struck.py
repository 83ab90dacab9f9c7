"""Resets and heals, in every state that a toxic can bring a connection into: over real sockets, nothing is left over."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.proxy.layer7.scene import EVENT, GET, OK, STREAM, Scene, rest, take
from tests.proxy.vitals import Watched, reset, until


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


LONG_MS = 10**7
STRUCK: dict[str, tuple[str, dict[str, Any], dict[str, Any], bytes]] = {
    "request delayed": ("http_delay", {"delay": LONG_MS}, {"stream": "upstream"}, b""),
    "request half collected": ("json_edit", {"pointer": "/a"}, {"stream": "upstream"}, b""),
    "request half dropped": ("http_reply", {}, {}, b""),
    "request lost": ("request_lost", {"how": "hang"}, {}, b""),
    "reply delayed": ("http_delay", {"delay": LONG_MS}, {}, OK),
    "reply half edited": ("json_edit", {"pointer": "/a"}, {}, OK[:-1]),
    "reply half lost": ("reply_lost", {"how": "hang"}, {}, OK[:-1]),
    "reply lost": ("reply_lost", {"how": "hang"}, {}, OK),
    "reply half replayed": ("reply_replayed", {}, {}, OK[:-1]),
    "reply half truncated": ("http_truncate", {"bytes": 1}, {}, OK[:-1]),
    "stream stalled": ("sse_stall", {"events": 1}, {}, STREAM + EVENT * 3),
    "stream stalled for long": ("sse_stall", {"events": 1, "stall": LONG_MS}, {}, STREAM + EVENT * 3),
    "stream slow": ("sse_delay", {"first": LONG_MS, "every": LONG_MS}, {}, STREAM + EVENT * 3),
    "stream cut": ("sse_cut", {"events": 1}, {}, STREAM + EVENT * 3),
    "stream left unfinished": ("sse_unfinished", {}, {}, STREAM + EVENT),
    "delivered twice": ("request_twice", {}, {}, b""),
}
HALF = b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"


def struck(scene: Scene, state: str) -> tuple[str, tuple[socket.socket, socket.socket]]:
    """A connection in that state, and what brought it there."""
    kind, attributes, more, reply = STRUCK[state]
    path = scene.toxic(kind, attributes, **more)
    client, upstream = scene.pair()
    client.sendall(HALF if state.startswith("request half") else GET)
    if reply:
        take(upstream, len(GET))
        upstream.sendall(reply)
    if "half" not in state and state != "stream left unfinished" and state != "delivered twice":
        until(lambda: scene.counts(path)["applied"] == 1, state)
    if state == "delivered twice":
        scene.sockets.append(scene.listener.accept()[0])
    return path, (client, upstream)


@pytest.mark.parametrize("who", ["client", "upstream", "both"])
@pytest.mark.parametrize("state", list(STRUCK))
def test_peers_reset_in_every_state(scene: Scene, state: str, who: str) -> None:
    """When the other one has gone too nothing is left, though the toxic is there and would hold for hours."""
    _, (client, upstream) = struck(scene, state)
    first, second = (client, upstream) if who != "upstream" else (upstream, client)
    reset(first)
    if who != "both":
        second.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            rest(second)
    reset(second)
    until(lambda: scene.open() == 0, "the end of the connection")


CLOSES = ("request lost", "reply lost")
"""What has been taken from these connections cannot be given back: they are closed."""


@pytest.mark.parametrize("state", [state for state in STRUCK if state != "delivered twice"])
def test_what_is_struck_heals(scene: Scene, state: str) -> None:
    """When its toxic is gone a connection goes on, or is closed where it cannot: nobody is left waiting."""
    path, (client, upstream) = struck(scene, state)
    scene.heal(path)
    if state in CLOSES:
        assert rest(client) == b""
    elif state in ("request half collected", "request half dropped"):
        client.sendall(b'"a":1 }}')
        if state.endswith("collected"):
            assert take(upstream, len(HALF) + 8) == HALF + b'"a":1 }}'
            upstream.sendall(OK)
            assert take(client, len(OK)) == OK
        else:
            assert take(client, 12) == b"HTTP/1.1 503"
    elif state == "request delayed":
        assert take(upstream, len(GET)) == GET
        upstream.sendall(OK)
        assert take(client, len(OK)) == OK
    elif state.startswith("stream"):
        upstream.sendall(EVENT + b"0\r\n\r\n" + OK)
        client.sendall(GET)
        take(upstream, len(GET))
        got = b""
        while not got.endswith(OK):
            got += take(client, 1)
        events = {"stream cut": 1, "stream left unfinished": 2}.get(state, 4)
        assert got.count(b"data: a") == events and got.count(b"HTTP/1.1") == 2
    else:
        upstream.sendall(OK[-1:] if "half" in state else b"")
        if state == "reply half lost":
            assert rest(client) == b""
        elif state == "reply half truncated":
            assert take(client, 10).startswith(b"HTTP/1.1 2")
        else:
            assert take(client, len(OK)) == OK
    scene.serves()
