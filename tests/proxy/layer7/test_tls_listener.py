"""A TLS listener: real clients that trust its throw-away CA, and what becomes of that CA."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests
import websockets.sync.client
import websockets.sync.server

from tests.proxy.layer7.tls_peers import Authority, HalfCloser, app, raw_ending
from tests.proxy.vitals import metric

MIB = 1024 * 1024
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def service():
    """A real service without TLS; its port."""
    with app() as port:
        yield port


@pytest.fixture
def place(embedded, service):
    """A TLS listener before the service."""
    return embedded.proxy(f"127.0.0.1:{service}", tls=True)


@pytest.fixture
def echo_place(embedded, upstream):
    """A TLS listener before an echo server."""
    return embedded.proxy(upstream().address, tls=True)


def ca_of(place):
    """The file that trusts the listener."""
    return place.api.request("GET", place.path).json["tls"]["ca"]


def port_of(place):
    """Its port."""
    return int(place.listen.rpartition(":")[2])


def by_tls(place, name="localhost", alpn=()):
    """A connection by TLS to the listener, which is to be `name`."""
    context = ssl.create_default_context(cafile=ca_of(place))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(place.connect(), server_hostname=name)


def failures(place):
    """How often TLS has failed."""
    text = place.api.request("GET", "/metrics").body.decode()
    return metric(text, "brownout_proxy_tls_failures_total", proxy=place.name)


# --- real clients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_httpx_and_requests_trust_the_ca(place, host):
    """By its file, as people would; by the machine's name and by its address."""
    url = f"https://{host}:{port_of(place)}/headers"
    context = ssl.create_default_context(cafile=ca_of(place))
    with httpx.Client(trust_env=False, verify=context) as client:
        assert client.get(url).json()["scheme"] == "http"
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(url, verify=ca_of(place)).status_code == 200


def test_aiohttp_does_too(place):
    """On several connections at once."""
    context = ssl.create_default_context(cafile=ca_of(place))
    url = f"https://localhost:{port_of(place)}/echo"

    async def ask():
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one(number):
                async with session.post(url, data=bytes([number]) * 50_000) as reply:
                    return await reply.read()

            replies = await asyncio.gather(*(one(number) for number in range(20)))
        return replies

    assert asyncio.run(ask()) == [bytes([number]) * 50_000 for number in range(20)]


def test_long_bodies_pass_both_ways(place):
    """10 MiB there and back, not a byte changed."""
    body = os.urandom(10 * MIB)
    context = ssl.create_default_context(cafile=ca_of(place))
    with httpx.Client(trust_env=False, verify=context, timeout=60) as client:
        reply = client.post(f"https://localhost:{port_of(place)}/echo", content=body)
    assert hashlib.sha256(reply.content).digest() == hashlib.sha256(body).digest()


def test_a_websocket_passes(embedded):
    """Text, binary and long messages, by a real client and a real server; its close is an orderly one."""

    def echo(connection):
        for message in connection:
            connection.send(message)

    with websockets.sync.server.serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        place = embedded.proxy(f"127.0.0.1:{port}", tls=True, protocol="http")
        context = ssl.create_default_context(cafile=ca_of(place))
        url = f"wss://localhost:{port_of(place)}"
        with websockets.sync.client.connect(url, ssl=context, proxy=None, max_size=None) as client:
            for message in ("hello", b"\0\1", "x" * MIB):
                client.send(message)
                assert client.recv(30) == message
        assert client.close_code == 1000
        server.shutdown()
        thread.join()


def test_both_sides_by_tls(embedded, tmp_path):
    """A TLS listener before an https upstream; a toxic of layer 7 reads what nobody else could."""
    authority = Authority(tmp_path)
    with app(authority.files("localhost")) as port:
        place = embedded.proxy(f"https://localhost:{port}", tls=True, upstream_ca=authority.path)
        context = ssl.create_default_context(cafile=ca_of(place))
        with httpx.Client(trust_env=False, verify=context) as client:
            url = f"https://localhost:{port_of(place)}"
            seen = client.get(f"{url}/headers").json()
            assert seen["scheme"] == "https" and ["host", f"localhost:{port}"] in seen["headers"]
            place.toxic("http_reply", status=503)
            assert client.get(f"{url}/headers").status_code == 503


def test_a_toxic_of_layer_4_acts(echo_place):
    """It counts what was said, not what was sent encrypted."""
    path = echo_place.toxic("limit_data", bytes=100)
    with by_tls(echo_place) as sock:
        sock.sendall(b"x" * 1000)
        got = b""
        while data := sock.recv(1000):
            got += data
    assert got == b"x" * 100
    assert echo_place.api.request("GET", f"{path}/counts").json["connections"] == 1


# --- the certificate ----------------------------------------------------------------------------------------


def test_the_upstream_s_name_is_the_listener_s_too(embedded):
    """So that a client that is sent here by its hosts file finds the name that it asks for; no other one."""
    place = embedded.proxy("provider.example:80", tls=True)
    with by_tls(place, "provider.example"):
        pass
    with pytest.raises(ssl.SSLCertVerificationError):
        by_tls(place, "other.example")
    embedded.request("PATCH", place.path, {"upstream": "https://other.example"})
    with by_tls(place, "other.example"):
        pass


