"""The short way takes only what the long way would pass on whole, and one parser lasts for a connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.layer7.head import reply_head, request_head
from chaos.proxy.layer7.plain import PlainReplies, PlainRequests, request_line

_LINES = st.sampled_from(
    (
        b"X: y",
        b"Content-Length: 5",
        b"content-length:7",
        b"CONTENT-LENGTH:\t5",
        b"Content-Length: 5 ",
        b"Content-Length : 5",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length:",
        b"Content-Length: \r\n 5",
        b"Content-Length: 5\r\n 6",
        b"Content-Length: 5\nX: 3",
        b"X-Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: gzip, chunked",
        b"Connection: close",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"Upgrade: websocket",
        b"no colon",
        b"X: \x00",
    )
)
_REQUESTS = st.sampled_from(
    (
        b"GET /x?1 HTTP/1.1",
        b"POST / HTTP/1.1",
        b"HEAD / HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET  / HTTP/1.1",
        b"NONE / HTTP/1.1",
        b"M-SEARCH * HTTP/1.1",
    )
)
_REPLIES = st.sampled_from(
    (
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 503 No",
        b"HTTP/1.1 200",
        b"HTTP/1.0 200 OK",
    )
)
_BODIES = st.sampled_from((b"", b"12345", b"1234567", b"GET / HTTP/1.1\r\n\r\n", b"HTTP/"))


def _messages(first: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    one = st.builds(
        lambda line, lines, body: b"\r\n".join([line, *lines]) + b"\r\n\r\n" + body,
        first,
        st.lists(_LINES, max_size=3),
        _BODIES,
    )
    return st.lists(one, max_size=6)


@given(_messages(_REQUESTS))
def test_a_plain_request_is_what_its_head_says(messages: list[bytes]) -> None:
    """What is taken for a whole plain request is one by its head too, whatever came before it."""
    plain = PlainRequests()
    for data in messages:
        line = request_line(data)
        if line is None or not plain.take(data):
            continue
        end = data.find(b"\r\n\r\n") + 4
        head = request_head(data[:end])
        assert head is not None
        assert not head.upgrade
        assert (head.length, head.method) == (len(data) - end, line[1].decode())
        assert head.target == line[2]


@given(_messages(_REPLIES))
def test_a_plain_reply_is_what_its_head_says(messages: list[bytes]) -> None:
    """What is taken for a whole plain reply is one by its head too, whatever came before it."""
    plain = PlainReplies()
    for data in messages:
        if not plain.take(data):
            continue
        end = data.find(b"\r\n\r\n") + 4
        head = reply_head(data[:end], "GET")
        assert head is not None
        assert head.status >= 200
        assert head.length == len(data) - end


def test_the_usual_messages_go_the_short_way() -> None:
    """A parser that lasts is not worn out: the hundredth message is as plain as the first."""
    requests, replies = PlainRequests(), PlainReplies()
    asked = b"POST /step HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    answered = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    for _ in range(100):
        assert requests.take(asked)
        assert replies.take(answered)


def test_what_is_not_plain_does_not_spoil_what_follows() -> None:
    """After a message that the parser refuses the next plain one is taken again."""
    requests, replies = PlainRequests(), PlainReplies()
    for odd in (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"):
        assert not requests.take(odd)
        assert requests.take(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    for odd in (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"):
        assert not replies.take(odd)
        assert replies.take(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
