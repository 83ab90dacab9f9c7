"""The wanted differences from Toxiproxy in what the API answers and what becomes of proxies, by their names in the
list in `chaos.proxy`.

Each is shown on both servers, so that one that is none any more is noticed; on the embedded proxy alone where
Toxiproxy would hang or listen beyond loopback.
"""

from __future__ import annotations

import contextlib
import importlib
import socket
import time

import pytest

from tests.proxy.differences import LISTED, SHOWN, shows

UPSTREAM = "127.0.0.1:1"


def test_the_list_and_its_tests_correspond():
    """Each difference of the list has tests, each test of the modules shows one of the list, and none is there
    twice.
    """
    names = set()
    for module in ("test_differences", "test_differences_of_traffic", "test_differences_at_layer7"):
        names |= {
            name for name in vars(importlib.import_module(f"tests.proxy.{module}")) if name[:5] == "test_"
        }
    assert sorted(SHOWN) == sorted(LISTED)
    assert len(LISTED) > 20
    assert names == set.union(*SHOWN.values()) | {"test_the_list_and_its_tests_correspond"}


def create(api, name, **more):
    """A proxy; its reply."""
    body = {"name": name, "listen": "127.0.0.1:0", "upstream": UPSTREAM} | more
    return api.request("POST", "/proxies", body)


# --- what is accepted ---------------------------------------------------------------------------------------


@shows("validation")
@pytest.mark.parametrize(
    ("type", "attributes", "word"),
    [
        ("bandwidth", {"rate": -1}, "rate"),
        ("slicer", {}, "average_size"),
        ("slicer", {"average_size": 10, "size_variation": 10}, "size_variation"),
        ("latency", {"jitter": 2**63 - 1}, "jitter"),
        ("latency", {"latency": -1}, "latency"),
        ("timeout", {"timeout": -5}, "timeout"),
        ("limit_data", {"bytes": -1}, "bytes"),
    ],
)
def test_attributes_out_of_range_are_refused(api, type, attributes, word):
    """With 400 and the attribute's name; there they are accepted."""
    place = api.proxy(UPSTREAM)
    reply = api.request("POST", f"{place.path}/toxics", {"type": type, "attributes": attributes})
    if not api.embedded:
        assert reply.status == 200
        return
    assert reply.status == 400
    assert reply.json["error"].startswith("bad request body: attributes.") and word in reply.json["error"]
    assert api.request("GET", f"{place.path}/toxics").json == []


@shows("validation")
@pytest.mark.toxiproxy
@pytest.mark.parametrize(
    ("type", "attributes"), [("bandwidth", {"rate": -1}), ("latency", {"jitter": 2**63 - 1})]
)
def test_some_of_them_crash_toxiproxy(own_toxiproxy, upstream, wire, type, attributes):
    """As a whole, with the first data: which is why they are refused."""
    api = own_toxiproxy()
    place = api.proxy(upstream().address)
    place.toxic(type, **attributes)
    with place.connect() as sock, contextlib.suppress(ConnectionResetError):
        sock.sendall(b"hello")
        sock.recv(1)
    assert api.process.wait(30) != 0


@shows("validation")
@pytest.mark.parametrize("toxicity", [-0.1, 1.5])
def test_a_toxicity_is_a_share(api, toxicity):
    """Outside of 0..1 it is 400; there it is taken."""
    place = api.proxy(UPSTREAM)
    reply = api.request("POST", f"{place.path}/toxics", {"type": "noop", "toxicity": toxicity})
    assert reply.status == (400 if api.embedded else 200)
    assert ("toxicity: expected 0 to 1" in reply.body.decode()) is api.embedded


# --- proxies ------------------------------------------------------------------------------------------------


@shows("atomic")
def test_populate_changes_all_or_nothing(api):
    """One address that cannot be bound, and every proxy is as it was, toxics too; there what came before it stays."""
    place = api.proxy(UPSTREAM)
    place.toxic("noop")
    before = api.request("GET", "/proxies").json
    body = [
        {"name": place.name, "listen": "127.0.0.1:0", "upstream": UPSTREAM},
        {"name": "new", "listen": "127.0.0.1:0", "upstream": UPSTREAM},
        {"name": "bad", "listen": "192.0.2.1:1", "upstream": UPSTREAM},
    ]
    reply = api.request("POST", "/populate", body)
    assert reply.status == 500
    after = api.request("GET", "/proxies").json
    assert (after == before) is api.embedded
    assert ("new" in after) is not api.embedded


