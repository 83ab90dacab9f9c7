"""The HTTP API, the same on the embedded proxy and on Toxiproxy."""

from __future__ import annotations

import pytest

UPSTREAM = "127.0.0.1:1"


def error(reply):
    return reply.status, reply.json["error"]


def test_version_is_json_and_a_newline(api):
    """`/version` tells the version, as clients parse it."""
    reply = api.request("GET", "/version")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json;charset=utf-8"
    assert reply.body.startswith(b'{"version": "') and reply.body.endswith(b"}\n")


def test_a_proxy_is_created_and_shown(api):
    """A create answers 201 with the real port; show and index answer the same proxy."""
    reply = api.request("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": UPSTREAM})
    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/json"
    assert len(reply.headers["X-Toxiproxy-Request-Id"]) == 20
    proxy = reply.json
    assert (proxy["name"], proxy["upstream"], proxy["enabled"], proxy["toxics"]) == ("a", UPSTREAM, True, [])
    assert int(proxy["listen"].rpartition(":")[2]) > 0
    assert api.request("GET", "/proxies/a").json == proxy
    assert api.request("GET", "/proxies").json == {"a": proxy}


def test_a_disabled_proxy_does_not_listen(api):
    """`enabled: false` in a create makes a proxy that has no port yet."""
    body = {"name": "a", "listen": "127.0.0.1:0", "upstream": UPSTREAM, "enabled": False, "toxics": [1]}
    reply = api.request("POST", "/proxies", body)
    assert (reply.status, reply.json["enabled"], reply.json["listen"]) == (201, False, "127.0.0.1:0")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "bad request body: EOF"),
        (b"{", "bad request body: unexpected EOF"),
        (b"{}", "missing required field: name"),
        (b'{"name":"a"}', "missing required field: upstream"),
    ],
)
def test_an_incomplete_body_is_refused(api, body, message):
    """The message says what is missing, with status 400, as plain text."""
    reply = api.request("POST", "/proxies", body)
    assert error(reply) == (400, message)
    assert reply.json["status"] == 400
    assert reply.body.endswith(b"}\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "body", [b"[]", b"nonsense", b'{"name":5}', b'{"name":"a","enabled":"no"}', b"\xff\xfe"]
)
def test_a_body_of_the_wrong_kind_is_refused(api, body):
    """Anything that is no proxy is 400 `bad request body`."""
    status, message = error(api.request("POST", "/proxies", body))
    assert status == 400
    assert message.startswith("bad request body: ")


def test_key_case_and_trailing_text_do_not_matter(api):
    """Bodies are decoded as Toxiproxy does."""
    body = b' {"NAME":"a","Upstream":"127.0.0.1:1","listen":"127.0.0.1:0","foo":null} trailing'
    assert api.request("POST", "/proxies", body).status == 201


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("foo", "listen tcp: address foo: missing port in address"),
        ("127.0.0.1:99999", "listen tcp: address 99999: invalid port"),
        ("192.0.2.1:1", "listen tcp 192.0.2.1:1: bind: cannot assign requested address"),
    ],
)
def test_an_address_that_cannot_be_bound_is_a_500(api, listen, message):
    """The proxy is not kept, and the message tells why."""
    reply = api.request("POST", "/proxies", {"name": "a", "listen": listen, "upstream": UPSTREAM})
    assert error(reply) == (500, message)
    assert api.request("GET", "/proxies").json == {}


def test_a_taken_port_is_a_500(api):
    """Two proxies cannot have one port."""
    taken = api.proxy(UPSTREAM)
    reply = api.request("POST", "/proxies", {"name": "a", "listen": taken.listen, "upstream": UPSTREAM})
    assert error(reply) == (500, f"listen tcp {taken.listen}: bind: address already in use")


def test_names_are_unique(api):
    """A second proxy or toxic of a name is 409."""
    place = api.proxy(UPSTREAM)
    body = {"name": place.name, "listen": "127.0.0.1:0", "upstream": UPSTREAM}
    assert error(api.request("POST", "/proxies", body)) == (409, "proxy already exists")
    place.toxic("noop")
    assert error(api.request("POST", f"{place.path}/toxics", {"type": "noop"})) == (
        409,
        "toxic already exists",
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/proxies/x"),
        ("PATCH", "/proxies/x"),
        ("DELETE", "/proxies/x"),
        ("GET", "/proxies/x/toxics"),
        ("POST", "/proxies/x/toxics"),
        ("GET", "/proxies/x/toxics/y"),
    ],
)
def test_an_unknown_proxy_is_404(api, method, path):
    """With the API's own error, not the router's."""
    assert error(api.request(method, path, {})) == (404, "proxy not found")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_toxic_is_404(api, method):
    """With the API's own error."""
    place = api.proxy(UPSTREAM)
    assert error(api.request(method, f"{place.path}/toxics/y", {})) == (404, "toxic not found")


