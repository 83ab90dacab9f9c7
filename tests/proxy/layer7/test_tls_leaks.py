"""TLS leaves nothing behind: no descriptor, task, timer or connection, however its connections ended."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest

from tests.proxy.layer7.tls_peers import Authority, HalfCloser, over_tls
from tests.proxy.vitals import Watched, reset, until

TIMES = 30


@pytest.fixture(scope="module")
def process(embedded_server, tmp_path_factory):
    """A proxy's process that tells what lives in it."""
    watched = Watched(type(embedded_server), tmp_path_factory.mktemp("tls") / "report")
    api = watched.api
    api.request("DELETE", api.proxy("127.0.0.1:1", tls=True).path)  # the CA's file stays open from now on
    watched.settled = watched.vitals() | {"TimerHandle": 1}
    yield watched
    watched.close()


@pytest.fixture
def watched(process):
    """The process, which has let everything go after the test."""
    yield process
    process.settle()


@pytest.fixture
def place(watched, tmp_path, upstream):
    """A TLS listener before an upstream that echoes by TLS."""
    authority = Authority(tmp_path)

    def echo(sock):
        with contextlib.suppress(OSError):
            while data := sock.recv(65536):
                sock.sendall(data)

    address = upstream(over_tls(authority.server("127.0.0.1"), echo)).address
    place = watched.api.proxy(f"https://{address}", tls=True, upstream_ca=authority.path)
    yield place
    for sock in place.sockets:
        sock.close()


def settled(watched):
    """All connections of clients are gone."""
    until(lambda: watched.metric("brownout_proxy_connections") == 0)


def ca_of(watched, place):
    """The file that trusts the listener."""
    return watched.api.request("GET", place.path).json["tls"]["ca"]


def test_orderly_ends(watched, place):
    """close_notify from the client, then from the upstream."""
    ca = ca_of(watched, place)
    for _ in range(TIMES):
        with HalfCloser(place.connect(), ca) as client:
            client.send(b"\0hello")
            client.end()
            assert client.read_all() == (b"\0hello", True)
    settled(watched)


def test_bare_ends_and_resets(watched, place):
    """In the middle of what is said, and of the handshake."""
    context = ssl.create_default_context(cafile=ca_of(watched, place))
    for number in range(TIMES):
        sock = context.wrap_socket(place.connect(), server_hostname="localhost")
        sock.sendall(b"\0hello")
        if number % 2:
            assert sock.recv(1) == b"\0"
        if number % 3:
            reset(sock)
        else:
            sock.close()
        sock = place.connect()
        sock.sendall(b"\x16\x03\x01\x02\0\1")
        if number % 3:
            reset(sock)
        else:
            sock.close()
    settled(watched)


def test_broken_tls(watched, place):
    """Garbage after the handshake, and in its place; the proxy's own word for it is no defect."""
    context = ssl.create_default_context(cafile=ca_of(watched, place))
    for _ in range(TIMES):
        with context.wrap_socket(place.connect(), server_hostname="localhost") as sock:
            socket.socket.send(sock, b"GET / HTTP/1.1\r\n\r\n")
        with place.connect() as sock:
            sock.sendall(b"\0" * 100)
            sock.recv(1)
    settled(watched)
    assert watched.metric("brownout_proxy_tls_failures_total") >= TIMES


def test_deleting_the_proxy_ends_all(watched, place):
    """Those that talk, and those in a handshake."""
    context = ssl.create_default_context(cafile=ca_of(watched, place))
    for _ in range(TIMES):
        sock = context.wrap_socket(place.connect(), server_hostname="localhost")
        place.sockets.append(sock)
        place.connect().sendall(b"\x16\x03\x01")
    watched.api.request("DELETE", place.path)
    settled(watched)
