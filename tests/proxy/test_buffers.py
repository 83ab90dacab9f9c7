"""What a connection holds: nothing of it is lost, and it is bounded."""

from __future__ import annotations

import socket
import threading


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


def test_what_is_still_to_be_read_after_both_ends_arrives(embedded, upstream, wire):
    """A slow stream whose two ends were sent long ago is not taken for a connection that was reset."""
    body = bytes(range(256)) * 8192

    def serve(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass
        sock.sendall(body)

    place = embedded.proxy(upstream(serve).address)
    place.toxic("bandwidth", rate=800)  # for some of the proxy's looks at who has vanished, one each second
    with place.connect() as sock:
        sock.shutdown(socket.SHUT_WR)
        assert wire.receive(sock, len(body) + 1) == body
