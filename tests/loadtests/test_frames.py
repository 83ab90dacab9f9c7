"""WebSocket frames: what we write is what a strict server reads, and what a server must not send is refused."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from loadtests.users.frames import MOST_BYTES, Frames, Violation, close_frame, pong_frame, text_frame

SIZES = (0, 1, 3, 4, 5, 124, 125, 126, 127, 65_535, 65_536, 200_001)


def read_by_a_server(data: bytes) -> list[Frame]:
    """What the package websockets makes of a client's bytes; it refuses what the protocol forbids."""
    server = Protocol(Side.SERVER)
    server.receive_data(data)
    assert server.parser_exc is None
    return [event for event in server.events_received() if isinstance(event, Frame)]


def read(*parts: bytes) -> Frames:
    """What we make of a server's bytes, as they come."""
    frames = Frames()
    for part in parts:
        frames.feed(part)
    return frames


def sent(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    """A frame as the package websockets sends it as a server."""
    return Frame(opcode, payload, fin).serialize(mask=False)


@pytest.mark.parametrize("size", SIZES)
def test_a_server_reads_what_was_written(size: int) -> None:
    """Text of any size, in each of the three forms that a length can have, is the same at the other end."""
    text = "".join(random.Random(size).choices("aé€\U0001f600", k=size))
    (frame,) = read_by_a_server(text_frame(text))
    assert (frame.opcode, frame.fin, bytes(frame.data).decode()) == (Opcode.TEXT, True, text)


def test_control_frames_are_what_they_should_be() -> None:
    """A close carries its code, a pong the ping's payload."""
    (pong,) = read_by_a_server(pong_frame(b"payload"))
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"payload")
    (close,) = read_by_a_server(close_frame(1000))
    assert (close.opcode, close.data) == (Opcode.CLOSE, struct.pack(">H", 1000))


def test_each_frame_has_a_mask_of_its_own() -> None:
    """Thousands of frames of the same text have thousands of keys, past what is drawn at a time too."""
    keys = {text_frame("x")[2:6] for _ in range(5000)}
    assert len(keys) > 4990  # 4 random bytes: even one pair alike is rare


@pytest.mark.parametrize("size", SIZES)
def test_what_a_server_sends_is_read(size: int) -> None:
    """Messages of any size, two in a row, at once or byte by byte."""
    payload = random.Random(size).randbytes(size).hex()[:size]
    data = sent(Opcode.TEXT, payload.encode()) + sent(Opcode.TEXT, b"next")
    assert list(read(data).messages) == [payload, "next"]
    if size < 1000:
        single = [data[at : at + 1] for at in range(len(data))]
        assert list(read(*single).messages) == [payload, "next"]


@given(
    texts=st.lists(st.text(max_size=300), min_size=1, max_size=5),
    fragments=st.integers(1, 5),
    cuts=st.lists(st.integers(1, 50), max_size=40),
    pings=st.booleans(),
)
def test_fragments_pieces_and_pings_change_nothing(
    texts: list[str], fragments: int, cuts: list[int], pings: bool
) -> None:
    """However messages are cut into frames, and frames into pieces, and with pings between: the same messages."""
    data = b""
    for text in texts:
        payload = text.encode()
        size = len(payload) // fragments + 1
        parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
        for number, part in enumerate(parts):
            opcode = Opcode.CONT if number else Opcode.TEXT
            data += sent(opcode, part, fin=number == len(parts) - 1)
            if pings:
                data += sent(Opcode.PING, b"p") + sent(Opcode.PONG, b"unasked")
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    frames = read(*pieces, data[at:])
    assert list(frames.messages) == texts
    assert set(frames.pings) <= {b"p"} and bool(frames.pings) == pings
    assert frames.closed is None


@pytest.mark.parametrize(("payload", "code"), [(b"", 1005), (b"\x03\xe8", 1000), (b"\x0f\xa0bye", 4000)])
def test_a_close_ends_it(payload: bytes, code: int) -> None:
    """Its code is told, what came before it stays, and what comes after it means nothing."""
    frames = read(sent(Opcode.TEXT, b"last") + sent(Opcode.CLOSE, payload) + sent(Opcode.TEXT, b"late"))
    assert (list(frames.messages), frames.closed) == (["last"], code)
    frames.feed(sent(Opcode.TEXT, b"later"))
    assert list(frames.messages) == ["last"]


FORBIDDEN = {
    "a mask": Frame(Opcode.TEXT, b"x").serialize(mask=True),
    "a reserved bit": bytes((0x81 | 0x40, 1)) + b"x",
    "a reserved bit of a control frame": bytes((0x89 | 0x10, 0)),
    "an unknown opcode": bytes((0x83, 0)),
    "an unknown control opcode": bytes((0x8B, 0)),
    "a binary message": sent(Opcode.BINARY, b"x"),
    "a length of 16 bits that fits 7": bytes((0x81, 126)) + struct.pack(">H", 125) + b"x" * 125,
    "a length of 64 bits that fits 16": bytes((0x81, 127)) + struct.pack(">Q", 65_535),
    "a length past all bounds": bytes((0x81, 127)) + struct.pack(">Q", MOST_BYTES + 1),
    "a length with its first bit set": bytes((0x81, 127)) + struct.pack(">Q", 1 << 63),
    "a fragmented ping": bytes((0x09, 0)),
    "a long ping": bytes((0x89, 126)) + struct.pack(">H", 126) + b"x" * 126,
    "a continuation of nothing": sent(Opcode.CONT, b"x"),
    "a message within another": sent(Opcode.TEXT, b"a", fin=False) + sent(Opcode.TEXT, b"b"),
    "a close of one byte": bytes((0x88, 1, 3)),
    "a close with a code that is none": bytes((0x88, 2)) + struct.pack(">H", 1005),
    "a close with a code of nobody's": bytes((0x88, 2)) + struct.pack(">H", 2999),
    "a close whose reason is no text": bytes((0x88, 3)) + struct.pack(">H", 1000) + b"\xff",
    "a text that is none": sent(Opcode.TEXT, b"\xff"),
    "a fragmented text that is none": sent(Opcode.TEXT, b"\xc3", fin=False) + sent(Opcode.CONT, b"("),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_is_forbidden_is_refused(what: str) -> None:
    """Whatever the protocol forbids a server is a violation, in one piece and byte by byte."""
    data = FORBIDDEN[what]
    with pytest.raises(Violation):
        read(data)
    with pytest.raises(Violation):
        read(*(data[at : at + 1] for at in range(len(data))))


def test_a_message_in_endless_fragments_is_refused() -> None:
    """Fragments that together are past the bound are a violation, before they fill the memory."""
    part = bytes((0x00, 127)) + struct.pack(">Q", MOST_BYTES // 4) + bytes(MOST_BYTES // 4)
    frames = read(sent(Opcode.TEXT, b"begin", fin=False), part, part, part)
    with pytest.raises(Violation, match="a message of more than"):
        frames.feed(part)


def test_a_character_across_fragments_is_whole() -> None:
    """UTF-8 may be cut anywhere, within a character too."""
    data = sent(Opcode.TEXT, "é".encode()[:1], fin=False) + sent(Opcode.CONT, "é".encode()[1:])
    assert list(read(data).messages) == ["é"]
