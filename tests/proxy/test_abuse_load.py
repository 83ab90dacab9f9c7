"""Upstreams that are not there, very many connections, and a process that runs out of descriptors."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.proxy.vitals import ROOT, WAIT_S, Echo, Watched, echoing, metric, reset, until

CONNECTIONS = 10_000
"""In each of two tests."""
BATCH = 400
DESCRIPTORS = 100


@pytest.fixture(scope="module")
def process(embedded_server, tmp_path_factory) -> Iterator[Watched]:
    """A proxy's process that tells what lives in it, for all tests of the module."""
    watched = Watched(type(embedded_server), tmp_path_factory.mktemp("load") / "report")
    yield watched
    watched.close()


@pytest.fixture
def watched(process) -> Iterator[Watched]:
    """After the test nothing is left over."""
    yield process
    process.settle()


@pytest.fixture
def echo() -> Iterator[Echo]:
    """An echo server for very many connections."""
    with echoing() as server:
        yield server


def asked(sock: socket.socket) -> bool:
    """Whether the other end answers; False when the connection has ended."""
    sock.settimeout(WAIT_S)
    try:
        sock.sendall(b"?")
        return sock.recv(1) == b"?"
    except ConnectionError:
        return False


def dialled(listen: str) -> socket.socket:
    """A connection; without the cost of looking for names, as there are very many."""
    host, _, port = listen.rpartition(":")
    sock = socket.socket()
    sock.settimeout(WAIT_S)
    sock.connect((host, int(port)))
    return sock


def ended(place) -> None:
    """A new connection is accepted, and ends."""
    with place.connect() as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"hello")
        assert not asked(sock)


# --- upstreams ----------------------------------------------------------------------------------------------


@pytest.fixture
def nobody() -> Iterator[socket.socket]:
    """A port that refuses connections for as long as it is only bound, and is given to nobody else."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def address(sock: socket.socket) -> str:
    return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize(
    "upstream",
    [
        "",
        ":",
        "nowhere",
        "127.0.0.1:99999",
        "a..b:1",
        "a\0b:1",
        f"{'x' * 300}:1",
        "\u2603" * 80 + ":1",
        "[::1:1",
    ],
)
def test_an_upstream_that_is_none_ends_each_connection(watched, upstream):
    """With an end for the client and a count for who looks; the proxy itself is made, as Toxiproxy makes it."""
    if not upstream:
        reply = watched.api.request(
            "POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": ""}
        )
        assert (reply.status, reply.json["error"]) == (400, "missing required field: upstream")
        return
    place = watched.api.proxy(upstream)
    for _ in range(3):
        ended(place)
    until(lambda: watched.metric("brownout_proxy_unreached_total", proxy=place.name) == 3, "the count")


def test_an_upstream_that_comes_back_is_reached(watched, nobody):
    """Refused, then there, then gone, then there: each connection meets the upstream as it is then."""
    place = watched.api.proxy(address(nobody))
    for _ in range(3):
        ended(place)
    until(lambda: watched.metric("brownout_proxy_unreached_total", proxy=place.name) == 3, "the count")
    nobody.listen()
    with place.connect() as sock, nobody.accept()[0] as upstream:
        sock.sendall(b"hello")
        assert upstream.recv(5) == b"hello"
    assert watched.metric("brownout_proxy_unreached_total", proxy=place.name) == 3
    assert (
        watched.log.read_text().count(f'"proxy": "{place.name}", "upstream": "{address(nobody)}", "reason"')
        == 1
    )


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_an_upstream_that_closes_at_once(watched, upstream, end):
    """Each client sees the end."""
    place = watched.api.proxy(upstream(end).address)
    for _ in range(20):
        ended(place)


# --- very many ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("toxics", [False, True])
def test_10000_connections_leave_nothing_behind(watched, echo, toxics):
    """Opened, used or not, closed or reset: descriptors, objects and gauges are what they were, and it serves."""
    place = watched.api.proxy(echo.address)
    if toxics:
        for type, attributes in (
            ("latency", {"latency": 1}),
            ("slicer", {"average_size": 2}),
            ("bandwidth", {"rate": 1000}),
            ("limit_data", {"bytes": 8}),
            ("slow_close", {"delay": 1}),
            ("reset_peer", {"timeout": 1}),
        ):
            place.toxic(type, toxicity=0.4, **attributes)
        place.toxic("timeout", "upstream", 0.2, timeout=1)
    for batch in range(CONNECTIONS // BATCH):
        socks = [dialled(place.listen) for _ in range(BATCH)]
        for number, sock in enumerate(socks):
            if number % 2:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(b"x" * (number % 20))
        for number, sock in enumerate(socks):
            if (number + batch) % 4:
                reset(sock)
            else:
                sock.close()
        until(lambda: watched.metric("brownout_proxy_connections") < BATCH // 4, "the end of a batch")
    until(lambda: watched.metric("brownout_proxy_connections") == 0, "the end of the connections")
    assert watched.metric("brownout_proxy_accepted_total") == CONNECTIONS
    assert watched.metric("brownout_proxy_refused_total") == 0
    watched.api.request("POST", "/reset")
    assert asked(place.connect())
    place.sockets.pop().close()


# --- out of descriptors -------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path) -> Path:
    """The log of `scant`."""
    return tmp_path / "log"


@pytest.fixture
def scant(embedded_server, log) -> Iterator:
    """The API of a proxy's process that may have no more than DESCRIPTORS descriptors."""
    script = f'ulimit -n {DESCRIPTORS} && exec "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "chaos.proxy", "--port", "0", "--metrics"]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        yield type(embedded_server)(json.loads(process.stdout.readline())["api"], True, process)
        process.terminate()
        assert process.wait(WAIT_S) == 0