def test_a_name_that_can_have_no_certificate_does_not_matter(embedded, wire):
    """`my_service`, as docker-compose has them: the listener is there under the others."""
    place = embedded.proxy("my_service:80", tls=True)
    with by_tls(place):
        pass


def test_clients_that_do_not_trust_it_refuse(place, wire):
    """As they must; it is counted."""
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as client:
        client.get(f"https://localhost:{port_of(place)}/headers")
    wire.until(lambda: failures(place) == 1, 30)


@pytest.mark.parametrize(
    ("offered", "taken"), [(("h2", "http/1.1"), "http/1.1"), (("http/1.1",), "http/1.1"), (("h2",), None)]
)
def test_only_http_1_1_is_agreed_on(place, offered, taken):
    """A client that would rather speak HTTP/2 falls back."""
    with by_tls(place, alpn=offered) as sock:
        assert sock.selected_alpn_protocol() == taken


def test_the_ca_is_private_and_goes_with_the_process(own_proxy, tmp_path):
    """One for all proxies, in a folder for nobody else, without a key; gone after an orderly end."""
    api = own_proxy(env={"BROWNOUT_STATE_DIR": str(tmp_path)})
    one, two = (Path(ca_of(api.proxy("127.0.0.1:1", tls=True))) for _ in range(2))
    assert one == two and one.is_relative_to(tmp_path)
    assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [one]
    assert b"PRIVATE" not in one.read_bytes()
    api.process.send_signal(signal.SIGTERM)
    assert api.process.wait(30) == 0
    assert not one.parent.exists()


def test_what_a_killed_process_left_is_taken_away(own_proxy, tmp_path):
    """By the next one that needs a CA; that of a living one stays, however old."""
    env = {"BROWNOUT_STATE_DIR": str(tmp_path)}
    killed, living, other = (own_proxy(env=env) for _ in range(3))
    left, kept = (Path(ca_of(api.proxy("127.0.0.1:1", tls=True))) for api in (killed, living))
    killed.process.kill()
    killed.process.wait()
    for found in (left, kept):
        os.utime(found.parent, (0, 0))
    made = Path(ca_of(other.proxy("127.0.0.1:1", tls=True)))
    assert not left.parent.exists()
    assert kept.exists() and made.exists()


def test_a_proxy_without_tls_needs_no_ca(own_proxy, tmp_path):
    """Nothing is made, nothing imported for it."""
    api = own_proxy(env={"BROWNOUT_STATE_DIR": str(tmp_path)})
    api.proxy("127.0.0.1:1")
    assert list(tmp_path.iterdir()) == []


# --- how connections begin and end --------------------------------------------------------------------------


def test_what_is_no_tls_is_closed_and_counted(place, wire):
    """A client that speaks plainly to it learns that at once, and so does one that only connects and leaves."""
    with place.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.receive(sock, 1) == b""
    assert failures(place) == 1
    place.connect().close()
    wire.until(lambda: failures(place) == 2, 30)


def test_a_half_close_is_passed_on(echo_place):
    """close_notify ends what the client sends, and nothing else: all of the echo comes, then close_notify."""
    body = os.urandom(64 * 1024)
    with HalfCloser(echo_place.connect(), ca_of(echo_place)) as client:
        client.send(body)
        client.end()
        assert client.read_all() == (body, True)


def test_a_long_reply_after_the_client_s_end_arrives_whole(embedded, upstream):
    """Slow to be read, so that the proxy has to hold its sending back."""
    body = os.urandom(16 * MIB)

    def serve(sock):
        while sock.recv(65536):
            pass
        sock.sendall(body)

    place = embedded.proxy(upstream(serve).address, tls=True)
    with HalfCloser(place.connect(), ca_of(place)) as client:
        client.end()
        assert client.read_all() == (body, True)


def test_the_upstream_s_end_is_passed_on(embedded, upstream, wire):
    """As close_notify; what the client sends after it still arrives."""
    got = []

    def serve(sock):
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65536):
            got.append(data)
        got.append(b"end")

    place = embedded.proxy(upstream(serve).address, tls=True)
    with HalfCloser(place.connect(), ca_of(place)) as client:
        assert client.read_all() == (b"", True)
        client.send(b"late")
        client.end()
        wire.until(lambda: got[-1:] == [b"end"], 30)
    assert b"".join(got) == b"lateend"


def test_a_bare_end_of_the_client_is_an_end(echo_place, wire):
    """Without close_notify, as many clients leave: the connection goes, on both sides."""
    sock = by_tls(echo_place)
    sock.sendall(b"x")
    assert sock.recv(1) == b"x"
    sock.close()
    gauge = "brownout_proxy_connections"
    wire.until(
        lambda: (
            not metric(echo_place.api.request("GET", "/metrics").body.decode(), gauge, proxy=echo_place.name)
        ),
        30,
    )


