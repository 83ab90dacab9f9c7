"""Whatever is sent to the API: an answer that says what is wrong, no harm to others, and nothing left over."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proxy.vitals import GET, RESET, Watched, dialled, resident, send, statuses, until

UPSTREAM = "127.0.0.1:1"
MIB = 1024 * 1024
KINDS = (None, True, False, 0, -1, 1.5, 10**400, "", "x", [], [1], {}, {"a": 1})
FIELDS = {
    "POST /proxies": ("name", "listen", "upstream", "enabled", "lease", "toxics", "nothing"),
    "POST /proxies/p": ("name", "listen", "upstream", "enabled", "lease", "nothing"),
    "PATCH /proxies/p": ("name", "listen", "upstream", "enabled", "lease", "nothing"),
    "POST /populate": ("name", "listen", "upstream", "enabled", "nothing"),
    "POST /proxies/p/toxics": ("name", "type", "stream", "toxicity", "attributes", "lease", "nothing"),
    "PATCH /proxies/p/toxics/t": ("name", "type", "stream", "toxicity", "attributes", "nothing"),
    "POST /leases/h": ("ttl_ms", "nothing"),
}
BODIES = {
    "POST /proxies": {"name": "new", "listen": "127.0.0.1:0", "upstream": UPSTREAM},
    "POST /populate": {"name": "new", "listen": "127.0.0.1:0", "upstream": UPSTREAM},
    "POST /proxies/p/toxics": {"name": "new", "type": "latency"},
    "POST /leases/h": {"ttl_ms": 60_000},
}
CALLS = tuple(FIELDS)


@pytest.fixture(scope="module")
def process(embedded_server, tmp_path_factory) -> Iterator[Watched]:
    """A proxy's process that tells what lives in it."""
    watched = Watched(type(embedded_server), tmp_path_factory.mktemp("api") / "report")
    yield watched
    watched.close()


@pytest.fixture
def watched(process) -> Iterator[Watched]:
    """With a proxy `p` that has a toxic `t` and a lease `h`; after the test nothing is left over."""
    body = {"name": "p", "listen": "127.0.0.1:0", "upstream": UPSTREAM}
    assert process.api.request("POST", "/proxies", body).status == 201
    lease = {"holder": "h", "ttl_ms": 3_600_000}
    toxic = {"name": "t", "type": "latency", "attributes": {"latency": 5}, "lease": lease}
    assert process.api.request("POST", "/proxies/p/toxics", toxic).status == 200
    yield process
    process.settle()


def state(watched: Watched) -> object:
    """All proxies."""
    return watched.api.request("GET", "/proxies").json


def call(watched: Watched, name: str, body: object):
    """A call by its name in FIELDS; /populate takes a list."""
    method, _, path = name.partition(" ")
    if name == "POST /populate" and isinstance(body, dict):
        body = [body]
    return watched.api.request(method, path, body)


def refused(reply, *statuses: int) -> None:
    """The reply says what is wrong, in Toxiproxy's form."""
    assert reply.status in (statuses or (400,)), (reply.status, reply.body[:200])
    assert reply.json["error"] and reply.json["status"] == reply.status


# --- bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nope",
        b"'a'",
        b"\x00",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"attributes":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"toxicity":NaN}',
        b'{"toxicity":-Infinity}',
        b'{"toxicity":' + b"9" * 10_000 + b"}",
        b'{"attributes":{"latency":' + b"9" * 10_000 + b"}}",
        b'"' + b"x" * MIB,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_json_is_refused(watched, name, body):
    """With 400, or 413 for one that is too large, and nothing has changed."""
    before = state(watched)
    method, _, path = name.partition(" ")
    reply = watched.api.request(method, path, body)
    assert reply.status in (400, 413)
    assert reply.status == 413 or reply.json["error"].startswith("bad request body: ")
    assert state(watched) == before


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in CALLS for field in FIELDS[name]])
def test_each_kind_of_value_in_each_field_is_taken_or_refused(watched, name, field):
    """Never a failure of the server's, and a refusal names the field or says what it wants."""
    for value in KINDS:
        before = state(watched)
        reply = call(watched, name, BODIES.get(name, {}) | {field: value})
        if reply.status >= 300:
            refused(reply, 400, 409, 500 if field == "listen" else 400)
            if name != "PATCH /proxies/p" or field != "listen":
                assert state(watched) == before
        else:
            for new in ("/proxies/p/toxics/new", "/proxies/new", "/proxies/x"):
                watched.api.request("DELETE", new)