@pytest.mark.parametrize(
    "path", ["/nope", "/proxies/", "/version/", "/", "/proxies/a/b", "/proxies/a/toxics/"]
)
def test_an_unknown_path_is_a_plain_404(api, path):
    """The router's answer, without a request id."""
    reply = api.request("GET", path)
    assert (reply.status, reply.body) == (404, b"404 page not found\n")
    assert "X-Toxiproxy-Request-Id" not in reply.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/version"),
        ("PUT", "/proxies"),
        ("GET", "/reset"),
        ("GET", "/populate"),
        ("DELETE", "/proxies"),
    ],
)
def test_a_wrong_method_is_405(api, method, path):
    """With no body."""
    reply = api.request(method, path)
    assert (reply.status, reply.body) == (405, b"")


def test_browsers_are_refused(api):
    """A page in a browser cannot inject faults; unknown paths stay 404."""
    reply = api.request("GET", "/proxies", User_Agent="Mozilla/5.0")
    assert (reply.status, reply.body) == (403, b"User agent not allowed\n")
    assert api.request("GET", "/nope", User_Agent="Mozilla/5.0").status == 404


def test_a_toxic_has_defaults(api):
    """Stream downstream, toxicity 1, attributes 0, a name of type and stream."""
    place = api.proxy(UPSTREAM)
    reply = api.request("POST", f"{place.path}/toxics", {"type": "latency"})
    assert reply.status == 200
    assert reply.json == {
        "attributes": {"latency": 0, "jitter": 0},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1,
    }


def test_the_stream_is_echoed_as_given(api):
    """Its case does not matter; unknown attributes are dropped, and attribute case does not matter."""
    place = api.proxy(UPSTREAM)
    body = {"type": "latency", "stream": "Upstream", "attributes": {"LATENCY": 5, "foo": 3}}
    toxic = api.request("POST", f"{place.path}/toxics", body).json
    assert (toxic["name"], toxic["stream"]) == ("latency_Upstream", "Upstream")
    assert toxic["attributes"] == {"latency": 5, "jitter": 0}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "invalid toxic type"),
        ({"type": "nope"}, "invalid toxic type"),
        (
            {"type": "latency", "stream": "sideways"},
            "stream was invalid, can be either upstream or downstream",
        ),
    ],
)
def test_an_unknown_toxic_type_or_stream_is_refused(api, body, message):
    """With Toxiproxy's words."""
    place = api.proxy(UPSTREAM)
    assert error(api.request("POST", f"{place.path}/toxics", body)) == (400, message)


@pytest.mark.parametrize("value", ["x", 1.5, True, [1]])
def test_attributes_are_integers(api, value):
    """Anything else is 400, and no toxic is made."""
    place = api.proxy(UPSTREAM)
    body = {"type": "latency", "attributes": {"latency": value}}
    status, message = error(api.request("POST", f"{place.path}/toxics", body))
    assert status == 400 and message.startswith("bad request body: ")
    assert api.request("GET", f"{place.path}/toxics").json == []


def test_a_toxic_update_merges(api):
    """PATCH and POST change attributes and toxicity; name, type and stream stay."""
    place = api.proxy(UPSTREAM)
    path = place.toxic("latency", latency=5, jitter=1)
    body = {"name": "q", "type": "noop", "stream": "upstream", "toxicity": 0.5, "attributes": {"jitter": 3}}
    reply = api.request("PATCH", path, body)
    assert reply.status == 200
    assert reply.json["attributes"] == {"latency": 5, "jitter": 3}
    assert (reply.json["name"], reply.json["type"], reply.json["toxicity"]) == (
        "latency_downstream",
        "latency",
        0.5,
    )
    assert api.request("POST", path, {"attributes": {"latency": 7}}).json["attributes"]["latency"] == 7
    assert api.request("GET", path).json["attributes"] == {"latency": 7, "jitter": 3}


