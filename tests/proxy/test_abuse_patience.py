"""API clients that wait, are slow, or are very many: each goes after a while, and whoever asks is answered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.proxy.vitals import GET, RESET, Watched, dialled, resident, send, statuses

CONNECTIONS = 20
MIB = 1024 * 1024


def running(embedded_server, tmp_path_factory, **limits: float) -> Iterator[Watched]:
    watched = Watched(type(embedded_server), tmp_path_factory.mktemp("waiting") / "report", **limits)
    yield watched
    watched.settle()
    watched.close()


@pytest.fixture(scope="module")
def hasty(embedded_server, tmp_path_factory) -> Iterator[Watched]:
    """A proxy's process whose API has less patience than by default. In the end nothing is left over."""
    yield from running(embedded_server, tmp_path_factory, request_s=1.0, idle_s=2.0)


@pytest.fixture(scope="module")
def small(embedded_server, tmp_path_factory) -> Iterator[Watched]:
    """One whose API takes no more than CONNECTIONS connections. In the end nothing is left over."""
    yield from running(embedded_server, tmp_path_factory, connections=CONNECTIONS)


@pytest.mark.parametrize("begin", [GET[:-2], RESET + b"Content-Length: 10\r\n\r\n12345"])
def test_a_request_that_takes_too_long_is_refused(hasty, begin):
    """Byte by byte or not at all: 408 when its time is over, and the connection ends."""
    before = hasty.metric("brownout_api_dropped_total", reason="slow")
    with dialled(hasty) as sock:
        sock.sendall(begin)
        sock.settimeout(0.1)
        got = b""
        while not got:
            with contextlib.suppress(TimeoutError):
                sock.sendall(b"X"[: begin is GET[:-2]])
                got = sock.recv(65536)
        assert statuses(got) == [408]
    assert hasty.metric("brownout_api_dropped_total", reason="slow") == before + 1


def test_a_client_that_asks_nothing_is_let_go(hasty):
    """With the end of the connection, also after a request, and after blank lines."""
    before = hasty.metric("brownout_api_dropped_total", reason="idle")
    assert send(hasty, b"") == b""
    assert send(hasty, b"\r\n\r\n\r\n") == b""
    assert statuses(send(hasty, GET)) == [200]
    assert hasty.metric("brownout_api_dropped_total", reason="idle") == before + 3


def test_a_client_that_does_not_read_is_let_go(hasty):
    """The replies that are made for it are bounded, and so is the time."""
    most = resident(hasty) + 32 * MIB
    before = hasty.metric("brownout_api_dropped_total", reason="unread")
    ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with dialled(hasty) as sock, contextlib.suppress(ConnectionError):
        while True:
            sock.sendall(ask * 100)
    assert hasty.metric("brownout_api_dropped_total", reason="unread") == before + 1
    assert resident(hasty) < most


@pytest.mark.parametrize("begin", [b"", GET, GET[:-2], RESET + b"Content-Length: 10\r\n\r\n12345"])
def test_who_only_waits_makes_room(small, begin):
    """Ten times as many connections as there may be: each new request is answered, and the gauge keeps its bound."""
    with contextlib.ExitStack() as kept:
        for _ in range(CONNECTIONS * 10):
            sock = kept.enter_context(dialled(small))
            with contextlib.suppress(ConnectionError):
                sock.sendall(begin)
        assert small.api.request("GET", "/version").status == 200
        assert small.metric("brownout_api_connections") <= CONNECTIONS
        assert small.metric("brownout_api_dropped_total", reason="crowded") >= CONNECTIONS * 9 - 1
