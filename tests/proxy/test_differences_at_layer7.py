"""The wanted differences from Toxiproxy that come with layer 7, by their names in the list in `chaos.proxy`."""

from __future__ import annotations

import http.client

import pytest

from tests.proxy.differences import shows

TOXIC = {
    "name": "wrong",
    "type": "http_reply",
    "attributes": {"status": 418, "retry_after": 3, "body": "{}"},
    "where": {"path": "/v1/*"},
}


def answer(sock):
    """Each request on a connection is answered with 200."""
    while data := sock.recv(65536):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * data.count(b"\r\n\r\n"))


def ask(listen, path, **headers):
    """The status of the reply to a request on a connection of its own."""
    connection = http.client.HTTPConnection(listen, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as reply:
            reply.read()
            return reply.status
    finally:
        connection.close()


@shows("layer7")
def test_a_message_is_answered_in_the_upstreams_place(api, upstream):
    """Where it fits, and there only, and counted; there the type is unknown."""
    place = api.proxy(upstream(answer).address, **({"protocol": "http"} if api.embedded else {}))
    reply = api.request("POST", f"{place.path}/toxics", TOXIC)
    if not api.embedded:
        assert (reply.status, reply.json["error"]) == (400, "invalid toxic type")
        return
    assert reply.status == 200
    assert [ask(place.listen, path) for path in ("/v1/a", "/health", "/v1/b")] == [418, 200, 418]
    counts = api.request("GET", f"{place.path}/toxics/wrong/counts").json
    assert (counts["applied"], counts["matched"], counts["unread"]) == (2, 2, 0)


@shows("layer7")
def test_what_cannot_be_read_passes_and_is_counted(embedded, upstream, wire):
    """Another protocol passes untouched; that it could not be read is counted for the toxic, and on /metrics."""
    place = embedded.proxy(upstream().address, protocol="http")
    assert embedded.request("POST", f"{place.path}/toxics", TOXIC).status == 200
    with wire.dial(place.listen) as sock:
        sock.sendall(b"\x16\x03no http\n")
        assert wire.receive(sock, 10) == b"\x16\x03no http\n"
    assert embedded.request("GET", f"{place.path}/toxics/wrong/counts").json["unread"] == 1
    shown = embedded.request("GET", "/metrics").body.decode()
    labels = f'{{direction="downstream",proxy="{place.name}",toxic="wrong",type="http_reply"}}'
    assert f"brownout_toxic_unread_total{labels} 1.0" in shown
    assert f"brownout_toxic_matched_total{labels} 0.0" in shown


@shows("draws")
@pytest.mark.parametrize("seed", [7, 8])
def test_a_draw_of_its_own_stands_for_names(own_proxy, upstream, wire, seed):
    """Toxics of other names, on proxies of other names, of servers of other seeds, strike the same connections."""
    address = upstream().address
    patterns = []
    for server in (own_proxy("--seed", "1"), own_proxy("--seed", "2")):
        place = server.proxy(address)
        toxic = {
            "name": f"of-{place.name}",
            "type": "limit_data",
            "toxicity": 0.5,
            "seed": seed,
            "draw": "cut",
        }
        assert server.request("POST", f"{place.path}/toxics", toxic).status == 200
        pattern = []
        for _ in range(24):
            with wire.dial(place.listen) as sock:
                sock.sendall(b"x")
                pattern.append(wire.receive(sock, 1) == b"")
        patterns.append(pattern)
    assert patterns[0] == patterns[1]
    assert 0 < sum(patterns[0]) < 24


@shows("hits")
def test_what_was_struck_is_told(api, upstream):
    """With its trace, and what was done to it; read on by number. There it is no path."""
    place = api.proxy(upstream(answer).address, **({"protocol": "http"} if api.embedded else {}))
    if not api.embedded:
        assert api.request("GET", f"{place.path}/hits").status == 404
        return
    api.request("POST", f"{place.path}/toxics", TOXIC)
    trace = "0af7651916cd43dd8448eb211c80319c"
    for _ in range(3):
        ask(place.listen, "/v1/a?b=c", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    api.request("DELETE", f"{place.path}/toxics/wrong")
    found = api.request("GET", f"{place.path}/hits").json
    assert found["missed"] == 0
    assert [hit["number"] for hit in found["hits"]] == [1, 2, 3]
    assert {(hit["toxic"], hit["trace"], hit["attempt"]) for hit in found["hits"]} == {("wrong", trace, 0)}
    assert [hit["ordinal"] for hit in found["hits"]] == [0, 1, 2]
    assert all(hit["what"].startswith("GET /v1/a") and hit["applied"] for hit in found["hits"])
    assert len(api.request("GET", f"{place.path}/hits?after=2").json["hits"]) == 1
