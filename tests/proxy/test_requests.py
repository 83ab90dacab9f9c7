"""What nobody should send to the API is refused, what comes at once is served in order, and the server lives."""

from __future__ import annotations

import pytest

UPSTREAM = "127.0.0.1:1"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"name":' + b"9" * 5000 + b"}",
        b'{"name":NaN}',
        b"\x00\xff" * 100,
        b'{"a":1' * 50_000,
    ],
)
def test_hostile_bodies_are_refused(embedded, body):
    """With 400; the server lives."""
    assert embedded.request("POST", "/proxies", body).status == 400
    assert embedded.request("GET", "/version").status == 200


def test_what_is_no_http_is_refused(embedded, wire):
    """With 400 and the end of the connection."""
    with wire.dial(embedded.url.removeprefix("http://")) as sock:
        sock.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b"400" in wire.receive(sock, 4096)


def test_requests_can_be_pipelined(embedded, wire):
    """Answers come in the order of the requests, on one connection."""
    with wire.dial(embedded.url.removeprefix("http://")) as sock:
        sock.sendall(
            b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nope HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        text = wire.receive(sock, 1 << 16)
        assert text.index(b"200 OK") < text.index(b"404 Not Found")


def test_a_refused_update_changes_nothing(embedded):
    """Not even the attributes before the bad one."""
    place = embedded.proxy(UPSTREAM)
    path = place.toxic("latency", latency=5, jitter=1)
    body = {"toxicity": 0.5, "attributes": {"latency": 9, "jitter": -1}}
    assert embedded.request("PATCH", path, body).status == 400
    toxic = embedded.request("GET", path).json
    assert (toxic["attributes"], toxic["toxicity"]) == ({"latency": 5, "jitter": 1}, 1)


def test_a_proxy_can_be_moved(embedded, upstream, wire):
    """PATCH with another port listens there, and no more where it was."""
    place = embedded.proxy(upstream().address)
    moved = embedded.request("PATCH", place.path, {"listen": "127.0.0.1:0"}).json["listen"]
    assert moved != place.listen
    with pytest.raises(ConnectionRefusedError):
        place.connect()
    with wire.dial(moved) as sock:
        wire.ask(sock)
