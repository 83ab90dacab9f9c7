"""Toxics that come, change and go while connections are open, the same on both servers."""

from __future__ import annotations

import socket
import time

import pytest

LONG_MS = 60_000


def test_a_toxic_strikes_connections_that_are_open(place, wire):
    """It does not wait for a new connection."""
    sock = place.connect()
    wire.ask(sock)
    place.toxic("latency", latency=120)
    assert wire.ask(sock) >= 0.115


def test_an_update_strikes_connections_that_are_open(place, wire):
    """The next message has the new latency."""
    path = place.toxic("latency", latency=1)
    sock = place.connect()
    wire.ask(sock)
    place.api.request("PATCH", path, {"attributes": {"latency": 120}})
    assert wire.ask(sock) >= 0.115


def test_an_update_releases_what_is_held(place, wire):
    """A message that waits for a minute comes at once when the latency is lowered."""
    path = place.toxic("latency", latency=LONG_MS)
    sock = place.connect()
    sock.sendall(b"hello")
    wire.until(lambda: _arrived(place))
    place.api.request("PATCH", path, {"attributes": {"latency": 0}})
    assert wire.receive(sock, 5) == b"hello"


def _arrived(place) -> bool:
    """Give the echo its time to come back into the toxic; the embedded proxy can be asked."""
    if not place.api.embedded:
        time.sleep(0.2)
        return True
    toxics = place.api.request("GET", f"{place.path}/toxics").json
    counts = [place.api.request("GET", f"{place.path}/toxics/{t['name']}/counts").json for t in toxics]
    return all(count["bytes"] for count in counts)


@pytest.mark.parametrize(
    ("type", "attributes"),
    [("latency", {"latency": LONG_MS}), ("bandwidth", {"rate": 0})],
)
def test_a_removal_releases_what_is_held(place, wire, type, attributes):
    """Healing acts now, and no byte is lost."""
    path = place.toxic(type, **attributes)
    sock = place.connect()
    sock.sendall(b"hello")
    wire.until(lambda: _arrived(place))
    assert place.api.request("DELETE", path).status == 204
    assert wire.receive(sock, 5) == b"hello"
    wire.ask(sock)


def test_removing_a_timeout_closes_what_it_struck(place, wire):
    """The connection has lost data: it ends, and new ones work."""
    path = place.toxic("timeout", timeout=0)
    sock = place.connect()
    sock.sendall(b"hello")
    wire.until(lambda: _arrived(place))
    place.api.request("DELETE", path)
    assert wire.ending(sock) == "FIN"
    wire.ask(place.connect())


def test_a_removal_ends_the_effect_on_open_connections(place, wire):
    """After the heal a connection that was struck is as before."""
    path = place.toxic("slicer", average_size=1, delay=2000)
    sock = place.connect()
    assert wire.ask(sock, b"x" * 50) >= 0.08
    place.api.request("DELETE", path)
    payload = b"y" * 200_000
    assert wire.ask(sock, payload) < 100


def test_a_chain_survives_the_removal_of_its_middle(place, wire):
    """The other toxics stay in effect, in order."""
    for name in ("a", "b", "c"):
        body = {"type": "latency", "name": name, "attributes": {"latency": 60}}
        place.api.request("POST", f"{place.path}/toxics", body)
    sock = place.connect()
    assert wire.ask(sock) >= 0.17
    place.api.request("DELETE", f"{place.path}/toxics/b")
    assert wire.ask(sock) >= 0.115


def test_limit_data_counts_across_updates(place, wire):
    """Bytes that passed before an update count."""
    path = place.toxic("limit_data", bytes=1000)
    sock = place.connect()
    wire.ask(sock, b"x" * 60)
    place.api.request("PATCH", path, {"attributes": {"bytes": 100}})
    sock.sendall(b"y" * 100)
    assert wire.receive(sock, 100) == b"y" * 40


def test_reset_heals_open_connections(place, wire):
    """/reset removes toxics from live connections."""
    place.toxic("latency", latency=LONG_MS)
    sock = place.connect()
    assert place.api.request("POST", "/reset").status == 204
    wire.ask(sock)


def test_slow_close_can_be_removed_while_it_holds_a_close(api, upstream, wire):
    """The pending end is passed on."""
    place = api.proxy(upstream(lambda sock: sock.sendall(b"bye")).address)
    path = place.toxic("slow_close", delay=LONG_MS)
    with place.connect() as sock:
        assert wire.receive(sock, 3) == b"bye"
        if not api.embedded:
            time.sleep(0.2)
        else:
            wire.until(lambda: api.request("GET", f"{path}/counts").json["applied"])
        api.request("DELETE", path)
        assert wire.ending(sock) == "FIN"


def test_deleting_a_proxy_ends_its_connections(place, wire):
    """And frees its port."""
    sock = place.connect()
    wire.ask(sock)
    place.api.request("DELETE", place.path)
    assert wire.ending(sock) == "FIN"
    host, _, port = place.listen.rpartition(":")
    with socket.create_server((host, int(port))):
        pass
