"""An https upstream behind a plain listener: verified, read as HTTP, with the upstream's own Host."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import ssl
import subprocess
import threading

import aiohttp
import httpx
import pytest
import requests
import websockets.sync.client
import websockets.sync.server

from tests.proxy.layer7.tls_peers import Authority, app, over_tls, raw_ending
from tests.proxy.vitals import metric

MIB = 1024 * 1024
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA that no system knows."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def service(authority):
    """A real service by TLS, named localhost; its port."""
    with app(authority.files("localhost")) as port:
        yield port


@pytest.fixture
def place(embedded, authority, service):
    """A plain listener before the service."""
    return embedded.proxy(f"https://localhost:{service}", upstream_ca=authority.path)


def unreached(api, place):
    """Connections that ended as the upstream could not be reached."""
    return metric(
        api.request("GET", "/metrics").body.decode(), "brownout_proxy_unreached_total", proxy=place.name
    )


def closed_at_once(place, wire):
    """Whether a client that asks sees a close, and not a byte."""
    with (
        place.connect() as sock,
        contextlib.suppress(ConnectionResetError),
    ):  # a reset, if its request was not read
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return wire.receive(sock, 1) == b""
    return True


# --- real clients -------------------------------------------------------------------------------------------


def test_httpx_speaks_plainly_to_an_https_service(place, service):
    """The service sees https, and its own name as Host; what else the client sent is as it was."""
    with httpx.Client(trust_env=False) as client:
        reply = client.get(f"http://{place.listen}/headers", headers={"X-One": "1"})
    seen = dict(reply.json()["headers"])
    assert reply.json()["scheme"] == "https"
    assert seen.pop("host") == f"localhost:{service}"
    assert seen["x-one"] == "1"


def test_requests_and_aiohttp_do_too(place, service):
    """They need to know nothing of TLS."""
    with requests.Session() as session:
        session.trust_env = False
        assert session.post(f"http://{place.listen}/echo", data=b"a" * 100_000).content == b"a" * 100_000

    async def ask():
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{place.listen}/headers") as reply,
        ):
            return await reply.json()

    assert dict(asyncio.run(ask())["headers"])["host"] == f"localhost:{service}"


def test_long_bodies_pass_both_ways(place):
    """10 MiB there and back, not a byte changed."""
    body = os.urandom(10 * MIB)
    with httpx.Client(trust_env=False, timeout=60) as client:
        reply = client.post(f"http://{place.listen}/echo", content=body)
    assert hashlib.sha256(reply.content).digest() == hashlib.sha256(body).digest()


def test_toxics_of_layer_7_act(embedded, place):
    """A made-up reply, an edited body; healed, the service's own."""
    url = f"http://{place.listen}/echo"
    with httpx.Client(trust_env=False) as client:
        toxic = place.toxic("http_reply", status=429)
        assert client.post(url, json={"reward": 1}).status_code == 429
        embedded.request("DELETE", toxic)
        body = {"type": "json_edit", "attributes": {"pointer": "/reward", "action": "set", "value": 7}}
        assert embedded.request("POST", f"{place.path}/toxics", body).status == 200
        assert client.post(url, json={"reward": 1}).json() == {"reward": 7}
        embedded.request("DELETE", f"{place.path}/toxics/json_edit_downstream")
        assert client.post(url, content=b"x").content == b"x"