def value(api, name: str) -> float:
    reply = api.request("GET", "/metrics")
    assert reply.status == 200
    return metric(reply.body.decode(), name)


def sleeps(pid: int) -> bool:
    """Whether the process waits, as seen many times in a row: one that spins runs."""
    return all(psutil.Process(pid).status() == psutil.STATUS_SLEEPING for _ in range(200))


def exhausted(scant, echo, old: int, new: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """`old` connections that are served, and then `new` more than there are descriptors for."""
    place = scant.proxy(echo.address)
    first = [dialled(place.listen) for _ in range(old)]
    assert all(asked(sock) for sock in first)
    return first, [dialled(place.listen) for _ in range(new)]


def test_a_proxy_without_descriptors_serves_who_is_there(scant, echo):
    """Who is connected is served, who comes is sent away and counted, the API answers, nothing spins; it recovers."""
    before = len(os.listdir(f"/proc/{scant.process.pid}/fd"))
    old, new = exhausted(scant, echo, 5, 300)
    served = [sock for sock in new if asked(sock)]
    assert 10 < len(served) < DESCRIPTORS // 2
    assert all(asked(sock) for sock in old)
    assert value(scant, "brownout_proxy_refused_total") == len(new) - len(served)
    assert value(scant, "brownout_proxy_connections") == len(old) + len(served)
    until(lambda: sleeps(scant.process.pid), "a rest")
    place = scant.proxy(echo.address)
    path = place.toxic("timeout")
    assert scant.request("DELETE", path).status == 204
    for sock in old + new:
        reset(sock)
    until(lambda: value(scant, "brownout_proxy_connections") == 0, "the end of the connections")
    with place.connect() as sock:
        assert asked(sock)
    until(
        lambda: len(os.listdir(f"/proc/{scant.process.pid}/fd")) <= before + 2, "the end of the descriptors"
    )
    assert value(scant, "brownout_defects_total") == 0


def test_accepts_that_fail_do_not_end_the_listener(scant, echo):
    """With not one descriptor left, as if the reserve were used up: who is there is served, and so are all later."""
    place = scant.proxy(echo.address)
    old = [dialled(place.listen) for _ in range(5)]
    assert all(asked(sock) for sock in old)
    process = psutil.Process(scant.process.pid)
    highest = max(int(name) for name in os.listdir(f"/proc/{process.pid}/fd"))
    process.rlimit(resource.RLIMIT_NOFILE, (highest + 1, DESCRIPTORS))
    new = [dialled(place.listen) for _ in range(50)]
    served = [sock for sock in new if asked(sock)]
    assert len(served) <= 3  # a gap below the highest may have been free
    assert all(asked(sock) for sock in old)
    until(lambda: sleeps(process.pid), "a rest")
    process.rlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    with dialled(place.listen) as sock:
        assert asked(sock)
    for sock in old + new:
        sock.close()
    assert value(scant, "brownout_defects_total") == 0


def test_a_burst_beyond_the_descriptors(scant, echo, log):
    """Hundreds of connections are accepted at once: the API is reached, the log tells of it, and it recovers."""
    place = scant.proxy(echo.address)
    process = psutil.Process(scant.process.pid)
    process.suspend()
    burst = [dialled(place.listen) for _ in range(400)]
    process.resume()
    served = [sock for sock in burst if asked(sock)]
    assert 10 < len(served) < DESCRIPTORS // 2
    assert value(scant, "brownout_proxy_refused_total") > 0
    assert value(scant, "brownout_proxy_connections") == len(served)
    until(lambda: "descriptors-exhausted" in log.read_text(), "the log")
    for sock in burst:
        reset(sock)
    until(lambda: value(scant, "brownout_proxy_connections") == 0, "the end of the connections")
    with dialled(place.listen) as sock:
        assert asked(sock)


def test_the_soft_limit_is_raised(own_proxy):
    """Two descriptors go with each connection: the usual soft limit would end at some hundred connections."""
    limits = Path(f"/proc/{own_proxy().process.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    soft, hard = line.split()[3:5]
    assert soft == hard
