"""Leases: what a holder injected goes when it stops renewing, and nothing else does."""

from __future__ import annotations

import socket

import pytest

UPSTREAM = "127.0.0.1:1"
SHORT = 300
LONG = 60_000


def lease(holder: str = "run", ttl_ms: int = LONG) -> dict[str, object]:
    return {"holder": holder, "ttl_ms": ttl_ms}


def leases(api):
    return {entry["holder"]: entry for entry in api.request("GET", "/leases").json["leases"]}


def toxics(api, place):
    return [toxic["name"] for toxic in api.request("GET", place.path).json["toxics"]]


def add(api, place, name, **more):
    reply = api.request("POST", f"{place.path}/toxics", {"type": "noop", "name": name, **more})
    assert reply.status == 200, reply.body


def test_a_toxic_goes_when_its_lease_runs_out(embedded, wire):
    """Toxics without a lease, and those of other holders, stay."""
    place = embedded.proxy(UPSTREAM)
    add(embedded, place, "mine", lease=lease(ttl_ms=SHORT))
    add(embedded, place, "free")
    add(embedded, place, "other", lease=lease("other"))
    wire.until(lambda: "mine" not in toxics(embedded, place))
    assert toxics(embedded, place) == ["free", "other"]
    assert "run" not in leases(embedded)
    assert leases(embedded)["other"]["toxics"] == [f"{place.name}/other"]


def test_an_expired_lease_frees_the_connection_that_it_held_up(embedded, upstream, wire):
    """The effect on an open connection ends with the lease, and what was held arrives."""
    place = embedded.proxy(upstream().address)
    body = {"type": "latency", "attributes": {"latency": LONG}, "lease": lease(ttl_ms=SHORT)}
    embedded.request("POST", f"{place.path}/toxics", body)
    with place.connect() as sock:
        wire.ask(sock)


def test_a_renewal_keeps_everything_of_the_holder(embedded, wire):
    """For as long as it goes on: the toxic outlives its first term."""
    place = embedded.proxy(UPSTREAM)
    add(embedded, place, "kept", lease=lease("busy", SHORT))
    add(embedded, place, "clock", lease=lease("idle", 2 * SHORT))

    def renewed_until_the_other_has_run_out():
        assert embedded.request("POST", "/leases/busy", {"ttl_ms": SHORT * 10}).status == 200
        return "clock" not in toxics(embedded, place)

    wire.until(renewed_until_the_other_has_run_out)
    assert toxics(embedded, place) == ["kept"]
    assert leases(embedded)["busy"]["toxics"] == [f"{place.name}/kept"]


def test_a_lease_is_listed_with_what_it_covers(embedded):
    """Holder, terms, toxics, and the proxies that it created or disabled."""
    place = embedded.proxy(UPSTREAM)
    made = embedded.proxy(UPSTREAM, lease=lease())
    add(embedded, place, "t", lease=lease())
    embedded.request("PATCH", place.path, {"enabled": False, "lease": lease()})
    listed = leases(embedded)["run"]
    assert listed["ttl_ms"] == LONG
    assert 0 < listed["expires_in_ms"] <= LONG
    assert listed["toxics"] == [f"{place.name}/t"]
    assert sorted(listed["proxies"]) == sorted([place.name, made.name])


def test_a_disabled_proxy_is_enabled_again(embedded, upstream, wire):
    """On the port that it had."""
    place = embedded.proxy(upstream().address)
    embedded.request("PATCH", place.path, {"enabled": False, "lease": lease(ttl_ms=SHORT)})
    with pytest.raises(ConnectionRefusedError):
        place.connect()
    wire.until(lambda: embedded.request("GET", place.path).json["enabled"])
    with place.connect() as sock:
        wire.ask(sock)


def test_a_created_proxy_is_deleted(embedded, wire):
    """With its port."""
    place = embedded.proxy(UPSTREAM, lease=lease(ttl_ms=SHORT))
    wire.until(lambda: embedded.request("GET", place.path).status == 404)
    host, _, port = place.listen.rpartition(":")
    socket.create_server((host, int(port))).close()


