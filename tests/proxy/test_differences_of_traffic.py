"""The wanted differences from Toxiproxy in what becomes of connections, by their names in the list in `chaos.proxy`.

Each is shown on both servers, so that one that is none any more is noticed; on the embedded proxy alone where
Toxiproxy would hang or has a race.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest

from tests.proxy.differences import shows
from tests.proxy.layer7.tls_peers import Authority, over_tls

UPSTREAM = "127.0.0.1:1"


def echo(sock):
    """Send back what comes."""
    while data := sock.recv(65536):
        sock.sendall(data)


# --- TLS ----------------------------------------------------------------------------------------------------


@shows("tls")
@pytest.mark.parametrize("tls", [False, True])
def test_tls_is_spoken_on_both_sides(api, upstream, wire, tmp_path, tls):
    """To an https upstream, and to clients where that is asked for; there the client sees a close."""
    authority = Authority(tmp_path)
    address = upstream(over_tls(authority.server("127.0.0.1"), echo)).address
    place = api.proxy(f"https://{address}", tls=tls, upstream_ca=authority.path)
    shown = api.request("GET", place.path).json
    assert ("tls" in shown) is (tls and api.embedded)
    with place.connect() as plain:
        if not api.embedded:
            with contextlib.suppress(ConnectionResetError):
                assert wire.receive(plain, 1) == b""
            return
        context = ssl.create_default_context(cafile=shown["tls"]["ca"]) if tls else None
        with context.wrap_socket(plain, server_hostname="localhost") if context else plain as sock:
            sock.sendall(b"\0hello")
            assert wire.receive(sock, 6) == b"\0hello"


# --- who is struck ------------------------------------------------------------------------------------------


@shows("seed")
@pytest.mark.toxiproxy
@pytest.mark.parametrize("is_embedded", [True, False])
def test_a_seed_decides_who_is_struck(own_proxy, own_toxiproxy, is_embedded, upstream, wire):
    """The same 32 connections in two processes with one seed; there others (but for one time in 2**32)."""
    address = upstream().address

    def struck(api):
        body = {"name": "p", "listen": "127.0.0.1:0", "upstream": address}
        listen = api.request("POST", "/proxies", body).json["listen"]
        body = {"type": "limit_data", "toxicity": 0.5, "attributes": {"bytes": 0}}
        assert api.request("POST", "/proxies/p/toxics", body).status == 200
        pattern = []
        for _ in range(32):
            with wire.dial(listen) as sock:
                sock.sendall(b"x")
                pattern.append(wire.receive(sock, 1))
        return pattern

    start = own_proxy if is_embedded else own_toxiproxy
    first, second = (struck(start("--seed", "5")) for _ in range(2))
    assert set(first) == {b"", b"x"}
    assert (first == second) is is_embedded


@shows("draw")
def test_an_update_draws_nobody_anew(api, upstream, wire):
    """Whoever was spared stays spared; there some of 60 are struck (but for three in 10**8 runs)."""
    place = api.proxy(upstream().address)
    path = place.toxic("limit_data", toxicity=0.5, bytes=0)

    def spared(socks):
        for sock in socks:
            sock.sendall(b"x")
        return [sock for sock in socks if wire.receive(sock, 1)]

    first = spared([place.connect() for _ in range(60)])
    assert 0 < len(first) < 60
    assert api.request("PATCH", path, {}).status == 200
    assert (len(spared(first)) == len(first)) is api.embedded
    for sock in place.sockets:
        sock.close()


# --- how connections end ------------------------------------------------------------------------------------


@shows("linger")
def test_a_reset_is_rst_on_live_connections(api, upstream, wire):
    """Not only on those that were opened after the toxic was added; there they end as if in order."""
    place = api.proxy(upstream().address)
    with place.connect() as sock:
        wire.ask(sock)
        place.toxic("reset_peer", timeout=0)
        sock.sendall(b"hello")
        assert wire.ending(sock) == ("RST" if api.embedded else "FIN")


@shows("linger")
def test_an_ordinary_close_stays_fin(api, upstream, wire):
    """With a reset_peer in place that strikes nobody; there it is RST."""
    place = api.proxy(upstream(lambda sock: sock.sendall(b"bye")).address)
    place.toxic("reset_peer", toxicity=0)
    with place.connect() as sock:
        assert wire.ending(sock) == ("FIN" if api.embedded else "RST")


@shows("half-close")
def test_a_half_close_is_kept(api, upstream, wire):
    """A client that ends its sending side still gets the reply to all of it, through toxics too; there it is lost."""

    def count(sock: socket.socket) -> None:
        size = 0
        while data := sock.recv(65536):
            size += len(data)
        sock.sendall(f"{size} bytes".encode())

    place = api.proxy(upstream(count).address)
    for type, attributes in (("", {}), ("latency", {"latency": 20}), ("bandwidth", {"rate": 10_000})):
        if type:
            place.toxic(type, "upstream", **attributes)
        with place.connect() as sock:
            sock.sendall(b"x" * 100_000)
            sock.shutdown(socket.SHUT_WR)
            assert wire.receive(sock, 100) == (b"100000 bytes" if api.embedded else b"")


@shows("timeout")
def test_removing_a_timeout_leaves_the_unstruck_alone(api, upstream, wire):
    """A connection that was not struck goes on; there it is closed."""
    place = api.proxy(upstream().address)
    path = place.toxic("timeout", toxicity=0, timeout=0)
    with place.connect() as sock:
        wire.ask(sock)
        api.request("DELETE", path)
        if api.embedded:
            wire.ask(sock)
        else:
            assert wire.ending(sock) == "FIN"


@shows("reset")
def test_removing_a_reset_that_has_begun_resets(embedded, upstream, wire):
    """At once: the connection has lost data, so it cannot go on. One that has sent nothing can. There the call would
    not return for a minute.
    """
    place = embedded.proxy(upstream().address)
    path = place.toxic("reset_peer", "upstream", timeout=60_000)
    with place.connect() as begun, place.connect() as idle:
        begun.sendall(b"hello")
        wire.until(lambda: embedded.request("GET", f"{path}/counts").json["bytes"])
        embedded.request("DELETE", path)
        assert wire.ending(begun) == "RST"
        wire.ask(idle)


# --- what toxics hold ---------------------------------------------------------------------------------------


@shows("neighbours")
def test_a_neighbour_lets_nothing_go(api, upstream, wire):
    """What a toxic holds stays held when another comes and goes, until its own removal; there it comes."""
    place = api.proxy(upstream().address)
    path = place.toxic("bandwidth", rate=0)

    def come_and_go():
        api.request("DELETE", place.toxic("noop"))

    with place.connect() as sock:
        sock.sendall(b"hello")
        sock.settimeout(0.2)
        if api.embedded:
            wire.until(lambda: api.request("GET", f"{path}/counts").json["bytes"])
            come_and_go()
            with pytest.raises(TimeoutError):
                sock.recv(5)
            api.request("DELETE", path)
        else:
            arrived = []

            def came():
                come_and_go()
                with contextlib.suppress(TimeoutError):
                    arrived.append(sock.recv(5, socket.MSG_PEEK))
                return arrived

            wire.until(came, 30)
        sock.settimeout(10)
        assert wire.receive(sock, 5) == b"hello"


@shows("update")
def test_an_update_lets_all_go(embedded, upstream, wire):
    """Every piece that was held comes, though the rate is still 0. There one of them does; how the pieces were read
    is chance.
    """
    place = embedded.proxy(upstream().address)
    path = place.toxic("bandwidth", rate=0)
    with place.connect() as sock:
        for number in (1, 2, 3):
            sock.sendall(b"hello")
            wire.until(
                lambda size=5 * number: embedded.request("GET", f"{path}/counts").json["bytes"] == size
            )
        embedded.request("PATCH", path, {"attributes": {"rate": 0}})
        assert wire.receive(sock, 15) == b"hello" * 3
