"""Faults that are asked for ahead of their time: never early, seen when they began, gone when they are healed."""

from __future__ import annotations

import time

import pytest

from chaos.proxy.appointment import FARTHEST_MS

UPSTREAM = "127.0.0.1:1"
LONG = 60_000


def now_ms() -> float:
    return time.time() * 1000


def appoint(api, place, in_ms, **more):
    """A toxic that acts `in_ms` from now, and that time."""
    at_ms = now_ms() + in_ms
    body = {"type": "latency", "name": "late", "attributes": {"latency": LONG}, "at_ms": at_ms, **more}
    reply = api.request("POST", f"{place.path}/toxics", body)
    assert reply.status == 200, reply.body
    return at_ms


def test_a_toxic_acts_from_its_time_on(embedded, upstream, wire):
    """Not a moment earlier, on connections that are open already; `since_ms` says when it began."""
    place = embedded.proxy(upstream().address)
    with place.connect() as sock:
        at_ms = appoint(embedded, place, 500)
        shown = embedded.request("GET", f"{place.path}/toxics/late").json
        if now_ms() < at_ms:  # else this machine was too slow to see it wait
            assert "since_ms" not in shown
        wire.until(lambda: "since_ms" in embedded.request("GET", f"{place.path}/toxics/late").json)
        assert embedded.request("GET", f"{place.path}/toxics/late").json["since_ms"] >= at_ms - 1
        sock.sendall(b"x")
        wire.until(lambda: embedded.request("GET", f"{place.path}/toxics/late/counts").json["bytes"] == 1)
        assert embedded.request("DELETE", f"{place.path}/toxics/late").status == 204
        assert wire.receive(sock, 1) == b"x"


def test_until_its_time_data_passes(embedded, upstream, wire):
    """A toxic that waits is listed, and holds nothing up."""
    place = embedded.proxy(upstream().address)
    appoint(embedded, place, FARTHEST_MS - 5000)
    assert [toxic["name"] for toxic in embedded.request("GET", place.path).json["toxics"]] == ["late"]
    with place.connect() as sock:
        wire.ask(sock)
    assert embedded.request("GET", f"{place.path}/toxics/late/counts").json["connections"] == 0


def test_a_toxic_that_waits_can_be_healed(embedded, wire):
    """It is gone, and does not come back at its time; its name is free again."""
    place = embedded.proxy(UPSTREAM)
    at_ms = appoint(embedded, place, 200)
    assert embedded.request("DELETE", f"{place.path}/toxics/late").status == 204
    wire.until(lambda: now_ms() > at_ms + 100)
    assert embedded.request("GET", f"{place.path}/toxics").json == []
    appoint(embedded, place, 0)


def test_a_time_that_is_over_is_now(embedded):
    """What was long under way takes effect at once."""
    place = embedded.proxy(UPSTREAM)
    at_ms = appoint(embedded, place, -1000)
    assert embedded.request("GET", f"{place.path}/toxics/late").json["since_ms"] > at_ms


def test_toxics_are_chained_in_the_order_in_which_they_begin(embedded, wire):
    """One that begins later comes later, whatever was asked for first."""
    place = embedded.proxy(UPSTREAM)
    appoint(embedded, place, 100)
    embedded.request("POST", f"{place.path}/toxics", {"type": "noop", "name": "first"})
    wire.until(lambda: "since_ms" in embedded.request("GET", f"{place.path}/toxics/late").json)
    assert [toxic["name"] for toxic in embedded.request("GET", f"{place.path}/toxics").json] == [
        "first",
        "late",
    ]


def test_a_toxic_that_waits_has_a_lease(embedded, wire):
    """Its holder may die before its time: then that does not come."""
    place = embedded.proxy(UPSTREAM)
    appoint(embedded, place, FARTHEST_MS - 5000, lease={"holder": "dead", "ttl_ms": 50})
    wire.until(lambda: embedded.request("GET", f"{place.path}/toxics").json == [])


def test_a_proxy_is_disabled_at_its_time(embedded, upstream, wire):
    """It serves until then, says when it was, and is enabled as any other."""
    place = embedded.proxy(upstream().address)
    at_ms = now_ms() + 500
    asked = embedded.request("PATCH", place.path, {"enabled": False, "at_ms": at_ms})
    assert asked.json["at_ms"] == at_ms
    wire.until(lambda: not embedded.request("GET", place.path).json["enabled"])
    assert embedded.request("GET", place.path).json["since_ms"] >= at_ms - 1
    with pytest.raises(ConnectionRefusedError):
        place.connect()
    assert "at_ms" not in embedded.request("PATCH", place.path, {"enabled": True}).json
    with place.connect() as sock:
        wire.ask(sock)


@pytest.mark.parametrize("how", ["enable", "lease", "heal"])
def test_a_disabling_that_waits_can_be_healed(embedded, wire, how):
    """By enabling the proxy, by the end of the lease, by healing the holder: its time does not come."""
    place = embedded.proxy(UPSTREAM)
    ttl_ms = 50 if how == "lease" else LONG
    at_ms = now_ms() + 400
    body = {"enabled": False, "at_ms": at_ms, "lease": {"holder": f"by-{how}", "ttl_ms": ttl_ms}}
    assert embedded.request("PATCH", place.path, body).status == 200
    if how == "enable":
        assert embedded.request("PATCH", place.path, {"enabled": True}).status == 200
    elif how == "heal":
        assert embedded.request("DELETE", f"/leases/by-{how}").status == 204
    wire.until(lambda: now_ms() > at_ms + 100)
    wire.until(lambda: embedded.request("GET", place.path).json["enabled"])
    assert "at_ms" not in embedded.request("GET", place.path).json


@pytest.mark.parametrize("at_ms", [0, -1, "soon", None, 10**400, [1]])
def test_a_time_that_is_none_is_refused(embedded, at_ms):
    """Far away, or no number at all: 400, and nothing is there."""
    place = embedded.proxy(UPSTREAM)
    reply = embedded.request("POST", f"{place.path}/toxics", {"type": "noop", "at_ms": at_ms})
    if at_ms is None:  # null is as good as nothing, as everywhere in this API
        assert reply.status == 200
        return
    assert reply.status == 400
    assert b"at_ms" in reply.body
    assert embedded.request("GET", f"{place.path}/toxics").json == []
    assert embedded.request("PATCH", place.path, {"enabled": False, "at_ms": at_ms}).status == 400
    assert embedded.request("PATCH", place.path, {"enabled": True, "at_ms": now_ms()}).status == 400
    assert embedded.request("GET", place.path).json["enabled"]


def test_a_deleted_proxy_has_no_future(embedded, wire):
    """What was to happen to it does not happen to the next one of that name."""
    place = embedded.proxy(UPSTREAM)
    at_ms = appoint(embedded, place, 300)
    embedded.request("PATCH", place.path, {"enabled": False, "at_ms": at_ms})
    assert embedded.request("DELETE", place.path).status == 204
    body = {"name": place.name, "listen": "127.0.0.1:0", "upstream": UPSTREAM}
    assert embedded.request("POST", "/proxies", body).status == 201
    wire.until(lambda: now_ms() > at_ms + 100)
    shown = embedded.request("GET", place.path).json
    assert (shown["enabled"], shown["toxics"]) == (True, [])
