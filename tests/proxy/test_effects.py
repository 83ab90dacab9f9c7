"""What each toxic does to real connections, the same on the embedded proxy and on Toxiproxy.

Effects are measured with one-sided bounds, below what was asked for: a busy machine only makes things slower.
"""

from __future__ import annotations

import socket
import threading
import time

import pytest

STREAMS = ["upstream", "downstream"]
MB = bytes(range(256)) * 4096


def test_without_toxics_bytes_pass_unchanged(place, wire):
    """A megabyte there and back."""
    sock = place.connect()
    sender = threading.Thread(target=sock.sendall, args=(MB,))
    sender.start()
    assert wire.receive(sock, len(MB)) == MB
    sender.join()


@pytest.mark.parametrize("stream", STREAMS)
def test_latency_delays(place, wire, stream):
    """Each message is late by the latency."""
    place.toxic("latency", stream, latency=120)
    sock = place.connect()
    assert min(wire.ask(sock) for _ in range(2)) >= 0.115


def test_latencies_add_up(place, wire):
    """On one stream and over both."""
    place.toxic("latency", "upstream", latency=60)
    place.toxic("latency", "downstream", latency=60)
    place.api.request(
        "POST", f"{place.path}/toxics", {"type": "latency", "name": "l2", "attributes": {"latency": 60}}
    )
    assert wire.ask(place.connect()) >= 0.17


def test_jitter_varies_and_keeps_the_order(place, wire):
    """Messages arrive in the order in which they were sent."""
    place.toxic("latency", latency=10, jitter=10)
    sock = place.connect()
    lines = [f"{number:06}".encode() for number in range(200)]
    for line in lines:
        sock.sendall(line)
    assert wire.receive(sock, 1200) == b"".join(lines)


@pytest.mark.parametrize("stream", STREAMS)
def test_bandwidth_limits(place, wire, stream):
    """40 kB at 200 kB/s take a fifth of a second, unchanged."""
    place.toxic("bandwidth", stream, rate=200)
    assert wire.ask(place.connect(), MB[:40_000]) >= 0.18


def test_bandwidth_0_stalls(place):
    """Nothing comes."""
    place.toxic("bandwidth", rate=0)
    sock = place.connect()
    sock.sendall(b"hello")
    sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        sock.recv(1)


@pytest.mark.parametrize("stream", STREAMS)
def test_slicer_passes_everything_in_pieces(place, wire, stream):
    """2,000 bytes in pieces of about 100, 5 ms apart: at least 90 ms."""
    place.toxic("slicer", stream, average_size=100, size_variation=20, delay=5000)
    assert wire.ask(place.connect(), MB[:2000]) >= 0.06


def test_slicer_slices_without_a_delay(place):
    """The pieces reach the client one by one."""
    place.toxic("slicer", average_size=10)
    sock = place.connect()
    got = b""
    reads = 0
    sock.sendall(MB[:2000])
    while len(got) < 2000:
        got += sock.recv(65536)
        reads += 1
    assert got == MB[:2000]
    assert reads > 1


def test_limit_data_downstream(place, wire):
    """The client gets so many bytes, then the end."""
    place.toxic("limit_data", bytes=100)
    sock = place.connect()
    sock.sendall(MB[:500])
    assert wire.receive(sock, 500) == MB[:100]
    assert wire.ending(sock) == "FIN"


def test_limit_data_upstream(api, upstream, wire):
    """The upstream gets so many bytes, then the end."""
    got = []

    def collect(sock: socket.socket) -> None:
        while data := sock.recv(65536):
            got.append(data)

    place = api.proxy(upstream(collect).address)
    place.toxic("limit_data", "upstream", bytes=100)
    with place.connect() as sock:
        sock.sendall(MB[:500])
        assert wire.ending(sock) == "FIN"
    wire.until(lambda: b"".join(got) == MB[:100])


@pytest.mark.parametrize("stream", STREAMS)
def test_limit_data_0_closes_on_the_first_byte(place, wire, stream):
    """Nothing passes."""
    place.toxic("limit_data", stream, bytes=0)
    sock = place.connect()
    sock.sendall(b"hello")
    assert wire.receive(sock, 1) == b""


@pytest.mark.parametrize("stream", STREAMS)
def test_timeout_swallows_then_closes(place, wire, stream):
    """No byte comes back, and the connection ends after the timeout."""
    place.toxic("timeout", stream, timeout=150)
    sock = place.connect()
    begin = time.monotonic()
    sock.sendall(b"hello")
    assert wire.receive(sock, 1) == b""
    assert time.monotonic() - begin >= 0.14
    assert wire.ending(sock) == "FIN"


def test_timeout_0_is_a_black_hole(place):
    """No byte, and no end."""
    place.toxic("timeout", timeout=0)
    sock = place.connect()
    sock.sendall(b"hello")
    sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        sock.recv(1)