def test_a_holder_can_be_healed_at_once(embedded):
    """DELETE takes away all that it injected, and the lease; the second one is 404."""
    place = embedded.proxy(UPSTREAM)
    made = embedded.proxy(UPSTREAM, lease=lease())
    add(embedded, place, "t", lease=lease())
    embedded.request("PATCH", place.path, {"enabled": False, "lease": lease()})
    assert embedded.request("DELETE", "/leases/run").status == 204
    proxies = embedded.request("GET", "/proxies").json
    assert made.name not in proxies
    assert (proxies[place.name]["enabled"], proxies[place.name]["toxics"]) == (True, [])
    for method in ("DELETE", "POST"):
        reply = embedded.request(method, "/leases/run", {"ttl_ms": LONG})
        assert (reply.status, reply.json["error"]) == (404, "lease not found")


def test_what_was_healed_by_hand_is_forgotten(embedded):
    """A lease does not touch a toxic or a proxy that came later under the same name."""
    place = embedded.proxy(UPSTREAM)
    add(embedded, place, "t", lease=lease())
    embedded.request("DELETE", f"{place.path}/toxics/t")
    add(embedded, place, "t")
    embedded.request("PATCH", place.path, {"enabled": False, "lease": lease()})
    embedded.request("PATCH", place.path, {"enabled": True})
    embedded.request("PATCH", place.path, {"enabled": False})
    assert embedded.request("DELETE", "/leases/run").status == 204
    proxy = embedded.request("GET", place.path).json
    assert (proxy["enabled"], [t["name"] for t in proxy["toxics"]]) == (False, ["t"])


def test_a_proxy_that_was_disabled_already_is_not_enabled(embedded):
    """A lease undoes only what its holder did."""
    place = embedded.proxy(UPSTREAM)
    embedded.request("PATCH", place.path, {"enabled": False})
    embedded.request("PATCH", place.path, {"enabled": False, "lease": lease()})
    embedded.request("DELETE", "/leases/run")
    assert embedded.request("GET", place.path).json["enabled"] is False


def test_a_port_that_is_taken_is_tried_again(embedded, upstream, wire):
    """A lease that cannot be healed stays until it can: the proxy is enabled once its port is free again."""
    place = embedded.proxy(upstream().address)
    host, _, port = place.listen.rpartition(":")
    embedded.request("PATCH", place.path, {"enabled": False, "lease": lease(ttl_ms=SHORT)})
    with socket.create_server((host, int(port))):
        reply = embedded.request("DELETE", "/leases/run")
        assert reply.status == 500
        assert "address already in use" in reply.json["error"]
        assert "run" in leases(embedded)
    wire.until(lambda: embedded.request("GET", place.path).json["enabled"])
    wire.until(lambda: "run" not in leases(embedded))


@pytest.mark.parametrize(
    "bad",
    [
        {"holder": "", "ttl_ms": 1},
        {"holder": "a/b", "ttl_ms": 1},
        {"holder": "a"},
        {"holder": "a", "ttl_ms": 0},
        5,
    ],
)
def test_a_lease_that_is_none_is_refused(embedded, bad):
    """With 400, before anything is done."""
    place = embedded.proxy(UPSTREAM)
    assert embedded.request("POST", f"{place.path}/toxics", {"type": "noop", "lease": bad}).status == 400
    assert toxics(embedded, place) == []
    body = {"name": "leased", "upstream": UPSTREAM, "lease": bad}
    assert embedded.request("POST", "/proxies", body).status == 400
    assert embedded.request("GET", "/proxies/leased").status == 404


def test_a_lease_on_an_enabling_is_refused(embedded):
    """There would be nothing to heal."""
    place = embedded.proxy(UPSTREAM)
    assert embedded.request("PATCH", place.path, {"enabled": True, "lease": lease()}).status == 400
