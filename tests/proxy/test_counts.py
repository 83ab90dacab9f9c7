"""Counts per toxic: the evidence that a fault acted."""

from __future__ import annotations

import pytest


def counts(place, path):
    return place.api.request("GET", f"{path}/counts").json


@pytest.mark.parametrize(
    ("type", "attributes", "applied"),
    [
        ("noop", {}, 0),
        ("latency", {"latency": 5}, 1),
        ("latency", {"latency": 0}, 0),
        ("bandwidth", {"rate": 1000}, 1),
        ("slicer", {"average_size": 2}, 2),
        ("limit_data", {"bytes": 5}, 1),
    ],
)
def test_what_a_toxic_did_is_counted(own_place, wire, type, attributes, applied):
    """Connections struck, bytes that reached it, and the times that it acted."""
    path = own_place.toxic(type, **attributes)
    assert counts(own_place, path) == {"connections": 0, "bytes": 0, "applied": 0}
    wire.ask(own_place.connect())
    assert counts(own_place, path) == {"connections": 1, "bytes": 5, "applied": applied}


def test_a_reset_is_counted_once(own_place, wire):
    """One for each connection that it reset."""
    path = own_place.toxic("reset_peer", "upstream")
    for _ in range(3):
        sock = own_place.connect()
        sock.sendall(b"hello")
        wire.ending(sock)
    assert counts(own_place, path) == {"connections": 3, "bytes": 15, "applied": 3}


def test_slow_close_counts_the_closes_that_it_delayed(own_place, wire):
    """One for each."""
    path = own_place.toxic("slow_close", "upstream", delay=10)
    with own_place.connect() as sock:
        wire.ask(sock)
        assert counts(own_place, path)["applied"] == 0
    wire.until(lambda: counts(own_place, path)["applied"] == 1)


def test_who_is_not_struck_is_not_counted(own_place, wire):
    """A fault that struck nobody has counts of 0."""
    path = own_place.toxic("latency", toxicity=0, latency=100)
    wire.ask(own_place.connect())
    assert counts(own_place, path) == {"connections": 0, "bytes": 0, "applied": 0}


def test_counts_outlive_the_toxic(own_place, wire):
    """What it did until it was removed can be read afterwards: nothing is lost between a look and the heal."""
    path = own_place.toxic("latency", latency=1)
    wire.ask(own_place.connect())
    assert own_place.api.request("DELETE", path).status == 204
    assert counts(own_place, path) == {"connections": 1, "bytes": 5, "applied": 1}
    assert own_place.api.request("GET", path).status == 404
    path = own_place.toxic("latency", latency=1)
    assert counts(own_place, path)["bytes"] == 0
    assert own_place.api.request("GET", f"{path}-other/counts").status == 404


def test_metrics_are_served_when_asked_for(own_place, wire):
    """Toxiproxy's byte counters under its names, and the counts of each toxic."""
    own_place.toxic("latency", latency=1)
    wire.ask(own_place.connect())
    reply = own_place.api.request("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain")
    lines = reply.body.decode().splitlines()

    def value(metric, direction):
        (line,) = [
            line
            for line in lines
            if line.startswith(metric + "{")
            and f'proxy="{own_place.name}"' in line
            and f'direction="{direction}"' in line
        ]
        return float(line.rpartition(" ")[2])

    for direction in ("upstream", "downstream"):
        assert value("toxiproxy_proxy_received_bytes_total", direction) == 5
        assert value("toxiproxy_proxy_sent_bytes_total", direction) == 5
    assert value("brownout_toxic_connections_total", "downstream") == 1
    assert value("brownout_toxic_bytes_total", "downstream") == 5
    assert value("brownout_toxic_applied_total", "downstream") == 1