@pytest.mark.parametrize(
    "value", [-1, -(10**18), 2**31, 2**63, 10**30, 10**400, 0.5, "1e400", "-1e400", "1E5"]
)
def test_an_attribute_out_of_range_is_refused(watched, value):
    """For each attribute of each toxic: with 400 and its name."""
    for type, attributes in (
        ("latency", ("latency", "jitter")),
        ("slow_close", ("delay",)),
        ("timeout", ("timeout",)),
        ("reset_peer", ("timeout",)),
    ):
        for attribute in attributes:
            text = json.dumps({"type": type, "attributes": {attribute: "@"}}).replace('"@"', str(value))
            reply = watched.api.request("POST", "/proxies/p/toxics", text.encode())
            refused(reply)
            assert attribute in reply.json["error"]


@pytest.mark.parametrize(
    "value", ["-0.1", "1.1", "1e400", "-1e400", "1" + "0" * 400, "NaN", "Infinity", '"1"', "true"]
)
def test_a_toxicity_that_is_no_share_is_refused(watched, value):
    """With 400."""
    for method, path in (("POST", "/proxies/p/toxics"), ("PATCH", "/proxies/p/toxics/t")):
        body = f'{{"type":"noop","toxicity":{value}}}'.encode()
        refused(watched.api.request(method, path, body))


@pytest.mark.parametrize(
    "name",
    [
        "\x00",
        "\x01\x1b[2J",
        "a\r\nX: y",
        "a b",
        "/",
        "..",
        "%2F",
        "\u202e",
        "\U0001f4a5",
        "x" * 10_000,
        '"',
        "\ud800",
    ],
    ids=ascii,
)
def test_any_name_can_be_used_and_be_healed(watched, name):
    """For a proxy, a toxic and a lease, on /metrics too; in the log it is one line."""
    known = name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    path = f"/proxies/{quote(known, safe='')}"
    lease = {"holder": "h" if "/" in name else name, "ttl_ms": 60_000}
    body = {"name": name, "listen": "127.0.0.1:0", "upstream": UPSTREAM, "lease": lease}
    assert watched.api.request("POST", "/proxies", body).json["name"] == known
    toxic = {"name": name, "type": "latency", "lease": lease}
    assert watched.api.request("POST", f"{path}/toxics", toxic).json["name"] == known
    assert watched.api.request("PATCH", f"{path}/toxics/{quote(known, safe='')}", {}).status == 200
    assert watched.api.request("GET", "/metrics").status == 200
    assert watched.api.request("DELETE", f"{path}/toxics/{quote(known, safe='')}").status == 204
    assert watched.api.request("DELETE", path).status == 204
    until(lambda: "proxy-deleted" in watched.log.read_text(), "the log")
    assert all(json.loads(line)["event"] for line in watched.log.read_text().splitlines())


def test_keys_that_come_twice_and_keys_unknown(watched):
    """The last one counts, what is unknown is ignored; as Toxiproxy."""
    body = b'{"type":"nope","x":{"y":[]},"type":"latency","name":"n","attributes":{"latency":1,"latency":2,"z":3}}'
    reply = watched.api.request("POST", "/proxies/p/toxics", body)
    assert reply.json["attributes"] == {"latency": 2, "jitter": 0}
    refused(watched.api.request("POST", "/proxies/p/toxics", {"type": "nope"}))


@pytest.mark.parametrize(
    "head",
    [
        b"POST /populate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n",
        b"POST /populate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n6400000\r\n",
        b"POST /populate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"POST /populate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nX",
        b"GET /",
        b"X",
    ],
    ids=lambda head: repr(head[-30:]),
)
def test_100_mb_are_refused_without_being_kept(watched, head):
    """In the body, a chunk's extension, a trailer, a header, a header's name, the target, the method."""
    most = resident(watched) + 16 * MIB
    block = b"x" * MIB
    with dialled(watched) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(head)
        for _ in range(100):
            sock.sendall(block)
        assert statuses(sock.recv(65536))[0] in (400, 413, 414, 431)
    assert resident(watched) < most
    reply = send(watched, head + block * 8, end=True)
    assert statuses(reply)[0] in (400, 413, 414, 431)


