"""Where bodies end: beside h11, a second implementation, and against the shapes that requests are smuggled by."""

from __future__ import annotations

import h11
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chaos.proxy.layer7.framing import BadFraming, Chunked, Sized, UntilClose
from chaos.proxy.layer7.head import CHUNKED, HEAD_MAX, UNTIL_CLOSE, Beginning, reply_head, request_head
from tests.proxy.layer7.messages import BODIES, ODD_CHUNKS, ODD_LINES, chunked, pieces, replies, requests

SIZES = st.lists(st.integers(1, 12), max_size=60)
NEXT = b"GET /next HTTP/1.1\r\n\r\n"


def read(data: bytes, sizes: list[int]) -> tuple[bytes, bytes, bool, bytes]:
    """The body, what was left behind it, whether it ended, and the trailer. Raises BadFraming."""
    framing, left, body = Chunked(keep=True), b"", b""
    for piece in pieces(data, sizes):
        if framing.done:
            left += piece
            continue
        taken = framing.take(piece)
        body += b"".join(framing.pieces())
        left += piece[taken:]
    return body, left, framing.done, framing.trailer


def h11_read(data: bytes) -> tuple[bytes, bytes, bool]:
    """The same by h11. Raises RemoteProtocolError."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return body, bytes(connection.trailing_data[0]), True
        if event in (h11.NEED_DATA, h11.PAUSED):
            return body, b"", False


@given(chunked(), SIZES)
def test_chunks_end_where_h11_says(data: bytes, sizes: list[int]) -> None:
    """Any cutting: the same body, the same end, and not a byte of what follows."""
    body, left, done, _ = read(data + NEXT, sizes)
    assert (body, left, done) == h11_read(data + NEXT)
    assert done and left == NEXT


@given(
    chunked() | st.sampled_from(ODD_CHUNKS),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255))),
    SIZES,
)
def test_what_is_taken_for_chunks_h11_takes_for_the_same(
    data: bytes, changes: list[tuple[int, int]], sizes: list[int]
) -> None:
    """Whatever is changed in them: where both can read them they agree; we may refuse more, never read otherwise."""
    changed = bytearray(data)
    for at, byte in changes[:2]:
        if at < len(changed):
            changed[at] = byte
    whole = bytes(changed) + NEXT
    try:
        body, left, done, _ = read(whole, sizes)
    except BadFraming:
        return
    try:
        expected = h11_read(whole)
    except h11.RemoteProtocolError:
        # h11 looks at the trailers' syntax, and at sizes of more than 20 digits; neither says where the body ends.
        assert not done or b"\r\n" in whole[: len(whole) - len(left)]
        return
    assert done == expected[2]
    assert body == expected[0]
    if done:
        assert left == expected[1]


@pytest.mark.parametrize("data", ODD_CHUNKS)
def test_odd_chunks_are_refused(data: bytes) -> None:
    """Signs, prefixes, underscores, blanks, bare line feeds, sizes beyond any, a chunk longer than it says."""
    with pytest.raises(BadFraming):
        read(data, [])
    with pytest.raises(BadFraming):
        read(data, [1] * len(data))


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_line_without_an_end_is_refused(size: int) -> None:
    """Sizes and trailers that go on and on are not held for ever."""
    for begin, line in ((b"", b"1;" + b"a" * size), (b"0\r\n", b"A: " + b"b" * size + b"\r\n")):
        framing = Chunked(keep=False)
        framing.take(begin)
        with pytest.raises(BadFraming):
            for _ in range(70_000 // size + 20_000):
                framing.take(line)
                line = line if begin else b"a" * size


@given(st.binary(max_size=50), st.integers(0, 60), SIZES)
def test_a_sized_body_is_as_long_as_it_says(data: bytes, length: int, sizes: list[int]) -> None:
    """Whatever the cutting."""
    framing, got, left = Sized(length, True), b"", b""
    for piece in pieces(data, sizes):
        taken = framing.take(piece)
        got += b"".join(framing.pieces())
        left += piece[taken:]
    assert (got, left) == (data[:length], data[length:])
    assert framing.done == (len(data) >= length)


@given(st.binary(max_size=50), SIZES)
def test_a_body_until_the_close_is_all_there_is(data: bytes, sizes: list[int]) -> None:
    """It never ends by itself."""
    framing = UntilClose(True)
    assert all(framing.take(piece) == len(piece) for piece in pieces(data, sizes))
    assert b"".join(framing.pieces()) == data
    assert not framing.done


# --- heads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ODD_LINES)
@pytest.mark.parametrize("first", [b"POST / HTTP/1.1", b"HTTP/1.1 200 OK"])
def test_heads_that_two_readers_could_take_for_two_things_are_refused(first: bytes, line: bytes) -> None:
    """Two lengths, a length and chunks, folded lines, blanks before the colon, other codings, and their like."""
    raw = first + b"\r\nHost: a\r\n" + line + b"\r\n\r\n"
    assert (request_head(raw) if first.startswith(b"POST") else reply_head(raw, "GET")) is None


@given(requests() | replies())
def test_a_head_that_is_read_h11_reads_alike(message: bytes) -> None:
    """Where h11 takes it too: the same method or status, and the same length of the body."""
    raw = message[: message.find(b"\r\n\r\n") + 4].removeprefix(b"\r\n")
    reply = raw.startswith(b"HTTP/")
    head = reply_head(raw, "GET") if reply else request_head(raw)
    connection = h11.Connection(h11.CLIENT if reply else h11.SERVER)
    if reply:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return
    if head is None or not isinstance(event, h11.Request | h11.Response):
        return
    named = dict(event.headers)
    if b"transfer-encoding" in named:
        assert head.length == CHUNKED or (reply and head.length == 0)
    elif b"content-length" in named:
        assert head.length in (int(named[b"content-length"]), 0 if reply else None)
    else:
        assert head.length in (0, UNTIL_CLOSE if reply else 0)


def beginning_says(raw: bytes, sizes: list[int], reply: bool) -> bool:
    """Whether it is a head's beginning to its last byte."""
    beginning, seen = Beginning(reply=reply), b""
    for piece in pieces(raw, sizes):
        seen += piece
        if beginning.end(seen) > 0:
            return True
        if beginning.broken(seen):
            return False
    return True


