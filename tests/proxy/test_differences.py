"""The wanted differences from Toxiproxy, each listed with its reason in `chaos.proxy`; embedded proxy only."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

UPSTREAM = "127.0.0.1:1"


def refused(api, place, type, toxicity=1.0, **attributes):
    body = {"type": type, "toxicity": toxicity, "attributes": attributes}
    reply = api.request("POST", f"{place.path}/toxics", body)
    return reply.status == 400 and reply.json["error"]


@pytest.mark.parametrize(
    ("type", "attributes", "word"),
    [
        ("bandwidth", {"rate": -1}, "rate"),
        ("slicer", {}, "average_size"),
        ("slicer", {"average_size": 10, "size_variation": 10}, "size_variation"),
        ("latency", {"latency": -1}, "latency"),
        ("latency", {"jitter": 2**63 - 1}, "jitter"),
        ("timeout", {"timeout": -5}, "timeout"),
        ("limit_data", {"bytes": -1}, "bytes"),
    ],
)
def test_what_crashes_toxiproxy_is_refused(embedded, type, attributes, word):
    """With 400 and the attribute's name; and the server lives."""
    place = embedded.proxy(UPSTREAM)
    message = refused(embedded, place, type, **attributes)
    assert message.startswith("bad request body: attributes.") and word in message
    assert embedded.request("GET", f"{place.path}/toxics").json == []


@pytest.mark.parametrize("toxicity", [-0.1, 1.5])
def test_a_toxicity_is_a_share(embedded, toxicity):
    """Outside of 0..1 it is 400."""
    assert "toxicity" in refused(embedded, embedded.proxy(UPSTREAM), "noop", toxicity)


def test_a_refused_update_changes_nothing(embedded):
    """Not even the attributes before the bad one."""
    place = embedded.proxy(UPSTREAM)
    path = place.toxic("latency", latency=5, jitter=1)
    body = {"toxicity": 0.5, "attributes": {"latency": 9, "jitter": -1}}
    assert embedded.request("PATCH", path, body).status == 400
    toxic = embedded.request("GET", path).json
    assert (toxic["attributes"], toxic["toxicity"]) == ({"latency": 5, "jitter": 1}, 1)


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


def test_a_body_that_is_too_large_is_refused(embedded):
    """Over 10 MiB: 413, without keeping it."""
    # The client may still be sending when the answer, and the close, come.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert embedded.request("POST", "/populate", b" " * (11 * 1024 * 1024)).status == 413
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
            b"GET /version HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        text = wire.receive(sock, 1 << 16)
        assert text.index(b"200 OK") < text.index(b"404 Not Found")


def test_populate_changes_all_or_nothing(embedded):
    """One address that cannot be bound, and every proxy is as it was, toxics too."""
    place = embedded.proxy(UPSTREAM)
    place.toxic("noop")
    before = embedded.request("GET", "/proxies").json
    body = [
        {"name": place.name, "listen": "127.0.0.1:0", "upstream": UPSTREAM},
        {"name": "new", "listen": "127.0.0.1:0", "upstream": UPSTREAM},
        {"name": "bad", "listen": "192.0.2.1:1", "upstream": UPSTREAM},
    ]
    reply = embedded.request("POST", "/populate", body)
    assert (reply.status, reply.json["proxies"]) == (500, None)
    assert embedded.request("GET", "/proxies").json == before


def test_populate_can_swap_ports(embedded):
    """Since what is replaced is closed first."""
    a, b = embedded.proxy(UPSTREAM), embedded.proxy(UPSTREAM)
    body = [
        {"name": a.name, "listen": b.listen, "upstream": UPSTREAM},
        {"name": b.name, "listen": a.listen, "upstream": UPSTREAM},
    ]
    assert [p["listen"] for p in embedded.request("POST", "/populate", body).json["proxies"]] == [
        b.listen,
        a.listen,
    ]


def test_populate_refuses_a_name_that_is_there_twice(embedded):
    """It would be created and replaced in one go."""
    body = [{"name": "a", "upstream": UPSTREAM}, {"name": "a", "upstream": UPSTREAM}]
    assert embedded.request("POST", "/populate", body).status == 400


def test_a_failed_patch_changes_nothing(embedded, upstream, wire):
    """A busy port: 500, and the proxy works on where it was."""
    busy, place = embedded.proxy(UPSTREAM), embedded.proxy(upstream().address)
    with place.connect() as sock:
        wire.ask(sock)
        assert embedded.request("PATCH", place.path, {"listen": busy.listen}).status == 500
        assert embedded.request("GET", place.path).json["listen"] == place.listen
        wire.ask(sock)


def test_a_proxy_can_be_moved(embedded, upstream, wire):
    """PATCH with another port listens there, and no more where it was."""
    place = embedded.proxy(upstream().address)
    moved = embedded.request("PATCH", place.path, {"listen": "127.0.0.1:0"}).json["listen"]
    assert moved != place.listen
    with pytest.raises(ConnectionRefusedError):
        place.connect()
    with wire.dial(moved) as sock:
        wire.ask(sock)


