"""What layer 7 cannot read, and TLS brings: it passes as it is, and is counted as unread."""

from __future__ import annotations

import os
import ssl

import pytest

from tests.proxy.layer7.tls_peers import Authority, over_tls

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""How an HTTP/2 client with prior knowledge begins: RFC 9113, section 3.4, and empty SETTINGS."""


@pytest.fixture
def authority(tmp_path):
    """A CA of the test's own."""
    return Authority(tmp_path)


def echo(sock):
    """Send back what comes."""
    while data := sock.recv(65536):
        sock.sendall(data)


def counts(place, path):
    """What a toxic did."""
    return place.api.request("GET", f"{path}/counts").json


def rule(place, **more):
    """A toxic that would change every reply, if it could read one; its path."""
    body = {"type": "http_reply", "attributes": {"status": 500}} | more
    reply = place.api.request("POST", f"{place.path}/toxics", body)
    assert reply.status == 200, reply.body
    return f"{place.path}/toxics/{reply.json['name']}"


@pytest.mark.parametrize("data", [PREFACE + os.urandom(5000), b"\0\1\2" * 1000, b"SSH-2.0-x\r\n\r\n"])
@pytest.mark.parametrize("tls", [False, True])
def test_what_is_no_http_1_passes_untouched(embedded, upstream, wire, data, tls):
    """HTTP/2 with prior knowledge, or anything at all; plain, and inside of TLS that the proxy ends itself."""
    place = embedded.proxy(upstream().address, tls=tls)
    path = rule(place)
    with place.connect() as plain:
        sock = plain
        if tls:
            ca = embedded.request("GET", place.path).json["tls"]["ca"]
            sock = ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname="localhost")
        with sock:
            sock.sendall(data)
            assert wire.receive(sock, len(data)) == data
    assert counts(place, path) == {"connections": 0, "bytes": 0, "applied": 0, "matched": 0, "unread": 1}


@pytest.mark.parametrize("joined", [False, True])
def test_tls_passes_through_a_plain_listener(embedded, upstream, wire, authority, joined):
    """From client to upstream, at layer 4, with a toxic of layer 7 in place that cannot read it, which is counted;
    so it is where the toxic comes while the connection is there.
    """
    place = embedded.proxy(upstream(over_tls(authority.server("localhost"), echo)).address)
    path = "" if joined else rule(place)
    context = ssl.create_default_context(cafile=authority.path)
    body = os.urandom(1 << 20)
    with context.wrap_socket(place.connect(), server_hostname="localhost") as sock:
        sock.sendall(b"hello")
        assert wire.receive(sock, 5) == b"hello"
        path = path or rule(place)
        sock.sendall(body[:1000])
        assert wire.receive(sock, 1000) == body[:1000]
        sock.sendall(body)
        assert wire.receive(sock, len(body)) == body
    found = counts(place, path)
    assert (found["applied"], found["matched"], found["unread"]) == (0, 0, 1)


def test_what_is_no_http_1_passes_to_an_https_upstream(embedded, upstream, wire, authority):
    """Encrypted, as all that goes there is; nothing else is done to it."""
    address = upstream(over_tls(authority.server("127.0.0.1"), echo)).address
    place = embedded.proxy(f"https://{address}", upstream_ca=authority.path)
    path = rule(place)
    with place.connect() as sock:
        sock.sendall(PREFACE)
        assert wire.receive(sock, len(PREFACE)) == PREFACE
    assert counts(place, path)["unread"] == 1
