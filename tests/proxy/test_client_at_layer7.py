"""The client's part of layer 7: what goes to the embedded proxy, and what a stock Toxiproxy never sees."""

from __future__ import annotations

import pytest

from chaos.faults.toxiproxy import InvalidToxic, ToxiproxyServer

from .test_differences_at_layer7 import answer, ask

LISTEN, UPSTREAM = "127.0.0.1:0", "127.0.0.1:1"
REPLY = {"status": 418, "retry_after": -1, "headers": {"x-a": "b"}, "body": "no", "reached": False}


@pytest.fixture
def of_embedded(embedded):
    return ToxiproxyServer(embedded.url)


def test_a_toxic_of_layer7_is_sent_with_all_that_it_has(embedded, of_embedded):
    """Attributes of any JSON, where, id, persist, seed and draw; what is read back is what was sent."""
    of_embedded.create_proxy("l7", LISTEN, UPSTREAM, protocol="http")
    where = {"path": "/v1/*", "header": {"x-b": "*"}, "every": 2}
    aim = {"where": where, "id": {"header": "x-id"}, "persist": "request"}
    of_embedded.add_toxic("l7", "t", "http_reply", "downstream", 0.5, REPLY, seed=0, draw="f", **aim)
    toxic = of_embedded.toxic("l7", "t")
    assert {key: toxic.attributes[key] for key in REPLY} == REPLY
    read = embedded.request("GET", "/proxies/l7").json
    assert read["protocol"] == "http"
    assert {key: read["toxics"][0][key] for key in aim} == aim
    assert of_embedded.counts("l7", "t") == dict.fromkeys(
        ("connections", "bytes", "applied", "matched", "unread"), 0
    )
    of_embedded.delete_proxy("l7")


@pytest.mark.toxiproxy
def test_a_stock_toxiproxy_is_not_asked(toxiproxy_server):
    """A toxic of layer 7 is refused before it is sent, with the remedy; it has no hits and reads no HTTP."""
    client = ToxiproxyServer(toxiproxy_server.url)
    client.create_proxy("l7", LISTEN, UPSTREAM, protocol="http")
    with pytest.raises(InvalidToxic, match=r"layer 7.*Toxiproxy.*does not know: leave out `toxiproxy:`"):
        client.add_toxic("l7", "t", "http_reply", "downstream", 1, REPLY)
    client.add_toxic("l7", "late", "latency", "downstream", 1, {"latency": 1}, seed=1, draw="late")
    assert client.toxic("l7", "late").attributes == {"latency": 1, "jitter": 0}
    assert client.hits("l7") == ([], 0)
    client.delete_proxy("l7")


@pytest.mark.parametrize(
    ("type", "attributes", "word"),
    [
        ("http_reply", {"status": 99}, "attributes.status: expected 200 to 599"),
        ("http_reply", {"latency": 1}, "attributes.latency: expected one of body"),
        ("json_edit", {"pointer": "a"}, "attributes.pointer: expected a JSON Pointer"),
    ],
)
def test_attributes_are_checked_before_they_are_sent(of_embedded, type, attributes, word):
    """As the proxy itself would."""
    with pytest.raises(InvalidToxic, match=word):
        of_embedded.add_toxic("nowhere", "t", type, "downstream", 1, attributes)


def test_hits_are_read_by_pages(of_embedded, upstream):
    """Each once, in order, from where one has read to."""
    made = of_embedded.create_proxy("hits", LISTEN, upstream(answer).address, protocol="http")
    of_embedded.add_toxic("hits", "t", "http_reply", "downstream", 1, REPLY)
    assert [ask(made.listen, f"/{n}") for n in range(4)] == [418] * 4
    hits, missed = of_embedded.hits("hits", 1)
    assert ([hit["number"] for hit in hits], missed) == ([2, 3, 4], 0)
    assert of_embedded.hits("hits", 4) == ([], 0)
    of_embedded.delete_proxy("hits")
