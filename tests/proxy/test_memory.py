"""What the proxy holds is bounded: a price for each idle connection, and back-pressure on whoever is too fast.

Memory is read from /proc: the kernel keeps the peak, so no sampling can miss it. Bounds are one-sided.
"""

from __future__ import annotations

import contextlib
import resource
import select
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

MIB = 1024 * 1024
IDLE = 10_000
IDLE_MOST_MIB = 400
SPARE = 500
"""Descriptors that are not for connections, as the proxy keeps some for its API."""
WAIT_S = 30.0


def memory(pid: int, what: str) -> int:
    """Bytes of `VmRSS` (now) or `VmHWM` (the most so far)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"the kernel does not tell {what} of {pid}")


@pytest.fixture
def descriptors() -> Iterator[int]:
    """The descriptors that this process may open: as many as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def soft_limit(descriptors: int) -> Iterator[None]:
    """What is started in the block begins with this soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A listener on port 0 with room for bursts."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        yield listener


def address(listener: socket.socket) -> str:
    """As the proxy takes it."""
    return f"127.0.0.1:{listener.getsockname()[1]}"


def through(listen: str, listener: socket.socket, count: int, kept: contextlib.ExitStack) -> list:
    """`count` connections through the proxy, both ends of them open; closed with `kept`."""
    pairs = []
    host, _, port = listen.rpartition(":")
    listener.settimeout(WAIT_S)
    for _ in range(count):
        client = kept.enter_context(socket.create_connection((host, int(port)), WAIT_S))
        upstream = kept.enter_context(listener.accept()[0])
        pairs.append((client, upstream))
    return pairs


def test_10000_idle_connections_cost_at_most_400_mib(own_proxy, wire, descriptors, capsys):
    """Started with a soft limit of 1,024 descriptors, which it raises itself; all it took comes back.

    Where the hard limit is too low for 10,000, as many as it allows are opened, at the same price for each.
    """
    count = min(IDLE, (descriptors - SPARE) // 2)
    if count < IDLE:
        with capsys.disabled():
            print(
                f"\nRLIMIT_NOFILE: the hard limit of {descriptors} allows {count:,} connections, not {IDLE:,}; "
                f"hint: ulimit -Hn {2 * IDLE + SPARE}"
            )
    assert count >= 1000, f"RLIMIT_NOFILE: a hard limit of {descriptors} is too low to say anything"
    with soft_limit(1024):
        api = own_proxy()
    pid = api.process.pid
    with listening() as listener, contextlib.ExitStack() as kept:
        place = api.proxy(address(listener))
        before = memory(pid, "VmRSS")
        descriptors_before = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        pairs = through(place.listen, listener, count, kept)
        grown = memory(pid, "VmHWM") - before
        assert grown * IDLE <= IDLE_MOST_MIB * MIB * count, f"{grown / count / 1024:.1f} KiB each"
        for client, upstream in pairs[:: count // 100]:  # they are idle, not dead
            client.sendall(b"hello")
            upstream.settimeout(WAIT_S)
            assert wire.receive(upstream, 5) == b"hello"
        kept.close()
        wire.until(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) <= descriptors_before + 2, WAIT_S)


def connections(api) -> float:
    """Those that the proxy believes to be open."""
    lines = api.request("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("brownout_proxy_connections{"))


@pytest.mark.parametrize("type", ["reset_peer", "limit_data"])
def test_a_connection_that_ends_while_it_is_being_opened_is_forgotten(own_proxy, upstream, wire, type):
    """Data that was there before the upstream sets a toxic off in the moment in which that is reached."""
    api = own_proxy("--metrics")
    place = api.proxy(upstream().address)
    place.toxic(type, "upstream")
    for _ in range(50):
        with place.connect() as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"early")
            wire.ending(sock)
    wire.until(lambda: connections(api) == 0, WAIT_S)


@dataclass
class Flow:
    """Bytes that a sender pushes as fast as it may, and a receiver takes as fast as it can."""

    sent: int = 0
    received: int = 0
    most_between: int = 0
    waits: int = 0
    """How often the sender had more, and could not push it yet."""


def flow(sender: socket.socket, receiver: socket.socket, size: int) -> Flow:
    """Push `size` bytes through, from one thread."""
    seen = Flow()
    piece, buffer = memoryview(bytes(MIB)), bytearray(MIB)
    sender.setblocking(False)
    receiver.setblocking(False)
    with selectors.DefaultSelector() as ready:
        ready.register(sender, selectors.EVENT_WRITE)
        ready.register(receiver, selectors.EVENT_READ)
        while seen.received < size:
            events = ready.select(WAIT_S)
            assert events, f"nothing moved for {WAIT_S} s: {seen}"
            files = {key.fileobj for key, _ in events}
            seen.waits += sender not in files and seen.sent < size
            for file in files:
                if file is receiver:
                    taken = receiver.recv_into(buffer)
                    assert taken, f"the stream ended early: {seen}"
                    seen.received += taken
                elif seen.sent < size:
                    _push(sender, piece[: min(MIB, size - seen.sent)], seen)
                else:
                    ready.unregister(sender)
                seen.most_between = max(seen.most_between, seen.sent - seen.received)
    return seen


def _push(sender: socket.socket, piece: memoryview, seen: Flow) -> None:
    while piece:
        try:
            pushed = sender.send(piece)
        except BlockingIOError:
            return
        seen.sent += pushed
        piece = piece[pushed:]


@pytest.mark.timeout(600)
def test_a_gibibyte_through_a_limited_path_is_never_held(own_proxy):
    """1 GiB at 400 MB/s: it takes its time, the sender has to wait, and the proxy's memory hardly moves."""
    api = own_proxy()
    with listening() as listener, contextlib.ExitStack() as kept:
        place = api.proxy(address(listener))
        place.toxic("bandwidth", "upstream", rate=400_000)
        ((client, upstream),) = through(place.listen, listener, 1, kept)
        before = memory(api.process.pid, "VmRSS")
        begin = time.monotonic()
        seen = flow(client, upstream, 1024 * MIB)
        took_s = time.monotonic() - begin
        grown = memory(api.process.pid, "VmHWM") - before
    assert took_s >= 2.5, "faster than the limit"
    assert grown < 64 * MIB, f"{grown / MIB:.1f} MiB"
    assert seen.waits and seen.most_between < 64 * MIB, seen


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_slow_path_blocks_the_sender(own_proxy, stream):
    """At 10 kB/s the buffers of three kernel sockets and the proxy fill, and then no more can be pushed."""
    api = own_proxy()
    with listening() as listener, contextlib.ExitStack() as kept:
        place = api.proxy(address(listener))
        place.toxic("bandwidth", stream, rate=10)
        ((client, upstream),) = through(place.listen, listener, 1, kept)
        before = memory(api.process.pid, "VmRSS")
        sender = client if stream == "upstream" else upstream
        sender.setblocking(False)
        seen = Flow()
        while _room(sender):
            _push(sender, memoryview(bytes(MIB)), seen)
            assert seen.sent < 64 * MIB, "it was never blocked"
        grown = memory(api.process.pid, "VmHWM") - before
    assert seen.sent < 16 * MIB, f"{seen.sent / MIB:.1f} MiB were taken"
    assert grown < 8 * MIB, f"{grown / MIB:.1f} MiB"


def _room(sender: socket.socket) -> bool:
    """Whether more can be pushed within a second: room for the next piece takes far longer at this rate."""
    return bool(select.select([], [sender], [], 1.0)[1])