@pytest.mark.parametrize("listen", ["", ":0", None])
def test_the_default_bind_is_loopback(embedded, listen):
    """No host means 127.0.0.1, not every interface."""
    body = {"name": "a", "listen": listen, "upstream": UPSTREAM}
    assert embedded.request("POST", "/proxies", body).json["listen"].startswith("127.0.0.1:")


def test_a_disabled_proxy_keeps_its_port(embedded):
    """Nobody is given it meanwhile, and it is refused to another proxy."""
    place = embedded.proxy(UPSTREAM)
    embedded.request("PATCH", place.path, {"enabled": False})
    body = {"name": "thief", "listen": place.listen, "upstream": UPSTREAM}
    assert embedded.request("POST", "/proxies", body).status == 500
    assert embedded.request("PATCH", place.path, {"enabled": True}).json["listen"] == place.listen


def test_a_half_close_is_kept(embedded, upstream, wire):
    """A client that ends its sending side still gets the reply to all of it."""

    def count(sock: socket.socket) -> None:
        size = 0
        while data := sock.recv(65536):
            size += len(data)
        sock.sendall(f"{size} bytes".encode())

    place = embedded.proxy(upstream(count).address)
    for type, attributes in (("", {}), ("latency", {"latency": 20}), ("bandwidth", {"rate": 10_000})):
        if type:
            place.toxic(type, "upstream", **attributes)
        with place.connect() as sock:
            sock.sendall(b"x" * 100_000)
            sock.shutdown(socket.SHUT_WR)
            assert wire.receive(sock, 100) == b"100000 bytes"


def test_a_reset_strikes_live_connections_as_rst(embedded, upstream, wire):
    """Not only those that were opened after the toxic was added."""
    place = embedded.proxy(upstream().address)
    with place.connect() as sock:
        wire.ask(sock)
        place.toxic("reset_peer", timeout=0)
        sock.sendall(b"hello")
        assert wire.ending(sock) == "RST"


def test_an_unstruck_connection_ends_in_order(embedded, upstream, wire):
    """With a reset_peer of toxicity 0 in place ordinary closes are FIN."""
    place = embedded.proxy(upstream(lambda sock: sock.sendall(b"bye")).address)
    place.toxic("reset_peer", toxicity=0)
    with place.connect() as sock:
        assert wire.receive(sock, 3) == b"bye"
        assert wire.ending(sock) == "FIN"


def test_removing_a_timeout_leaves_the_unstruck_alone(embedded, upstream, wire):
    """A connection that was not struck goes on."""
    place = embedded.proxy(upstream().address)
    path = place.toxic("timeout", toxicity=0, timeout=0)
    with place.connect() as sock:
        wire.ask(sock)
        embedded.request("DELETE", path)
        wire.ask(sock)


def test_removing_a_reset_that_has_begun_resets(embedded, upstream, wire):
    """The connection has lost data, so it cannot go on; one that has sent nothing can."""
    place = embedded.proxy(upstream().address)
    path = place.toxic("reset_peer", "upstream", timeout=60_000)
    with place.connect() as begun, place.connect() as idle:
        begun.sendall(b"hello")
        wire.until(lambda: embedded.request("GET", f"{path}/counts").json["bytes"])
        embedded.request("DELETE", path)
        assert wire.ending(begun) == "RST"
        wire.ask(idle)


def test_a_slow_dial_delays_only_its_own_client(embedded, upstream, wire):
    """While one proxy's upstream does not answer, data sent early is kept and other proxies serve."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = f"127.0.0.1:{full.getsockname()[1]}"
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    stuck, free = embedded.proxy(address), embedded.proxy(upstream().address)
    with stuck.connect() as waiting, free.connect() as sock:
        waiting.sendall(b"early")
        wire.ask(sock)
    for filler in fillers:
        filler.close()
    full.close()


def test_early_data_is_not_lost(embedded, upstream, wire):
    """What a client sends before the upstream is connected arrives, its end too."""
    place = embedded.proxy(upstream().address)
    for _ in range(50):
        with place.connect() as sock:
            sock.sendall(b"early")
            sock.shutdown(socket.SHUT_WR)
            assert wire.receive(sock, 100) == b"early"


def test_back_pressure_reaches_through_a_chain(embedded, upstream, wire):
    """At rate 0 the upstream stands still soon: what is held is bounded. Healed, every byte arrives."""
    sent = []
    block = bytes(1 << 20)

    def flood(sock: socket.socket) -> None:
        for _ in range(64):
            sock.sendall(block)
            sent.append(1)

    place = embedded.proxy(upstream(flood).address)
    place.toxic("slicer", average_size=60_000)
    path = place.toxic("bandwidth", rate=0)
    with place.connect() as sock:
        got = []
        wire.until(lambda: embedded.request("GET", f"{path}/counts").json["bytes"])
        held = embedded.request("GET", f"{path}/counts").json["bytes"]
        reader = threading.Thread(target=lambda: got.append(len(wire.receive(sock, 64 << 20))))
        reader.start()
        assert held <= 1 << 20
        assert len(sent) < 48
        embedded.request("DELETE", path)
        reader.join()
    assert got == [64 << 20]