def test_toxics_are_listed_upstream_first(api):
    """Then in the order in which they were added."""
    place = api.proxy(UPSTREAM)
    for type, stream in (("noop", "downstream"), ("latency", "upstream"), ("timeout", "downstream")):
        place.toxic(type, stream)
    names = [toxic["name"] for toxic in api.request("GET", f"{place.path}/toxics").json]
    assert names == ["latency_upstream", "noop_downstream", "timeout_downstream"]
    assert [toxic["name"] for toxic in api.request("GET", place.path).json["toxics"]] == names


def test_a_delete_is_204_and_final(api):
    """For toxics and for proxies."""
    place = api.proxy(UPSTREAM)
    path = place.toxic("noop")
    for target in (path, place.path):
        reply = api.request("DELETE", target)
        assert (reply.status, reply.body) == (204, b"")
        assert api.request("DELETE", target).status == 404


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_a_proxy_is_disabled_and_enabled_on_its_port(api, upstream, wire, method):
    """Its connections end, new ones are refused; enabled again it is where it was."""
    place = api.proxy(upstream().address)
    sock = place.connect()
    wire.ask(sock)
    reply = api.request(method, place.path, {"name": "other", "enabled": False})
    assert (reply.status, reply.json["enabled"], reply.json["name"]) == (200, False, place.name)
    assert wire.ending(sock) == "FIN"
    with pytest.raises(ConnectionRefusedError):
        place.connect()
    assert api.request(method, place.path, {"enabled": True}).json["listen"] == place.listen
    wire.ask(place.connect())
    for each in place.sockets:
        each.close()


def test_an_upstream_can_be_changed(api, upstream, wire):
    """Open connections end, new ones go to the new upstream."""
    place = api.proxy(UPSTREAM)
    reply = api.request("PATCH", place.path, {"upstream": upstream().address})
    assert (reply.status, reply.json["listen"]) == (200, place.listen)
    with place.connect() as sock:
        wire.ask(sock)


def test_reset_enables_all_and_clears_toxics(api):
    """And answers 204."""
    place = api.proxy(UPSTREAM)
    place.toxic("noop")
    api.request("PATCH", place.path, {"enabled": False})
    reply = api.request("POST", "/reset")
    assert (reply.status, reply.body) == (204, b"")
    proxy = api.request("GET", place.path).json
    assert (proxy["enabled"], proxy["toxics"]) == (True, [])


def test_populate_leaves_alone_what_is_there(api):
    """The same addresses: untouched, toxics and all. Others: replaced, toxics lost."""
    same, other = api.proxy(UPSTREAM), api.proxy(UPSTREAM)
    same.toxic("noop")
    other.toxic("noop")
    body = [
        {"name": same.name, "listen": same.listen, "upstream": UPSTREAM, "enabled": False},
        {"name": other.name, "listen": other.listen, "upstream": "127.0.0.1:2"},
        {"name": "new", "listen": "127.0.0.1:0", "upstream": UPSTREAM},
    ]
    reply = api.request("POST", "/populate", body)
    assert reply.status == 201
    shown = [(p["name"], p["enabled"], len(p["toxics"])) for p in reply.json["proxies"]]
    assert shown == [(same.name, True, 1), (other.name, True, 0), ("new", True, 0)]
    assert set(api.request("GET", "/proxies").json) == {same.name, other.name, "new"}


def test_populate_with_nothing(api):
    """Is a success that lists null, as Toxiproxy's."""
    reply = api.request("POST", "/populate", [])
    assert (reply.status, reply.json) == (201, {"proxies": None})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "bad request body: EOF"),
        ([{"name": "q"}], "missing required field: upstream at proxy 1"),
        ([{"name": "q", "upstream": "x"}, {}], "missing required field: name at proxy 2"),
    ],
)
def test_populate_refuses_as_json(api, body, message):
    """Its errors carry the list of proxies too."""
    reply = api.request("POST", "/populate", body)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json == {"error": message, "status": 400, "proxies": None}


def test_names_may_be_quoted(api):
    """A name with a space is reached by its quoted path."""
    api.request("POST", "/proxies", {"name": "a b", "listen": "127.0.0.1:0", "upstream": UPSTREAM})
    assert api.request("GET", "/proxies/a%20b").json["name"] == "a b"