def test_a_reset_is_a_reset(embedded, upstream, wire):
    """`reset_peer` is an RST on both sides, not an end that TLS could take for an orderly one."""
    endings = []
    place = embedded.proxy(upstream(lambda sock: endings.append(wire.ending(sock))).address, tls=True)
    with by_tls(place) as sock:
        place.toxic("reset_peer", "upstream", timeout=0)
        sock.sendall(b"x")
        assert raw_ending(sock) == "RST"
        wire.until(lambda: endings, 30)
    assert endings == ["RST"]


def test_early_data_is_not_lost(embedded, upstream):
    """What a client sends before the upstream is connected arrives, its end too."""
    place = embedded.proxy(upstream().address, tls=True)
    ca = ca_of(place)
    for _ in range(50):
        with place.connect() as sock:
            client = HalfCloser(sock, ca)
            client.send(b"early")
            client.end()
            assert client.read_all() == (b"early", True)


def test_back_pressure_reaches_the_upstream(embedded, upstream, wire):
    """A client that does not read stops the upstream; once it reads, every byte arrives."""
    sent = []
    block = os.urandom(MIB)

    def flood(sock):
        for _ in range(64):
            sock.sendall(block)
            sent.append(1)

    place = embedded.proxy(upstream(flood).address, tls=True)
    path = place.toxic("bandwidth", rate=0)
    digest = hashlib.sha256()
    with by_tls(place) as sock:
        wire.until(lambda: embedded.request("GET", f"{path}/counts").json["bytes"], 30)
        assert len(sent) < 48
        embedded.request("DELETE", path)
        for _ in range(64):
            digest.update(wire.receive(sock, MIB))
        assert sock.recv(1) == b""
    assert digest.digest() == hashlib.sha256(64 * block).digest()


def test_back_pressure_reaches_the_client(embedded, upstream, wire):
    """An upstream that does not read stops the client; once it reads, every byte arrives."""
    go, digest, block = threading.Event(), hashlib.sha256(), os.urandom(MIB)
    sent = []

    def serve(sock):
        assert go.wait(60)
        while data := sock.recv(MIB):
            digest.update(data)
        sock.sendall(b"done")

    place = embedded.proxy(upstream(serve).address, tls=True)
    with HalfCloser(place.connect(), ca_of(place)) as client:
        client.sock.settimeout(60)

        def flood():
            for _ in range(64):
                client.send(block)
                sent.append(1)
            client.end()

        thread = threading.Thread(target=flood)
        thread.start()
        wire.until(lambda: len(sent) > 1, 30)
        assert len(sent) < 48
        go.set()
        thread.join()
        assert client.read_all() == (b"done", True)
    assert digest.digest() == hashlib.sha256(64 * block).digest()


def test_disabling_ends_a_handshake_too(echo_place, wire):
    """A client that has only just connected is refused like all others."""
    with echo_place.connect() as sock:
        sock.sendall(b"\x16\x03\x01")  # the beginning of a ClientHello
        with by_tls(echo_place):
            assert echo_place.api.request("PATCH", echo_place.path, {"enabled": False}).status == 200
        assert wire.ending(sock) in ("FIN", "RST")
    assert failures(echo_place) == 0
    assert echo_place.api.request("PATCH", echo_place.path, {"enabled": True}).status == 200
    with by_tls(echo_place) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"


# --- the API ------------------------------------------------------------------------------------------------


def test_what_tls_is_stays(embedded):
    """It cannot be changed by a PATCH; what a GET shows may be sent back, to a create too."""
    place = embedded.proxy("127.0.0.1:1", tls=True)
    shown = embedded.request("GET", place.path).json
    assert embedded.request("PATCH", place.path, {"tls": False}).status == 400
    assert embedded.request("PATCH", place.path, shown).status == 200
    (again,) = embedded.request("POST", "/populate", [shown]).json["proxies"]
    assert again == shown
    (plain,) = embedded.request("POST", "/populate", [shown | {"tls": False}]).json["proxies"]
    assert "tls" not in plain


def test_a_config_file_takes_it(own_proxy, tmp_path):
    """`brownout proxy --config`, as /populate."""
    config = tmp_path / "config.json"
    config.write_text(
        '[{"name": "a", "listen": "127.0.0.1:0", "upstream": "https://localhost:1", "tls": true,'
        '"upstream_verify": false}]'
    )
    (proxy,) = own_proxy("--config", str(config)).request("GET", "/proxies").json.values()
    assert proxy["tls"]["ca"] and proxy["upstream_verify"] is False and proxy["protocol"] == "http"


def test_the_log_says_where_the_ca_is(own_proxy):
    """For whoever has no API at hand."""
    api = own_proxy(stderr=subprocess.PIPE)
    place = api.proxy("127.0.0.1:1", tls=True)
    path = ca_of(place)
    api.process.terminate()
    log = api.process.stderr.read().decode()
    api.process.stderr.close()
    assert f'"ca": "{path}"' in log
