"""What no toxic strikes passes as the bytes that came, whatever it is and however it is cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from tests.proxy.layer7.websocket_peers import AGREED, DEFLATE, HANDSHAKE, Deflater, Spot, frame, until_blank

SIZES = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 128, 1000, 65534, 65535, 65536, 65537])
URI = parse_uri("ws://x/ws")
NOWHERE = {"json": {"/no/such": "value"}}
"""Fits nothing, and has every message read."""


class Peer:
    """The upstream of one example: agrees, sends what it is to send in its pieces, and keeps what comes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.extension = b""
        self.got = b""
        self.ended = threading.Event()

    def serve(self, sock: socket.socket) -> None:
        """One connection."""
        until_blank(sock)
        sock.sendall(AGREED % self.extension)
        sender = threading.Thread(target=send, args=(sock, self.pieces))
        sender.start()
        got = bytearray()
        try:
            while piece := sock.recv(65536):
                got += piece
        finally:
            sender.join()
            self.got = bytes(got)
            self.ended.set()


def send(sock: socket.socket, pieces: list[bytes]) -> None:
    """Piece by piece."""
    for piece in pieces:
        sock.sendall(piece)


def finish(sock: socket.socket, sender: threading.Thread) -> None:
    """End the stream once all has been sent."""
    sender.join()
    sock.shutdown(socket.SHUT_WR)


