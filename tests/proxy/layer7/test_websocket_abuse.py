"""WebSockets that are broken, huge or half gone: what cannot be read passes untouched, and is reported."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import zlib
from collections.abc import Iterator

import psutil
import pytest

from chaos.proxy.layer7.deflate import Agreed, agreed
from chaos.proxy.layer7.head import reply_head
from tests.proxy.layer7.websocket_peers import AGREED, DEFLATE, HANDSHAKE, Deflater, Spot, frame, until_blank

MIB = 1024 * 1024
TEXT, BINARY, CLOSE, PING = 0x81, 0x82, 0x88, 0x89
COMPRESSED = 0x40
GOOD = frame(TEXT, b'{"a": 1}', masks=True)


class Sink:
    """An upstream that agrees to a WebSocket, and counts or keeps what comes."""

    def __init__(self) -> None:
        self.extension = b""
        self.greeting = b""
        self.got = bytearray()
        self.size = 0
        self.ended = threading.Event()

    def serve(self, sock: socket.socket) -> None:
        """One connection."""
        until_blank(sock)
        sock.settimeout(60)
        try:
            sock.sendall(AGREED % self.extension + self.greeting)
            while piece := sock.recv(MIB):
                self.size += len(piece)
                if len(self.got) < 16 * MIB:
                    self.got += piece
        finally:
            self.ended.set()


@pytest.fixture
def sink() -> Sink:
    """An upstream's part."""
    return Sink()


@pytest.fixture
def spot(embedded, upstream, sink: Sink) -> Spot:
    """A proxy in front of it."""
    return Spot(embedded, upstream(sink.serve).address)


@contextlib.contextmanager
def connected(spot: Spot) -> Iterator[socket.socket]:
    """A connection that has become a WebSocket."""
    host, _, port = spot.listen.rpartition(":")
    with socket.create_connection((host, int(port)), 60) as sock:
        sock.sendall(HANDSHAKE % b"/ws")
        until_blank(sock)
        yield sock


def through(spot: Spot, sink: Sink, data: bytes) -> bytes:
    """What the upstream gets of what a client sends before it ends."""
    with connected(spot) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        assert sink.ended.wait(60)
    return bytes(sink.got)


def with_length(form: int, length: int, width: int) -> bytes:
    return bytes((TEXT, 0x80 | form)) + length.to_bytes(width, "big") + b"\0\0\0\0" + b"x" * length


BAD = {
    "reserved opcode": frame(0x83, b"x", masks=True),
    "reserved control": frame(0x8B, b"x", masks=True),
    "RSV1 without an extension": frame(0xC1, b"x", masks=True),
    "RSV2": frame(0xA1, b"x", masks=True),
    "no mask": frame(TEXT, b"x" * 20, masks=False),
    "a length of 125 in 16 bits": with_length(126, 125, 2),
    "a length of 65535 in 64 bits": with_length(127, 65535, 8),
    "a length over 63 bits": bytes((TEXT, 0xFF)) + b"\xff" * 12,
    "a ping of 126 bytes": frame(PING, b"p" * 126, masks=True),
    "a close of 126 bytes": frame(CLOSE, b"p" * 126, masks=True),
    "a ping in fragments": frame(0x09, b"p", masks=True),
    "the end of no message": frame(0x80, b"x", masks=True),
    "a message within a message": frame(0x01, b"x", masks=True) + frame(TEXT, b"y", masks=True),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("reads", [True, False], ids=["read", "skipped"])
def test_bad_frames_pass_untouched(spot: Spot, sink: Sink, bad: bytes, reads: bool) -> None:
    """From the first frame on that no sender may send nothing is read any more; all passes, and is reported."""
    toxic = spot.inject("ws_drop", stream="upstream" if reads else "downstream", where={"json": {"/b": 1}})
    if not reads:
        spot.heal(toxic)
    data = GOOD + bad + frame(TEXT, b'{"b": 1}', masks=True)
    assert through(spot, sink, data) == data
    if reads:
        counts = spot.counts(toxic)
        assert (counts["unread"], counts["applied"]) == (1, 0)


def test_bad_frame_of_a_server(spot: Spot, sink: Sink) -> None:
    """A server that masks is not read any more; what was delayed before goes on at once, and in order."""
    good, bad = frame(TEXT, b"good", masks=False), frame(TEXT, b"bad", masks=True)
    spot.inject("ws_delay", {"delay": 2**31 - 1})
    sink.greeting = good + bad + good
    with connected(spot) as sock:
        got = b""
        while len(got) < len(sink.greeting):
            got += sock.recv(65536)
        assert got == sink.greeting


@pytest.mark.parametrize(
    "extension", [b"x-unknown", b"permessage-deflate; odd", b"permessage-deflate, x-unknown"]
)
def test_unknown_extensions_pass_untouched(spot: Spot, sink: Sink, extension: bytes) -> None:
    """What an extension that nobody here knows makes of frames is not guessed at."""
    toxic = spot.inject("ws_drop", stream="upstream")
    sink.extension = b"Sec-WebSocket-Extensions: " + extension + b"\r\n"
    data = frame(0xF1, b"x", masks=True) + GOOD
    assert through(spot, sink, data) == data
    assert (spot.counts(toxic)["unread"], spot.counts(toxic)["applied"]) == (1, 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Agreed()),
        ("permessage-deflate", Agreed(True)),
        ("Permessage-Deflate; server_no_context_takeover", Agreed(True, server_keeps=False)),
        (
            'permessage-deflate; client_no_context_takeover; server_max_window_bits="12"',
            Agreed(True, client_keeps=False),
        ),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=", None),
        ("permessage-bzip2", None),
    ],
)
def test_what_a_handshake_agrees_to(value: str | None, expected: Agreed | None) -> None:
    """Compression is read as RFC 7692 writes it, and nothing else is taken for it."""
    line = b"" if value is None else f"Sec-WebSocket-Extensions: {value}\r\n".encode()
    head = reply_head(AGREED % line, "GET")
    assert head is not None
    assert agreed(head) == expected