@pytest.mark.parametrize("stream", STREAMS)
def test_reset_peer_resets(place, wire, stream):
    """The client sees RST once data flows, at once."""
    place.toxic("reset_peer", stream, timeout=0)
    sock = place.connect()
    sock.sendall(b"hello")
    assert wire.ending(sock) == "RST"


@pytest.mark.parametrize("stream", STREAMS)
def test_reset_peer_waits(place, wire, stream):
    """For its timeout after the first data."""
    place.toxic("reset_peer", stream, timeout=150)
    sock = place.connect()
    begin = time.monotonic()
    sock.sendall(b"hello")
    assert wire.ending(sock) == "RST"
    assert time.monotonic() - begin >= 0.14


def test_reset_peer_resets_the_upstream_too(api, upstream, wire):
    """The server behind sees RST, not a clean end."""
    seen = []

    def watch(sock: socket.socket) -> None:
        seen.append(wire.ending(sock))

    place = api.proxy(upstream(watch).address)
    place.toxic("reset_peer", "upstream", timeout=0)
    with place.connect() as sock:
        sock.sendall(b"hello")
        wire.until(lambda: seen)
    assert seen == ["RST"]


def test_slow_close_delays_the_end(api, upstream, wire):
    """The client gets the data at once, and the end later."""
    place = api.proxy(upstream(lambda sock: sock.sendall(b"bye")).address)
    place.toxic("slow_close", delay=200)
    with place.connect() as sock:
        begin = time.monotonic()
        assert wire.receive(sock, 3) == b"bye"
        assert wire.ending(sock) == "FIN"
        assert time.monotonic() - begin >= 0.19


def test_toxicity_0_strikes_nobody(place, wire):
    """The toxic is there, and without effect."""
    place.toxic("limit_data", toxicity=0, bytes=0)
    for _ in range(5):
        wire.ask(place.connect())


def test_toxicity_strikes_a_share_of_connections(place, wire):
    """Of 60 connections at one half, between 10 and 50 are struck (p < 1e-6 of a false alarm)."""
    place.toxic("limit_data", toxicity=0.5, bytes=0)
    struck = 0
    for _ in range(60):
        with place.connect() as sock:
            sock.sendall(b"hello")
            struck += wire.receive(sock, 5) == b""
    assert 10 <= struck <= 50


def test_the_streams_are_apart(api, upstream, wire):
    """A toxic on one stream leaves the other alone: a black hole upstream, the greeting still comes."""

    def greet(sock: socket.socket) -> None:
        sock.sendall(b"hi")
        sock.recv(1)

    place = api.proxy(upstream(greet).address)
    place.toxic("timeout", "upstream", timeout=0)
    with place.connect() as sock:
        sock.sendall(b"x")
        assert wire.receive(sock, 2) == b"hi"


def test_the_upstreams_end_reaches_the_client(api, upstream, wire):
    """An ordinary close is FIN, after all data."""
    place = api.proxy(upstream(lambda sock: sock.sendall(MB)).address)
    with place.connect() as sock:
        assert wire.receive(sock, len(MB)) == MB
        assert wire.ending(sock) == "FIN"


def test_the_clients_end_reaches_the_upstream(place, wire):
    """An ordinary close is seen behind the proxy, so that nothing is left open."""
    with place.connect() as sock:
        wire.ask(sock)
    place.connect().close()


def test_a_dead_upstream_ends_the_connection(api, upstream, wire):
    """The client can connect, and then sees the end."""
    server = upstream()
    place = api.proxy(server.address)
    server.close()
    with place.connect() as sock:
        assert wire.ending(sock) in ("FIN", "RST")


def test_a_slow_client_holds_up_the_upstream(api, upstream, wire):
    """What the proxy holds is bounded: an upstream cannot send 64 MB to a client that does not read."""
    sent = []

    def flood(sock: socket.socket) -> None:
        for _ in range(64):
            sock.sendall(MB)
            sent.append(len(MB))

    place = api.proxy(upstream(flood).address)
    with place.connect() as sock:
        before = -1
        while before != len(sent):  # until no more has been sent for a while
            before = len(sent)
            time.sleep(0.2)
        assert len(sent) < 48
        assert len(wire.receive(sock, 64 * len(MB))) == 64 * len(MB)


def test_ipv6(api, upstream, wire):
    """Listening on and connecting to IPv6."""
    body = {"name": "six", "listen": "[::1]:0", "upstream": upstream(host="::1").address}
    listen = api.request("POST", "/proxies", body).json["listen"]
    assert listen.startswith("[::1]:")
    with wire.dial(listen) as sock:
        wire.ask(sock)


def test_an_upstream_by_name(api, upstream, wire):
    """Names are looked up when a client connects."""
    port = upstream().address.rpartition(":")[2]
    with api.proxy(f"localhost:{port}").connect() as sock:
        wire.ask(sock)