@st.composite
def stream(draw: st.DrawFn, *, masks: bool, deflate: bool) -> list[bytes]:
    """Frames of whole and fragmented messages, with control frames between, cut anywhere."""
    deflater = Deflater()
    raw = bytearray()
    for _ in range(draw(st.integers(0, 6))):
        size = draw(SIZES)
        filler = draw(st.sampled_from([b'{"type": "step", "n": 1}', b"\x00\xff", b"[1,", b"x"]))
        payload = (filler * (size // len(filler) + 1))[:size]
        opcode = draw(st.sampled_from([1, 2]))
        if deflate and draw(st.booleans()):
            payload = deflater.message(payload)
            opcode |= 0x40
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, part in enumerate(parts):
            last = 0x80 if number == len(parts) - 1 else 0
            raw += frame(last | (0 if number else opcode), part, masks=masks)
            for control in draw(st.lists(st.sampled_from([0x89, 0x8A]), max_size=2)):
                raw += frame(control, b"p" * draw(st.sampled_from([0, 1, 125])), masks=masks)
    if draw(st.booleans()):
        raw += frame(0x88, b"\x03\xe8bye", masks=masks)
    data = bytes(raw)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return [piece for piece in pieces if piece]


def exchange(spot: Spot, peer: Peer, up: list[bytes], down: list[bytes], extension: bytes) -> bytes:
    """Both sides send all they have, then the client ends; what it got."""
    peer.pieces, peer.extension = down, extension
    peer.ended.clear()
    host, _, port = spot.listen.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.sendall(HANDSHAKE % b"/ws")
        until_blank(sock)
        sender = threading.Thread(target=send, args=(sock, up))
        sender.start()
        ender = threading.Thread(target=finish, args=(sock, sender))
        ender.start()
        got = bytearray()
        while piece := sock.recv(65536):
            got += piece
        ender.join()
    assert peer.ended.wait(30)
    return bytes(got)


@pytest.fixture
def peer_and_spot(embedded, upstream) -> Iterator[tuple[Peer, Spot]]:
    """A peer, and a proxy in front of it."""
    peer = Peer()
    yield peer, Spot(embedded, upstream(peer.serve).address)


TOXICS: list[Callable[[Spot], object]] = [
    lambda spot: None,
    lambda spot: spot.inject("ws_drop", where=NOWHERE),
    lambda spot: (
        spot.inject("ws_drop", where=NOWHERE),
        spot.inject("ws_replay", {}, name="u", stream="upstream", where=NOWHERE),
    ),
    lambda spot: spot.inject("json_edit", {"pointer": "/a"}, where={"reply_to": {"/no/such": 1}}),
]


@pytest.mark.parametrize("toxic", range(len(TOXICS)), ids=["none", "down", "both", "reply-to"])
@pytest.mark.parametrize("extension", [b"", DEFLATE], ids=["plain", "deflate"])
def test_any_frames_pass_byte_for_byte(
    peer_and_spot: tuple[Peer, Spot], toxic: int, extension: bytes
) -> None:
    """Any messages, in any fragments, with any control frames between, cut anywhere, pass as they are.

    So it is where no toxic is, and where toxics are that strike none of them.
    """
    peer, spot = peer_and_spot
    TOXICS[toxic](spot)
    deflate = bool(extension)

    @settings(max_examples=25)
    @given(up=stream(masks=True, deflate=deflate), down=stream(masks=False, deflate=deflate))
    def holds(up: list[bytes], down: list[bytes]) -> None:
        got = exchange(spot, peer, up, down, extension)
        assert got == b"".join(down)
        assert peer.got == b"".join(up)

    holds()
    for one in spot.api.request("GET", f"{spot.path}/toxics").json:
        counts = spot.counts(f"{spot.path}/toxics/{one['name']}")
        assert (counts["applied"], counts["unread"]) == (0, 0)


def messages(data: bytes, *, masks: bool, deflate: bool) -> list[tuple[int, bytes]]:
    """The messages, and the control frames in between, as websockets reads them: opcodes and payloads."""
    reader = (
        ServerProtocol(state=State.OPEN, max_size=None) if masks else ClientProtocol(URI, state=State.OPEN)
    )
    reader.max_message_size = None
    if deflate:
        reader.extensions = [PerMessageDeflate(False, False, 15, 15)]
    reader.receive_data(data)
    found: list[tuple[int, bytes]] = []
    for event in reader.events_received():
        assert isinstance(event, Frame)
        if event.opcode == 0:
            at = max(at for at, (opcode, _) in enumerate(found) if opcode < 8)
            found[at] = (found[at][0], found[at][1] + bytes(event.data))
        else:
            found.append((event.opcode, bytes(event.data)))
    assert reader.parser_exc is None
    return found


def kinds(found: list[tuple[int, bytes]], *, control: bool) -> list[tuple[int, bytes]]:
    return [one for one in found if (one[0] >= 8) is control]


@pytest.mark.parametrize("type", ["ws_drop", "ws_duplicate", "ws_reorder", "ws_replay"])
@pytest.mark.parametrize("extension", [b"", DEFLATE], ids=["plain", "deflate"])
def test_what_is_struck_leaves_the_others_whole(
    peer_and_spot: tuple[Peer, Spot], type: str, extension: bytes
) -> None:
    """Whatever is dropped, doubled, moved or replayed, all other messages and control frames say what they said.

    The receiver can read all of them, compressed or not; control frames keep their order.
    """
    peer, spot = peer_and_spot
    for side in ("upstream", "downstream"):
        spot.inject(type, stream=side, name=side, toxicity=0.5)
    deflate = bool(extension)

    @settings(max_examples=25)
    @given(up=stream(masks=True, deflate=deflate), down=stream(masks=False, deflate=deflate))
    def holds(up: list[bytes], down: list[bytes]) -> None:
        before = len(spot.hits())
        down_got = exchange(spot, peer, up, down, extension)
        struck = spot.hits()[before:]
        for side, sent, got in (("upstream", up, peer.got), ("downstream", down, down_got)):
            was = messages(b"".join(sent), masks=side == "upstream", deflate=deflate)
            now = messages(got, masks=side == "upstream", deflate=deflate)
            applied = sum(hit["stream"] == side and bool(hit.get("applied")) for hit in struck)
            assert kinds(now, control=True) == kinds(was, control=True)
            told(type, applied, kinds(was, control=False), kinds(now, control=False))

    holds()


def told(type: str, applied: int, was: list[tuple[int, bytes]], now: list[tuple[int, bytes]]) -> None:
    """What a type may make of messages, if it acted on so many."""
    match type:
        case "ws_drop":
            rest = iter(was)
            assert all(one in rest for one in now)
            assert len(now) == len(was) - applied
        case "ws_duplicate":
            rest = iter(now)
            assert all(one in rest for one in was)
            assert len(now) == len(was) + applied
        case "ws_reorder":
            assert sorted(now) == sorted(was)
            assert applied or now == was
        case _:
            assert len(now) == len(was)
            assert all(one in (was[at], was[at - 1]) for at, one in enumerate(now))