def test_a_websocket_passes(embedded, authority):
    """A client of ws:// at a server of wss://, which sees its own name; long messages, and an orderly close."""
    hosts = []

    def echo(connection):
        hosts.append(connection.request.headers["Host"])
        for message in connection:
            connection.send(message)

    context = authority.server("localhost")
    with websockets.sync.server.serve(echo, "127.0.0.1", 0, ssl=context, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        place = embedded.proxy(f"https://localhost:{port}", upstream_ca=authority.path)
        with websockets.sync.client.connect(f"ws://{place.listen}", proxy=None, max_size=None) as client:
            for message in ("hello", b"\0\1", "x" * 2 * MIB):
                client.send(message)
                assert client.recv(30) == message
        assert client.close_code == 1000
        server.shutdown()
        thread.join()
    assert hosts == [f"localhost:{port}"]


# --- the one change -----------------------------------------------------------------------------------------


def recorded(authority, upstream, requests_):
    """An upstream by TLS that answers each of so many requests, and what it was sent; its port."""
    got = bytearray()

    def serve(sock):
        for _ in range(requests_):
            while got.count(b"END") < requests_:
                data = sock.recv(65536)
                if not data:
                    return
                got.extend(data)
            sock.sendall(REPLY)

    context = authority.server("localhost")
    return got, upstream(over_tls(context, serve)).address.rpartition(":")[2]


def test_host_is_replaced_where_it_stands(embedded, authority, upstream, wire):
    """In each of two pipelined requests, and nothing else changes: not the case, nor the blanks, nor the order."""
    got, port = recorded(authority, upstream, 2)
    place = embedded.proxy(f"https://localhost:{port}", upstream_ca=authority.path)
    first = b"POST /a?b HTTP/1.1\r\nx-A:  1 \r\nhOsT:   127.0.0.1:1\r\ncontent-length: 12\r\nX-a: 2\r\n\r\nHost: a\r\nEND"
    second = b"GET / HTTP/1.1\r\nHost:other\r\nX-Host: other\r\nUser-Agent: END\r\n\r\n"
    with place.connect() as sock:
        sock.sendall(first + second)
        assert wire.receive(sock, 2 * len(REPLY)) == 2 * REPLY
    name = f"localhost:{port}".encode()
    assert bytes(got) == first.replace(b"127.0.0.1:1", name) + second.replace(b"Host:other", b"Host:" + name)


def test_a_request_without_host_gets_none(embedded, authority, upstream, wire):
    """HTTP/1.0 needs none: nothing is added."""
    got, port = recorded(authority, upstream, 1)
    place = embedded.proxy(f"https://localhost:{port}", upstream_ca=authority.path)
    with place.connect() as sock:
        sock.sendall(b"GET / HTTP/1.0\r\nX: END\r\n\r\n")
        assert wire.receive(sock, len(REPLY)) == REPLY
    assert bytes(got) == b"GET / HTTP/1.0\r\nX: END\r\n\r\n"


def test_a_request_that_is_struck_has_it_too(embedded, authority, upstream, wire):
    """Held for a toxic and delivered twice, each time with the upstream's Host."""
    heads = []

    def serve(sock):
        got = b""
        while b"\r\n\r\n" not in got:
            got += sock.recv(65536)
        heads.append(got)
        sock.sendall(REPLY)
        sock.recv(1)

    port = upstream(over_tls(authority.server("localhost"), serve)).address.rpartition(":")[2]
    place = embedded.proxy(f"https://localhost:{port}", upstream_ca=authority.path)
    place.toxic("request_twice", "upstream")
    with place.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: other\r\n\r\n")
        assert wire.receive(sock, len(REPLY)) == REPLY
        wire.until(lambda: len(heads) == 2, 30)
    assert heads == 2 * [f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()]


# --- what is verified ---------------------------------------------------------------------------------------


def test_the_proxy_offers_http_1_1_and_names_the_host(embedded, authority, upstream, wire):
    """By ALPN and SNI, as a front that serves many names needs it."""
    seen = []
    context = authority.server("localhost", alpn=("h2", "http/1.1"))
    context.sni_callback = lambda sock, name, ctx: seen.append(name)

    def serve(sock):
        seen.append(sock.selected_alpn_protocol())
        sock.recv(65536)
        sock.sendall(REPLY)

    port = upstream(over_tls(context, serve)).address.rpartition(":")[2]
    place = embedded.proxy(f"https://localhost:{port}", upstream_ca=authority.path)
    with place.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.receive(sock, len(REPLY)) == REPLY
    assert seen == ["localhost", "http/1.1"]


def test_a_certificate_of_an_unknown_authority_is_refused(own_proxy, service, wire):
    """The client sees a close and not a byte, it is counted, and the log says why and what would help."""
    api = own_proxy("--metrics", stderr=subprocess.PIPE)
    place = api.proxy(f"https://localhost:{service}")
    assert closed_at_once(place, wire)
    assert unreached(api, place) == 1
    api.process.terminate()
    lines = [json.loads(line) for line in api.process.stderr.read().splitlines()]
    api.process.stderr.close()
    (line,) = [line for line in lines if line["event"] == "upstream-unreachable"]
    assert "certificate is not accepted" in line["reason"] and "upstream_ca" in line["reason"]


def test_a_certificate_of_another_name_is_refused(embedded, authority, upstream, wire):
    """Though its authority is trusted; by a name and by an address."""
    port = upstream(over_tls(authority.server("other.example"), lambda sock: None)).address.rpartition(":")[2]
    for host in ("localhost", "127.0.0.1"):
        place = embedded.proxy(f"https://{host}:{port}", upstream_ca=authority.path)
        assert closed_at_once(place, wire)
        assert unreached(embedded, place) == 1


def test_an_address_is_verified_as_one(embedded, authority, upstream, wire):
    """A certificate for 127.0.0.1 is good for https://127.0.0.1."""
    serve = over_tls(authority.server("127.0.0.1"), lambda sock: (sock.recv(65536), sock.sendall(REPLY)))
    place = embedded.proxy(f"https://{upstream(serve).address}", upstream_ca=authority.path)
    with place.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.receive(sock, len(REPLY)) == REPLY


def test_verification_is_off_only_where_it_is_said(embedded, authority, upstream, wire):
    """`upstream_verify: false`, and the wrong name of an unknown authority will do; the proxy shows it."""
    serve = over_tls(authority.server("other.example"), lambda sock: (sock.recv(65536), sock.sendall(REPLY)))
    place = embedded.proxy(f"https://{upstream(serve).address}", upstream_verify=False)
    assert embedded.request("GET", place.path).json["upstream_verify"] is False
    with place.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.receive(sock, len(REPLY)) == REPLY


@pytest.mark.parametrize("what", ["plain", "closes", "refuses"])
def test_an_upstream_without_tls_is_not_reached(embedded, upstream, wire, what):
    """Whatever it does instead: the client sees a close, and it is counted."""
    with socket.socket() as refusing:  # bound, so that nobody else gets the port, and not listening
        refusing.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{refusing.getsockname()[1]}"
        if what != "refuses":
            address = upstream(lambda sock: sock.sendall(REPLY if what == "plain" else b"")).address
        place = embedded.proxy(f"https://{address}")
        assert closed_at_once(place, wire)
        assert unreached(embedded, place) == 1


def test_an_upstream_that_wants_a_certificate_is_left(embedded, authority, upstream, wire):
    """By TLS 1.3 it says so after the handshake: an end of the connection, counted, and no defect."""
    context = authority.server("localhost")
    context.load_verify_locations(cafile=authority.path)
    context.verify_mode = ssl.CERT_REQUIRED

    def serve(sock):
        with context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) as tls:
            with contextlib.suppress(ssl.SSLError):
                tls.do_handshake()
            raw_ending(tls)  # open until the proxy has gone: a reset could overtake what it was told

    port = upstream(serve).address.rpartition(":")[2]
    place = embedded.proxy(f"https://localhost:{port}", upstream_ca=authority.path)
    assert closed_at_once(place, wire)
    text = embedded.request("GET", "/metrics").body.decode()
    assert metric(text, "brownout_proxy_tls_failures_total", proxy=place.name) == 1
    assert metric(text, "brownout_defects_total") == 0