@given(requests(), SIZES)
def test_the_beginning_of_a_head_is_never_taken_for_garbage(message: bytes, sizes: list[int]) -> None:
    """However it is cut: a head that will be read is waited for."""
    raw = message.removeprefix(b"\r\n")
    raw = raw[: raw.find(b"\r\n\r\n") + 4]
    if request_head(raw) is not None:
        assert beginning_says(raw, sizes, False)


@given(replies(), SIZES)
def test_nor_is_that_of_a_reply(message: bytes, sizes: list[int]) -> None:
    """The same."""
    raw = message[: message.find(b"\r\n\r\n") + 4]
    if reply_head(raw, "GET") is not None:
        assert beginning_says(raw, sizes, True)


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO a\r\n",
        b"GET key\r\n",
        b"get key\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / RTSP/1.0\r\n",
        b"\nGET /",
        b" GET /",
        b"GET / HTTP/1.1\r\nA\x00",
        b"GET / HTTP/1.1\r\nA: " + b"b" * HEAD_MAX,
        b"HTTP/1.1 200 OK\nA: b\n\n",
    ],
)
@pytest.mark.parametrize("reply", [False, True])
def test_other_protocols_are_known_at_once(data: bytes, reply: bool) -> None:
    """What is no HTTP is not held until there is more of it: its peer may be waiting for it."""
    if reply and data.startswith(b"HTTP/"):
        reply = True
    assert not beginning_says(data, [], reply)
    assert not beginning_says(data, [1] * min(len(data), 200), reply)


@given(st.binary(max_size=60) | BODIES, SIZES, st.booleans())
def test_garbage_is_garbage_however_it_is_cut(data: bytes, sizes: list[int], reply: bool) -> None:
    """The pieces do not decide whether something is read."""
    assume(b"\r\n\r\n" not in data)
    assert len({beginning_says(data, cut, reply) for cut in ([], sizes, [1] * len(data))}) == 1
