"""Streams of HTTP/1.1 as Hypothesis draws them: every framing, oddities of every kind, and garbage."""

from __future__ import annotations

from hypothesis import strategies as st

_TEXT = st.text("abcXYZ019 /\r\n;:{}\"'", max_size=40).map(str.encode)
BODIES = st.one_of(
    st.binary(max_size=40),
    _TEXT,
    st.sampled_from(
        [
            b"",
            b'{"a":1,"reward":2}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}',
            b"data: {}\n\ndata: [DONE]\n\n",
            b"GET /inner HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"0\r\n\r\n",
        ]
    ),
)
_LINES = st.lists(
    st.sampled_from(
        [
            b"Host: a",
            b"X-Long: " + b"y" * 300,
            b"Accept:",
            b"Content-Type: application/json",
            b"Content-Type: text/event-stream",
            b"Content-Encoding: gzip",
            b"X-Latin: \xe9",
            b"X-Tab: a\tb ",
        ]
    ),
    max_size=3,
)
ODD_LINES = (
    b"Content-Length: 3\r\nContent-Length: 4",
    b"Content-Length: 3\r\nContent-Length: 3",
    b"Content-Length: 3, 3",
    b"Content-Length: +3",
    b"Content-Length: -1",
    b"Content-Length: 3 ",
    b"Content-Length : 3",
    b"Content-Length: 0x3",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 3\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"A: b\nContent-Length: 3",
    b"A: b\rContent-Length: 3",
    b"A: b\r\n folded: c",
    b" Leading: space",
    b"Nul: a\x00b",
    b": no name",
    b"no colon",
)
ODD_CHUNKS = (
    b"+3\r\nabc\r\n0\r\n\r\n",
    b"-3\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"1_0\r\nabc\r\n0\r\n\r\n",
    b" 3\r\nabc\r\n0\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n",
    b"3 ;a\r\nabc\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"ffffffffffffffffff\r\nabc",
    b"7fffffffffffffff\r\nabc",
    b"\r\n0\r\n\r\n",
    b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    b"0\r\nTrailer\nx\r\n\r\n",
)


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """A chunked body, with extensions and trailers."""
    parts = []
    for data in draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4)):
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b;c"']))
        size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(data)
        parts.append(size + extension + b"\r\n" + data + b"\r\n")
    trailers = draw(st.sampled_from([b"", b"X-Trailer: a\r\n", b"A: b\r\nC: d\r\n"]))
    return b"".join(parts) + draw(st.sampled_from([b"0", b"000", b"0;last"])) + b"\r\n" + trailers + b"\r\n"


@st.composite
def _framed(draw: st.DrawFn, first: bytes, lines: list[bytes], kinds: tuple[str, ...]) -> bytes:
    kind, body = draw(st.sampled_from(kinds)), b""
    lines = lines + draw(_LINES)
    if kind == "sized":
        body = draw(BODIES)
        lines.append(b"Content-Length: %d" % len(body))
    elif kind == "chunked":
        body = draw(chunked())
        lines.append(b"Transfer-Encoding: chunked")
    elif kind == "open":
        body = draw(BODIES)
    elif kind == "odd":
        body = draw(BODIES)
        lines.append(draw(st.sampled_from(ODD_LINES)))
    elif kind == "odd chunks":
        body = draw(st.sampled_from(ODD_CHUNKS))
        lines.append(b"Transfer-Encoding: chunked")
    return b"\r\n".join([first, *lines]) + b"\r\n\r\n" + body


@st.composite
def requests(draw: st.DrawFn, expect: bool = True) -> bytes:
    """One request."""
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"CONNECT", b"OPTIONS"]))
    target = draw(st.sampled_from([b"/", b"/a?b=c", b"*", b"a:1", b"http://a/b", b"/v1/messages"]))
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]))
    lines = draw(
        st.sampled_from(
            [
                [],
                [],
                [],
                [b"Expect: 100-continue"] if expect else [],
                [b"Connection: close"],
                [
                    b"Connection: Upgrade",
                    b"Upgrade: websocket",
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                ],
                [b"Connection: Upgrade", b"Upgrade: h2c"],
            ]
        )
    )
    kinds = ("none", "sized", "sized", "chunked", "chunked", "odd", "odd chunks")
    made = draw(_framed(method + b" " + target + b" " + version, lines, kinds))
    return draw(st.sampled_from([b"", b"", b"", b"\r\n"])) + made


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """One reply, maybe after interim ones."""
    status = draw(
        st.sampled_from([b"200 OK", b"200 OK", b"404 N", b"204 No", b"304 Not", b"500", b"101 S", b"408 T"])
    )
    interim = draw(
        st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n"])
    )
    lines: list[bytes] = [b"Upgrade: websocket", b"Connection: upgrade"] if status[:3] == b"101" else []
    kinds = ("none", "sized", "sized", "chunked", "chunked", "open", "odd", "odd chunks")
    version = draw(st.sampled_from([b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/1.0 "]))
    return interim + draw(_framed(version + status, lines, kinds))


GARBAGE = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"EHLO a\r\n",
            b"220 mail\r\n",
            b"GET key\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"HTTP/1.1 200 OK\nA: b\n\n",
            b"\n\n",
            b"\r\r\n",
            b"GET / RTSP/1.0\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
            b"\x81\x85aaaa\x00\x01\x02\x03\x04",
            b"\x88\x00",
        ]
    ),
)


@st.composite
def _stream(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    made = bytearray(b"".join(draw(st.lists(messages | messages | messages | GARBAGE, max_size=5))))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=1)):
        if at < len(made):
            made[at] = byte
    return bytes(made)


CLIENT = _stream(requests())
PATIENT_CLIENT = _stream(requests(expect=False))
"""Without requests whose client waits to be told to go on."""
UPSTREAM = _stream(replies())


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` cut into pieces of these sizes, and what is left."""
    cut: list[bytes] = []
    at = 0
    for size in sizes:
        if at < len(data):
            cut.append(data[at : at + size])
            at += size
    return [*cut, data[at:]] if at < len(data) else cut