# --- how connections end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_half_close_is_passed_on(embedded, authority, upstream, wire, version):
    """The client's end reaches the upstream as close_notify; the reply that comes after it arrives whole."""
    body = os.urandom(2 * MIB)
    ended = []

    def serve(sock):
        while sock.recv(65536):
            pass
        ended.append(True)
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)

    context = authority.server("localhost")
    context.maximum_version = version
    port = upstream(over_tls(context, serve)).address.rpartition(":")[2]
    place = embedded.proxy(f"https://localhost:{port}", upstream_ca=authority.path)
    with place.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        got = wire.receive(sock, 3 * MIB)
    assert ended == [True]
    assert got.endswith(body)


def test_a_reset_reaches_the_client(embedded, authority, upstream, wire):
    """`reset_peer` is an RST on both sides of TLS."""
    endings = []

    agreed = threading.Event()

    def serve(sock):
        agreed.set()
        endings.append(raw_ending(sock))

    port = upstream(over_tls(authority.server("localhost"), serve)).address.rpartition(":")[2]
    place = embedded.proxy(f"https://localhost:{port}", upstream_ca=authority.path)
    with place.connect() as sock:
        assert agreed.wait(30)
        place.toxic("reset_peer", "upstream", timeout=0)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.ending(sock) == "RST"
        wire.until(lambda: endings, 30)
    assert endings == ["RST"]


def test_back_pressure_reaches_the_upstream(embedded, authority, upstream, wire):
    """At rate 0 the upstream stands still soon; healed, every byte arrives."""
    sent = []
    head, block = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", os.urandom(MIB)

    def flood(sock):
        sock.recv(65536)
        sock.sendall(head)
        for _ in range(64):
            sock.sendall(block)
            sent.append(1)

    port = upstream(over_tls(authority.server("localhost"), flood)).address.rpartition(":")[2]
    place = embedded.proxy(f"https://localhost:{port}", upstream_ca=authority.path)
    path = place.toxic("bandwidth", rate=0)
    digest = hashlib.sha256()
    with place.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wire.until(lambda: embedded.request("GET", f"{path}/counts").json["bytes"], 30)
        assert len(sent) < 48
        assert embedded.request("GET", f"{path}/counts").json["bytes"] <= 2 * MIB
        embedded.request("DELETE", path)
        wire.receive(sock, len(head))
        for _ in range(64):
            digest.update(wire.receive(sock, MIB))
        assert wire.receive(sock, 1) == b""
    assert digest.digest() == hashlib.sha256(64 * block).digest()