@pytest.mark.parametrize("fragments", [1, 100])
def test_100_mb_stream_through(spot: Spot, sink: Sink, embedded, fragments: int) -> None:
    """A message of 100 MB, in one frame or in fragments, passes a toxic that would have to see it whole.

    It is reported as unread, the next message is struck, and the proxy grows by less than 64 MiB.
    """
    toxic = spot.inject("ws_drop", stream="upstream")
    part = os.urandom(MIB) * (100 // fragments)
    process = psutil.Process(embedded.process.pid)
    before = process.memory_info().rss
    size = 0
    most = before
    with connected(spot) as sock:
        for number in range(fragments):
            first = (0 if number else 2) | (0x80 if number == fragments - 1 else 0)
            head = bytes((first, 0xFF)) + len(part).to_bytes(8, "big") + b"\0\0\0\0"
            sock.sendall(head)
            for at in range(0, len(part), MIB):
                sock.sendall(part[at : at + MIB])
                most = max(most, process.memory_info().rss)
            size += len(head) + len(part)
        sock.sendall(frame(TEXT, b"dropped", masks=True))
        sock.shutdown(socket.SHUT_WR)
        assert sink.ended.wait(60)
    assert sink.size == size
    assert (spot.counts(toxic)["unread"], spot.counts(toxic)["applied"]) == (1, 1)
    assert most - before < 64 * MIB


def test_what_inflates_without_end(spot: Spot, sink: Sink, embedded) -> None:
    """A message of 100 kB that comes to 100 MB passes as it is; neither it nor what needs it is read."""
    toxic = spot.inject("ws_drop", stream="upstream")
    sink.extension = DEFLATE
    deflater = Deflater()
    bomb = frame(TEXT | COMPRESSED, deflater.message(b"\0" * 100_000_000), masks=True)
    after = frame(TEXT | COMPRESSED, deflater.message(b"after"), masks=True)
    plain = frame(TEXT, b"dropped", masks=True)
    before = psutil.Process(embedded.process.pid).memory_info().rss
    assert through(spot, sink, bomb + after + plain) == bomb + after
    assert psutil.Process(embedded.process.pid).memory_info().rss - before < 64 * MIB
    assert (spot.counts(toxic)["unread"], spot.counts(toxic)["applied"]) == (2, 1)


def test_what_does_not_inflate(spot: Spot, sink: Sink) -> None:
    """A message that is no deflate passes as it is, and is reported with all that come after it."""
    toxic = spot.inject("ws_drop", stream="upstream")
    sink.extension = DEFLATE
    data = frame(TEXT | COMPRESSED, b"\xff\xff\xff", masks=True) * 2
    assert through(spot, sink, data) == data
    assert (spot.counts(toxic)["unread"], spot.counts(toxic)["applied"]) == (2, 0)


def test_without_context_takeover_the_rest_stays_compressed(spot: Spot, sink: Sink) -> None:
    """Where each message is compressed by itself, those after a dropped one pass as the bytes that came."""
    spot.inject("ws_drop", stream="upstream", where={"nth": 1})
    sink.extension = DEFLATE.replace(b"\r\n", b"; client_no_context_takeover\r\n")
    first, second = (frame(TEXT | COMPRESSED, Deflater().message(b"hello" * 9), masks=True) for _ in range(2))
    assert through(spot, sink, first + second) == second


def test_with_context_takeover_the_rest_goes_on_inflated(spot: Spot, sink: Sink) -> None:
    """Where messages need those before them, all after a dropped one go on uncompressed, and say the same."""
    spot.inject("ws_drop", stream="upstream", where={"nth": 2})
    sink.extension = DEFLATE
    deflater = Deflater()
    said = [b"hello" * 9, b"lost" * 9, b"hello" * 9, b"x" * 3_000_000]
    sent = [frame(TEXT | COMPRESSED, deflater.message(one), masks=True) for one in said]
    got = through(spot, sink, b"".join(sent))
    assert got.startswith(sent[0])
    messages = list(unframed(got[len(sent[0]) :]))
    assert messages == said[2:]


def unframed(data: bytes) -> Iterator[bytes]:
    """The uncompressed messages in masked frames."""
    message = b""
    at = 0
    while at < len(data):
        first, length, body = data[at], data[at + 1] & 0x7F, at + 2
        assert first & 0x70 == 0
        if length > 125:
            width = 2 if length == 126 else 8
            length = int.from_bytes(data[body : body + width], "big")
            body += width
        key = data[body : body + 4]
        payload = data[body + 4 : body + 4 + length]
        keys = (key * (length // 4 + 1))[:length]
        message += (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(length, "big")
        if first & 0x80:
            yield message
            message = b""
        at = body + 4 + length


@pytest.mark.parametrize("size", range(1, len(GOOD)))
def test_half_a_frame(spot: Spot, sink: Sink, size: int) -> None:
    """What has come of a frame when the client ends goes on as it is."""
    spot.inject("ws_drop", stream="upstream")
    assert through(spot, sink, GOOD[:size]) == GOOD[:size]


def test_healing_gives_back_what_is_held_of_a_message(spot: Spot, sink: Sink, wire) -> None:
    """Half a message that is held for a toxic goes on when the toxic is healed; its rest follows."""
    toxic = spot.inject("ws_drop", stream="upstream")
    half = (
        frame(0x01, b"half", masks=True) + frame(PING, b"p", masks=True) + frame(0x00, b"of", masks=True)[:7]
    )
    with connected(spot) as sock:
        sock.sendall(half)
        wire.until(lambda: received(spot) >= len(half), 30)
        assert not sink.got
        spot.heal(toxic)
        wire.until(lambda: bytes(sink.got) == half, 30)
        sock.sendall(b"x" + GOOD)
        wire.until(lambda: bytes(sink.got) == half + b"x" + GOOD, 30)


def received(spot: Spot) -> int:
    """Bytes of WebSocket that a proxy has read from clients."""
    text = spot.api.request("GET", "/metrics").body.decode()
    name = spot.place.name
    total = sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("toxiproxy_proxy_received_bytes_total")
        and f'proxy="{name}"' in line
        and 'direction="upstream"' in line
    )
    return int(total) - len(HANDSHAKE % b"/ws")


def test_what_is_delayed_is_bounded(spot: Spot, sink: Sink) -> None:
    """Behind a delayed message a client is stopped before 32 MiB, and healing lets all of it go on."""
    toxic = spot.inject("ws_delay", {"delay": 2**31 - 1}, stream="upstream", where={"nth": 1})
    message = frame(BINARY, b"x" * 60_000, masks=True)
    with connected(spot) as sock:
        sock.settimeout(2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 32 * MIB:
                sent += sock.send(message[sent % len(message) :])
        assert sent < 32 * MIB
        assert sink.size == 0
        spot.heal(toxic)
        sock.settimeout(60)
        sock.sendall(message[sent % len(message) :])
        sock.shutdown(socket.SHUT_WR)
        assert sink.ended.wait(60)
    assert sink.size % len(message) == 0
    assert sink.size >= sent


def test_random_bytes_after_a_handshake(spot: Spot, sink: Sink) -> None:
    """Whatever follows a handshake, it passes."""
    spot.inject("ws_duplicate", stream="upstream", where={"json": {"/a": 2}})
    data = zlib.compress(b"anything") * 20_000
    assert through(spot, sink, data) == data