def test_a_flood_of_small_things_is_refused_without_being_kept(watched):
    """Headers, chunks of one byte, empty objects: no more memory than some times their size."""
    most = resident(watched) + 64 * MIB
    begin = b"POST /populate HTTP/1.1\r\nHost: localhost\r\n"
    chunks = b"Transfer-Encoding: chunked\r\n\r\n" + b"2\r\n[]\r\n" * MIB
    assert statuses(send(watched, begin + b"A:\r\n" * MIB))[0] == 431
    assert statuses(send(watched, begin + chunks, end=True))[0] == 413
    body = b"[" + b"{}," * (MIB // 3 - 1) + b"{}]"
    refused(watched.api.request("POST", "/populate", body))
    assert resident(watched) < most


# --- requests that are none, or two -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (RESET + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n", 400),
        (RESET + b"Content-Length: 0, 44\r\n\r\n", 400),
        (RESET + b"Content-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (RESET + b"Transfer-Encoding: chunked\r\nContent-Length: 44\r\n\r\n0\r\n\r\n", 400),
        (RESET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
        (RESET + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (RESET + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (RESET + b"Content-Length: -1\r\n\r\n", 400),
        (RESET + b"Content-Length: +1\r\n\r\n", 400),
        (RESET + b"Content-Length: 0x1\r\n\r\n", 400),
        (RESET + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (RESET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (RESET + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
        (RESET + b"Transfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", 400),
        (GET.replace(b"\r\n", b"\n"), 400),
        (GET.replace(b"\r\n", b"\r"), 400),
        (b"GET /version HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n", 400),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n\r\n", 400),
        (b"GET /version HTTP/1.1\r\n\r\n", 400),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /version\r\n\r\n", 400),
        (b"GET /version HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (RESET + b"Expect: the-unexpected\r\n\r\n", 417),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(watched, data, status):
    """With one answer, and the end of the connection: what follows is never taken for a request."""
    before = state(watched)
    reply = send(watched, data + GET)
    assert statuses(reply) == [status]
    assert b"connection: close" in reply.lower()
    assert state(watched) == before


def test_an_offer_to_upgrade_is_passed_over(watched):
    """As curl makes it; requests go on behind it."""
    offer = (
        GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    )
    assert statuses(send(watched, offer + GET + offer, end=True)) == [200, 200, 200]


@pytest.mark.parametrize("count", [1, 2, 500])
def test_requests_in_one_go_are_answered_in_order(watched, count):
    """Also when the client sends its end with them, and when what comes after them cannot be read."""
    missing = GET.replace(b"/version", b"/nope")
    assert statuses(send(watched, (GET + missing) * count, end=True)) == [200, 404] * count
    assert statuses(send(watched, (GET + missing) * count + b"?\r\n\r\n")) == [200, 404] * count + [400]


def test_a_request_in_single_bytes_is_answered(watched):
    """However the network cuts it."""
    body = b'{"type":"noop","name":"n"}'
    head = b"POST /proxies/p/toxics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with dialled(watched) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head % len(body) + body:
            sock.sendall(bytes([byte]))
        assert statuses(sock.recv(65536)) == [200]


@pytest.mark.parametrize("cut", range(0, len(GET), 5))
def test_a_client_that_leaves_in_the_middle(watched, cut):
    """With an end or a reset, at any place: nothing is answered, nothing is left over."""
    assert statuses(send(watched, GET[:cut], end=True)) in ([], [400])
    with dialled(watched) as sock:
        sock.sendall(GET[:cut])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from(
                [
                    GET,
                    GET[:-4],
                    RESET,
                    b"\r\n",
                    b"\r\n\r\n",
                    b"Content-Length: 5\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Expect: 100-continue\r\n",
                    b"Connection: upgrade\r\nUpgrade: x\r\n",
                    b"5\r\nhello\r\n",
                    b"0\r\n\r\n",
                    b'{"name":"a","upstream":"b"}',
                    b"POST /proxies HTTP/1.0\r\n",
                ]
            ),
        ),
        max_size=8,
    )
)
def test_any_bytes_are_survived(process, pieces):
    """Whatever comes, the connection ends when the client's does, and the next request is answered."""
    with dialled(process) as sock, contextlib.suppress(ConnectionError):
        for piece in pieces:
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    assert statuses(send(process, GET, end=True)) == [200]


def test_after_any_bytes_nothing_is_left_over(process):
    """Nor has there been an error of the proxy's own."""
    process.settle()