@shows("atomic")
def test_populate_can_swap_ports(api):
    """Since what is replaced is closed first; there the first one finds its port taken."""
    a, b = api.proxy(UPSTREAM), api.proxy(UPSTREAM)
    body = [
        {"name": a.name, "listen": b.listen, "upstream": UPSTREAM},
        {"name": b.name, "listen": a.listen, "upstream": UPSTREAM},
    ]
    reply = api.request("POST", "/populate", body)
    assert reply.status == (201 if api.embedded else 500)
    if api.embedded:
        assert [p["listen"] for p in reply.json["proxies"]] == [b.listen, a.listen]


@shows("atomic")
def test_a_failed_patch_changes_nothing(api, upstream, wire):
    """A busy port: 500, and the proxy works on where it was; there it is disabled, on the port that it has not got."""
    busy, place = api.proxy(UPSTREAM), api.proxy(upstream().address)
    with place.connect() as sock:
        wire.ask(sock)
        assert api.request("PATCH", place.path, {"listen": busy.listen}).status == 500
        left = api.request("GET", place.path).json
        assert left["enabled"] is api.embedded
        assert left["listen"] == (place.listen if api.embedded else busy.listen)
        if api.embedded:
            wire.ask(sock)


@shows("twice")
def test_populate_refuses_a_name_that_is_there_twice(api):
    """It would be created and replaced in one go, as it is there."""
    entry = {"name": "a", "listen": "127.0.0.1:0", "upstream": UPSTREAM}
    assert api.request("POST", "/populate", [entry, entry]).status == (400 if api.embedded else 201)


@shows("loopback")
@pytest.mark.parametrize("listen", ["", ":0", None])
def test_the_default_bind_is_loopback(embedded, listen):
    """No host means 127.0.0.1; there it means every interface, which no test opens."""
    assert create(embedded, "a", listen=listen).json["listen"].startswith("127.0.0.1:")


@shows("port")
def test_a_disabled_proxy_keeps_its_port(api):
    """It is refused to another proxy; there that one gets it, and the first cannot be enabled."""
    place = api.proxy(UPSTREAM)
    api.request("PATCH", place.path, {"enabled": False})
    assert create(api, "thief", listen=place.listen).status == (500 if api.embedded else 201)
    reply = api.request("PATCH", place.path, {"enabled": True})
    assert reply.status == (200 if api.embedded else 500)
    assert reply.json.get("listen") == (place.listen if api.embedded else None)


@shows("healing")
def test_reset_heals_past_an_error(api):
    """A proxy that cannot be enabled is told of, and healed as far as can be, as the others are; there it is not."""
    assert create(api, "bad", listen="foo", enabled=False).status == 201
    assert api.request("POST", "/proxies/bad/toxics", {"type": "noop"}).status == 200
    place = api.proxy(UPSTREAM)
    place.toxic("noop")
    reply = api.request("POST", "/reset")
    assert (reply.status, reply.json["error"]) == (500, "listen tcp: address foo: missing port in address")
    left = [len(api.request("GET", f"{path}/toxics").json) for path in ("/proxies/bad", place.path)]
    if api.embedded:
        assert left == [0, 0]
    else:
        assert left[0] == 1  # and whether the other came first is chance


@shows("dialling")
def test_a_slow_dial_delays_only_its_own_client(embedded, upstream, wire):
    """While the upstream does not answer one client the proxy can be changed and serves others; there the change waits
    until the dial has failed, for minutes.
    """
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    place = embedded.proxy(f"127.0.0.1:{full.getsockname()[1]}")
    other = embedded.proxy(upstream().address)
    with place.connect() as waiting, other.connect() as sock:
        waiting.sendall(b"early")
        wire.ask(sock)
        reply = embedded.request("PATCH", place.path, {"upstream": upstream().address})
        assert reply.status == 200
        with place.connect() as served:
            wire.ask(served)
    for sock in (*fillers, full):
        sock.close()


# --- what is more, and how it is said -----------------------------------------------------------------------


@shows("counts")
def test_toxics_have_counts(api, upstream, wire):
    """Of connections, bytes and acts; there is no such path there."""
    place = api.proxy(upstream().address)
    path = place.toxic("noop")
    with place.connect() as sock:
        wire.ask(sock)
    reply = api.request("GET", f"{path}/counts")
    assert reply.status == (200 if api.embedded else 404)
    if api.embedded:
        assert (reply.json["connections"], reply.json["bytes"]) == (1, 5)


@shows("leases")
def test_leases_are_kept(api, wire):
    """A toxic goes with its lease; there the field is ignored, and nobody knows of leases."""
    place = api.proxy(UPSTREAM)
    body = {"type": "noop", "lease": {"holder": "run", "ttl_ms": 50}}
    assert api.request("POST", f"{place.path}/toxics", body).status == 200
    assert api.request("GET", "/leases").status == (200 if api.embedded else 404)
    if api.embedded:
        wire.until(lambda: api.request("GET", f"{place.path}/toxics").json == [], 30)