def test_a_client_that_leaves_during_the_handshake_leaves_nothing(embedded, upstream, wire):
    """The upstream has accepted, and says nothing: its connection is closed with the client's."""
    closed = threading.Event()

    def serve(sock):
        while sock.recv(65536):
            pass
        closed.set()

    place = embedded.proxy(f"https://{upstream(serve).address}", upstream_verify=False)
    sock = place.connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    assert closed.wait(30)
    gauge = "brownout_proxy_connections"
    wire.until(
        lambda: not metric(embedded.request("GET", "/metrics").body.decode(), gauge, proxy=place.name), 30
    )


# --- the API ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"upstream": "https://localhost/v1"}, "upstream: expected https://host"),
        ({"upstream": "https://"}, "upstream: expected https://host"),
        ({"upstream": "https://a:0"}, "upstream: expected https://host"),
        ({"upstream": "https://u@a"}, "upstream: expected https://host"),
        ({"upstream": "https://a", "protocol": "tcp"}, "protocol: expected http"),
        (
            {"upstream": "https://a", "upstream_ca": "/nowhere/ca.pem"},
            "upstream_ca: /nowhere/ca.pem: no such file",
        ),
        (
            {"upstream": "https://a", "upstream_ca": __file__},
            "upstream_ca: expected a file of PEM certificates",
        ),
        ({"upstream": "https://a", "upstream_verify": "no"}, "upstream_verify: expected bool"),
        ({"upstream": "a:1", "upstream_verify": False}, "expected only with an https:// upstream"),
        ({"upstream": "a:1", "upstream_ca": "x"}, "expected only with an https:// upstream"),
    ],
)
def test_what_cannot_be_meant_is_refused(embedded, more, words):
    """With 400 and what was expected, by a create and by /populate; nothing is made."""
    body = {"name": "a", "listen": "127.0.0.1:0"} | more
    for path, sent in (("/proxies", body), ("/populate", [body])):
        reply = embedded.request("POST", path, sent)
        assert reply.status == 400
        assert words in reply.json["error"]
    assert embedded.request("GET", "/proxies").json == {}


def test_a_proxy_shows_what_was_asked_for(embedded, authority):
    """As a create, GET and /populate have it; that it is read as HTTP too. The same again changes nothing."""
    body = {"name": "a", "listen": "127.0.0.1:0", "upstream": "https://a", "upstream_ca": authority.path}
    (made,) = embedded.request("POST", "/populate", [body]).json["proxies"]
    assert made["protocol"] == "http" and made["upstream_ca"] == authority.path
    assert "upstream_verify" not in made and "tls" not in made
    embedded.request("POST", "/proxies/a/toxics", {"type": "noop"})
    (again,) = embedded.request("POST", "/populate", [made | {"toxics": None}]).json["proxies"]
    assert len(again["toxics"]) == 1
    (other,) = embedded.request(
        "POST", "/populate", [body | {"listen": made["listen"], "upstream_ca": ""}]
    ).json["proxies"]
    assert other["toxics"] == [] and "upstream_ca" not in other


def test_an_upstream_may_become_https(embedded, authority, service, upstream):
    """By a PATCH, and plain again; what TLS it speaks stays as it was made."""
    plain = upstream(lambda sock: (sock.recv(65536), sock.sendall(REPLY))).address
    place = embedded.proxy(plain)
    assert embedded.request("PATCH", place.path, {"upstream_verify": False}).status == 400
    assert embedded.request("PATCH", place.path, {"upstream": "https://a/b"}).status == 400
    https = embedded.proxy(f"https://localhost:{service}", upstream_ca=authority.path)
    with httpx.Client(trust_env=False) as client:
        assert embedded.request("PATCH", https.path, {"upstream": plain}).status == 200
        assert client.get(f"http://{https.listen}/headers").text == "ok"
        embedded.request("PATCH", https.path, {"upstream": f"https://localhost:{service}"})
        assert client.get(f"http://{https.listen}/headers").json()["scheme"] == "https"


def test_the_system_store_is_the_default(embedded, authority, service, own_proxy, wire):
    """What the system trusts needs no `upstream_ca` (here the store is the test's, by OpenSSL's own variable)."""
    api = own_proxy(env={"SSL_CERT_FILE": authority.path})
    place = api.proxy(f"https://localhost:{service}")
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"http://{place.listen}/headers").status_code == 200
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED
