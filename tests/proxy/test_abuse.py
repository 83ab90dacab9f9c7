"""Connections that are reset, at either end and in every state: nobody is left waiting, and nothing is left over.

What is left over is asked of the process itself: its descriptors, and the objects that are alive in it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.proxy.vitals import WAIT_S, Watched, reset, until

PEERS = ("client", "upstream")
STREAMS = ("upstream", "downstream")
LONG_MS = 10**7
HOLDING = {
    "latency": {"latency": LONG_MS},
    "bandwidth": {"rate": 0},
    "slow_close": {"delay": LONG_MS},
    "timeout": {"timeout": LONG_MS},
    "reset_peer": {"timeout": LONG_MS},
    "slicer": {"average_size": 1, "delay": LONG_MS * 1000},
    "limit_data": {"bytes": 3},
}
"""Each toxic so that it holds what comes, or the end of it, for longer than any test takes."""
AT_ONCE = {
    "latency": {"latency": 0},
    "bandwidth": {"rate": 10**6},
    "slow_close": {"delay": 0},
    "timeout": {"timeout": 1},
    "reset_peer": {"timeout": 0},
    "slicer": {"average_size": 1000, "delay": 0},
    "limit_data": {"bytes": 0},
}
"""The same so that it holds nothing for long."""


@pytest.fixture(scope="module")
def process(embedded_server, tmp_path_factory) -> Iterator[Watched]:
    """A proxy's process that tells what lives in it, for all tests of the module."""
    watched = Watched(type(embedded_server), tmp_path_factory.mktemp("abuse") / "report")
    yield watched
    watched.close()


@pytest.fixture
def watched(process) -> Iterator[Watched]:
    """After the test nothing is left over."""
    yield process
    process.settle()


class Scene:
    """A proxy, and pairs of connections through it: `client` and `upstream` are the two ends of each."""

    def __init__(self, watched: Watched, backlog: int = 128) -> None:
        self.watched = watched
        self.kept = contextlib.ExitStack()
        self.listener = self.kept.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
        self.listener.settimeout(WAIT_S)
        self.place = watched.api.proxy(f"127.0.0.1:{self.listener.getsockname()[1]}")
        self.kept.callback(lambda: [sock.close() for sock in self.place.sockets])

    def pair(self) -> dict[str, socket.socket]:
        """A connection; both of its ends."""
        client = self.place.connect()
        upstream = self.kept.enter_context(self.listener.accept()[0])
        client.settimeout(WAIT_S)
        upstream.settimeout(WAIT_S)
        return {"client": client, "upstream": upstream}

    def open(self) -> int:
        """Connections that the proxy has open."""
        return int(self.watched.metric("brownout_proxy_connections", proxy=self.place.name))

    def resets(self) -> int:
        """Resets that it has seen."""
        return int(self.watched.metric("brownout_proxy_resets_total", proxy=self.place.name))

    def unreached(self) -> int:
        """Upstreams that were lost before the proxy had seen that they were there."""
        return int(self.watched.metric("brownout_proxy_unreached_total", proxy=self.place.name))

    def counts(self, path: str) -> dict[str, int]:
        """What a toxic did."""
        found: dict[str, int] = self.watched.api.request("GET", f"{path}/counts").json
        return found

    def serves(self) -> None:
        """A new connection gets through."""
        ends = self.pair()
        ends["client"].sendall(b"?")
        assert ends["upstream"].recv(1) == b"?"
        ends["upstream"].sendall(b"!")
        assert ends["client"].recv(1) == b"!"


@pytest.fixture
def scene(watched) -> Iterator[Scene]:
    """A proxy in front of a server that the test plays."""
    scene = Scene(watched)
    with scene.kept:
        yield scene


def other(peer: str) -> str:
    return "upstream" if peer == "client" else "client"


def ends(sock: socket.socket) -> bool:
    """Whether the connection ends, however it does; reads on until then."""
    with contextlib.suppress(ConnectionError):
        while sock.recv(65536):
            pass
    return True


# --- without toxics -----------------------------------------------------------------------------------------


def idle(pair: dict[str, socket.socket]) -> None:
    """Nothing has been said."""


def mid_request(pair: dict[str, socket.socket]) -> None:
    """The upstream has the beginning of a request."""
    pair["client"].sendall(b"GET / HT")
    assert pair["upstream"].recv(100) == b"GET / HT"


def mid_reply(pair: dict[str, socket.socket]) -> None:
    """The client has the beginning of a reply."""
    mid_request(pair)
    pair["upstream"].sendall(b"HTTP/1.1 200")
    assert pair["client"].recv(100) == b"HTTP/1.1 200"


def half_closed_by_client(pair: dict[str, socket.socket]) -> None:
    """The client sends no more."""
    mid_request(pair)
    pair["client"].shutdown(socket.SHUT_WR)
    assert pair["upstream"].recv(1) == b""


def half_closed_by_upstream(pair: dict[str, socket.socket]) -> None:
    """The upstream sends no more."""
    mid_reply(pair)
    pair["upstream"].shutdown(socket.SHUT_WR)
    assert pair["client"].recv(1) == b""


def stalled(pair: dict[str, socket.socket], sender: str) -> None:
    """The sender has sent all that fits anywhere, as the other end reads nothing."""
    pair[sender].settimeout(0.3)
    with pytest.raises(TimeoutError):
        while True:
            pair[sender].sendall(bytes(1 << 16))
    pair[sender].settimeout(WAIT_S)


def stalled_by_client(pair: dict[str, socket.socket]) -> None:
    """Back-pressure from a client that does not read."""
    stalled(pair, "upstream")


def stalled_by_upstream(pair: dict[str, socket.socket]) -> None:
    """Back-pressure from an upstream that does not read."""
    stalled(pair, "client")


STATES = (
    idle,
    mid_request,
    mid_reply,
    half_closed_by_client,
    half_closed_by_upstream,
    stalled_by_client,
    stalled_by_upstream,
)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("state", STATES)
def test_a_reset_reaches_the_other_end(scene, state, peer):
    """Whoever resets, and whenever: the other end sees an end, the reset is counted, and nothing is left over."""
    pairs = [scene.pair() for _ in range(3)]
    for pair in pairs:
        state(pair)
    for pair in pairs:
        reset(pair[peer])
    for pair in pairs:
        assert ends(pair[other(peer)])
    until(lambda: scene.open() == 0, "the end of the connections")
    assert scene.resets() + scene.unreached() == 3
    scene.serves()


@pytest.mark.parametrize("state", STATES)
def test_both_ends_reset_at_once(scene, state):
    """Nothing is left over, whichever is seen first."""
    pairs = [scene.pair() for _ in range(3)]
    for pair in pairs:
        state(pair)
    for pair in pairs:
        reset(pair["client"])
        reset(pair["upstream"])
    until(lambda: scene.open() == 0, "the end of the connections")
    scene.serves()


# --- before the upstream is there ---------------------------------------------------------------------------


@pytest.fixture
def full(watched) -> Iterator[Scene]:
    """A proxy in front of a server that accepts nobody: its backlog is full, so the proxy's dial hangs."""
    scene = Scene(watched, backlog=0)
    address = scene.listener.getsockname()
    refused = 0
    while refused < 3:  # in a row
        filler = scene.kept.enter_context(socket.socket())
        filler.settimeout(0.3)
        try:
            filler.connect(address)
            refused = 0
        except TimeoutError:
            refused += 1
    with scene.kept:
        yield scene


@pytest.mark.parametrize("data", [b"", b"early"])
@pytest.mark.parametrize("end", [reset, socket.socket.close])
def test_a_client_leaves_before_the_upstream_is_there(full, data, end):
    """The dial is given up with it, also where its data has made the proxy stop reading."""
    clients = [full.place.connect() for _ in range(5)]
    until(lambda: full.open() == 5, "the connections")
    for client in clients:
        client.sendall(data)
    if end is socket.socket.close:  # an end is no reset: the client may still want the reply
        full.listener.close()
        for client in clients:
            assert ends(client)
    for client in clients:
        end(client)
    until(lambda: full.open() == 0, "the end of the connections")


def test_an_upstream_goes_while_it_is_dialled(full):
    """The client sees the end, and the dial is counted as one that failed."""
    client = full.place.connect()
    until(lambda: full.open() == 1, "the connection")
    full.listener.close()
    assert ends(client)
    assert full.watched.metric("brownout_proxy_unreached_total", proxy=full.place.name) == 1


@pytest.mark.parametrize("change", ["disable", "delete", "move"])
def test_a_proxy_goes_while_it_dials(full, change):
    """Its clients see the end, and the dials are given up."""
    clients = [full.place.connect() for _ in range(5)]
    until(lambda: full.open() == 5, "the connections")
    change_proxy(full, change)
    for client in clients:
        assert ends(client)
    until(lambda: full.open() == 0, "the end of the connections")


def change_proxy(scene: Scene, change: str) -> None:
    """Disable the proxy, delete it, or give it another upstream."""
    body = {"enabled": False} if change == "disable" else {"upstream": "127.0.0.1:1"}
    method = "DELETE" if change == "delete" else "PATCH"
    assert scene.watched.api.request(method, scene.place.path, body).status in (200, 204)


# --- while a toxic holds something --------------------------------------------------------------------------


def held(scene: Scene, type: str, stream: str, how_many: int) -> tuple[str, list[dict[str, socket.socket]]]:
    """Pairs of whose data, or end, a toxic holds some; the toxic's path."""
    path = scene.place.toxic(type, stream, **HOLDING[type])
    pairs = [scene.pair() for _ in range(how_many)]
    sender = "client" if stream == "upstream" else "upstream"
    for pair in pairs:
        pair[sender].sendall(b"hello")
        if type == "slow_close":
            pair[sender].shutdown(socket.SHUT_WR)
    acted = "applied" if type == "slow_close" else "bytes"
    until(
        lambda: scene.counts(path)[acted] >= how_many * (1 if acted == "applied" else 5), "the toxic's effect"
    )
    return path, pairs


@pytest.mark.parametrize("first", PEERS)
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("type", HOLDING)
def test_peers_reset_while_a_toxic_holds(scene, type, stream, first):
    """When both ends are gone, so is everything, although the toxic is still there and would hold for hours."""
    _, pairs = held(scene, type, stream, 3)
    for pair in pairs:
        reset(pair[first])
    for pair in pairs:
        reset(pair[other(first)])
    until(lambda: scene.open() == 0, "the end of the connections")


@pytest.mark.parametrize("change", ["update", "remove", "disable", "delete", "move"])
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("type", HOLDING)
def test_peers_reset_while_a_toxic_or_its_proxy_changes(scene, type, stream, change):
    """Before, during and after the change, at one end or both: all ends see an end, and nothing is left over."""
    path, pairs = held(scene, type, stream, 12)
    for number, pair in enumerate(pairs[:6]):
        reset(pair[PEERS[number % 2]])
    if change == "update":
        body = {"attributes": AT_ONCE[type]}
        assert scene.watched.api.request("PATCH", path, body).status == 200
    elif change == "remove":
        assert scene.watched.api.request("DELETE", path).status == 204
    else:
        change_proxy(scene, change)
    for number, pair in enumerate(pairs[6:]):
        reset(pair[PEERS[number % 2]])
    for pair in pairs:
        for peer in PEERS:
            if pair[peer].fileno() >= 0:
                assert ends(pair[peer])
                pair[peer].close()
    if change != "delete":
        until(lambda: scene.open() == 0, "the end of the connections")