@shows("times")
def test_a_toxic_can_be_asked_for_ahead(api):
    """It waits, and says so; there it acts at once."""
    place = api.proxy(UPSTREAM)
    body = {"type": "noop", "at_ms": time.time() * 1000 + 30_000}
    shown = api.request("POST", f"{place.path}/toxics", body).json
    assert ("at_ms" in shown) is api.embedded
    assert "since_ms" not in shown


@shows("token")
def test_a_token_can_be_asked_for(own_proxy):
    """401 without it; there is none there."""
    api = own_proxy("--token-env", "PROXY_TOKEN", env={"PROXY_TOKEN": "secret"})
    assert api.request("GET", "/proxies").status == 401
    assert api.request("GET", "/proxies", Authorization="Bearer secret").status == 200


@shows("host")
def test_a_foreign_host_is_refused(api):
    """403; there it is served."""
    assert api.request("GET", "/version", Host="attacker.example").status == (403 if api.embedded else 200)


@shows("limits")
def test_a_body_that_is_too_large_is_refused(api, wire):
    """413 before it is sent; there it is read to its end."""
    size = 11 * 1024 * 1024
    if api.embedded:
        with wire.dial(api.url.removeprefix("http://")) as sock:
            sock.sendall(
                f"POST /populate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()
            )
            assert wire.receive(sock, 12) == b"HTTP/1.1 413"
    else:
        assert api.request("POST", "/populate", b" " * size).json["error"] == "bad request body: EOF"


@shows("version")
def test_the_version_names_the_product(api):
    """Beside Toxiproxy's own."""
    version = api.request("GET", "/version").json
    assert version["version"] == "2.12.0"
    assert ("brownout" in version) is api.embedded


@shows("logger")
def test_proxies_carry_no_logger(api):
    """The stray field of Toxiproxy's."""
    assert ("Logger" in create(api, "a").json) is not api.embedded


@shows("precision")
def test_a_toxicity_is_shown_as_given(api):
    """With all of its digits; there with those of 24 bits."""
    path = api.proxy(UPSTREAM).toxic("noop", toxicity=0.123456789)
    assert api.request("GET", path).json["toxicity"] == (0.123456789 if api.embedded else 0.12345679)


@shows("words")
def test_a_bad_body_is_told_by_its_field(api):
    """And what was expected; there in the words of Go's decoder."""
    message = api.request("POST", "/proxies", {"name": 5}).json["error"]
    own, there = "name: expected string, got number", "json: cannot unmarshal number into"
    assert message.startswith(f"bad request body: {own if api.embedded else there}")


@shows("ports")
def test_a_port_is_a_number(api):
    """The name of a service is refused; there it is looked up. (Of a disabled proxy: nobody binds port 80.)"""
    assert create(api, "a", enabled=False).status == 201
    reply = api.request("PATCH", "/proxies/a", {"listen": "127.0.0.1:http"})
    assert reply.status == (500 if api.embedded else 200)
    assert ("unknown port" in reply.body.decode()) is api.embedded


@shows("paths")
@pytest.mark.toxiproxy
@pytest.mark.parametrize("is_embedded", [True, False])
def test_paths_are_not_mended(own_proxy, own_toxiproxy, is_embedded):
    """A quoted name is one segment, so a proxy with a slash in its name is reached; there it is not, even to delete it."""
    api = own_proxy() if is_embedded else own_toxiproxy()
    assert create(api, "a/b").status == 201
    assert api.request("GET", "/proxies/a%2Fb").status == (200 if is_embedded else 404)
    assert api.request("DELETE", "/proxies/a%2Fb").status == (204 if is_embedded else 404)
    for path in ("/proxies//a", "/proxies/../version", "//version"):
        assert api.request("GET", path).status == (404 if is_embedded else 301)


@shows("methods")
def test_an_unknown_method_is_no_http(api):
    """400; there it is a method that the path does not take."""
    assert api.request("BREW", "/version").status == (400 if api.embedded else 405)


@shows("framing")
@pytest.mark.parametrize(
    "request_",
    [
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /version HTTP/1.1\nHost: localhost\n\n",
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
    ],
)
def test_an_ambiguous_request_is_refused(api, wire, request_):
    """With 400; there it is served."""
    with wire.dial(api.url.removeprefix("http://")) as sock:
        sock.sendall(request_)
        assert wire.receive(sock, 12) == (b"HTTP/1.1 400" if api.embedded else b"HTTP/1.1 200")
