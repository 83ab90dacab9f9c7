"""What toxics make up, drop, hold or deliver twice: nothing mixes, nothing is left, nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaos.proxy.layer7.catalogue import problem
from tests.proxy.layer7.in_memory import Memory, Pair, in_memory
from tests.proxy.layer7.said import CONTINUE, GET, OK, finish, post, say, served


def under_way(pair: Pair) -> int:
    """Exchanges of a connection that are not over."""
    assert pair.link.conversation is not None
    return len(pair.link.conversation.exchanges)


@pytest.fixture
def memory() -> Iterator[Memory]:
    """A proxy that reads HTTP; after the test nothing is left."""
    with in_memory() as memory:
        yield memory


@pytest.fixture
def pair(memory: Memory) -> Pair:
    """A connection that was there before any toxic."""
    return memory.pair()


# --- made up, in the upstream's place -----------------------------------------------------------------------


def test_a_client_that_waits_to_be_told_to_go_on_is_told(memory: Memory, pair: Pair) -> None:
    """The upstream never sees its request, so nobody else will."""
    memory.add("http_reply", status=500)
    say(memory, pair, "client", post(3, b"Expect: 100-continue"))
    assert pair.client.got == CONTINUE
    say(memory, pair, "client", b"abc")
    assert pair.client.got.startswith(CONTINUE + b"HTTP/1.1 500 ")
    assert pair.upstream.got == b""


def test_it_is_told_once_the_replies_before_have_left(memory: Memory, pair: Pair) -> None:
    """And when the upstream says so too, it is not told twice."""
    memory.add("json_edit", stream="upstream", pointer="/a", rule=b'{"where":{"method":"POST"}}')
    say(memory, pair, "client", GET + post(7, b"Expect: 100-continue"))
    assert pair.client.got == b""
    say(memory, pair, "upstream", OK)
    assert pair.client.got == OK + CONTINUE
    say(memory, pair, "client", b'{"a":1}')
    say(memory, pair, "upstream", CONTINUE + OK)
    assert pair.client.got == OK + CONTINUE + OK


def test_a_client_of_http_1_0_is_not_told(memory: Memory, pair: Pair) -> None:
    """It would not know what it is told: RFC 9110, 10.1.1."""
    memory.add("http_reply", status=500)
    say(memory, pair, "client", b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert pair.client.got == b""


def test_the_answer_to_head_has_no_body(memory: Memory, pair: Pair) -> None:
    """But the length that it would have had; the next reply is where it should be."""
    memory.add("http_reply", status=500, body="abc", rule=b'{"where":{"method":"HEAD"}}')
    say(memory, pair, "client", b"HEAD / HTTP/1.1\r\n\r\n")
    assert pair.client.got.endswith(b"Content-Length: 3\r\n\r\n")
    served(memory, pair)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ],
)
def test_a_connection_that_is_not_kept_is_closed_after_the_answer(
    memory: Memory, pair: Pair, request_: bytes
) -> None:
    """As its client expects."""
    memory.add("http_reply", status=200, body="abc")
    say(memory, pair, "client", request_)
    assert pair.client.ending == "FIN" and b"abc" in pair.client.got
    finish(memory, pair, "client")
    assert pair.over


def test_an_answer_that_says_close_closes(memory: Memory, pair: Pair) -> None:
    """Whoever wrote its headers."""
    memory.add("http_reply", headers={"Connection": "close"})
    say(memory, pair, "client", GET)
    assert pair.client.ending == "FIN"


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "TRANSFER-ENCODING"])
def test_an_answer_has_one_length(name: str) -> None:
    """Its own: another one in its headers is refused when the toxic is added, not when it strikes."""
    assert "Content-Length" in (problem("http_reply", {"headers": {name: "1"}}) or "")


def test_answers_wait_for_a_client_that_does_not_read(memory: Memory, pair: Pair) -> None:
    """However many requests it sends: what is made up for it is bounded, and comes when it reads on."""
    memory.add("http_reply", body="x" * 1000)
    pair.client.stall(True)
    for _ in range(200):
        say(memory, pair, "client", GET * 10)
    assert pair.client.most_written < 10_000
    assert under_way(pair) <= 64
    assert pair.client.unread > 100
    pair.client.stall(False)
    memory.loop.turn(4000)
    assert pair.client.got.count(b"x" * 1000) == 2000


def test_ten_thousand_pipelined_requests_are_a_few_at_a_time(memory: Memory, pair: Pair) -> None:
    """In one piece; the upstream gets them as it answers, and the exchanges under way are bounded."""
    say(memory, pair, "client", GET * 10_000)
    most = answered = 0
    while answered < 10_000:
        asked = pair.upstream.got.count(GET)
        most = max(most, under_way(pair))
        pair.upstream.send(OK * (asked - answered))
        memory.loop.turn(2)
        answered = asked
    assert most <= 64
    assert pair.client.got == OK * 10_000


# --- streams ------------------------------------------------------------------------------------------------

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: a\n\n\r\n"


def test_a_stream_that_is_cut_cleanly_is_followed_by_the_next_reply(memory: Memory, pair: Pair) -> None:
    """Though the upstream goes on with it for long: what is left is dropped, and nothing of it mixes with the rest."""
    toxic = memory.add("sse_cut", events=1)
    say(memory, pair, "client", GET)
    say(memory, pair, "upstream", STREAM + EVENT * 3)
    assert pair.client.got == STREAM + EVENT + b"0\r\n\r\n"
    memory.heal(toxic)
    say(memory, pair, "client", GET)
    say(memory, pair, "upstream", EVENT * 100)
    say(memory, pair, "upstream", b"0\r\nA: b\r\n\r\n" + OK)
    assert pair.client.got == STREAM + EVENT + b"0\r\n\r\n" + OK
    served(memory, pair)


def test_a_slow_stream_that_is_cut_leaves_no_timer(memory: Memory, pair: Pair) -> None:
    """What one toxic holds of what another has cut is let go of."""
    memory.add("sse_delay", name="slow", first=1000, every=1000)
    memory.add("sse_cut", name="cut", events=1)
    say(memory, pair, "client", GET)
    say(memory, pair, "upstream", STREAM + EVENT * 5)
    memory.loop.pass_time(3)
    assert pair.client.got == STREAM + EVENT + b"0\r\n\r\n"
    assert memory.loop.timers == 0
    say(memory, pair, "upstream", b"0\r\n\r\n")
    say(memory, pair, "client", GET)
    say(memory, pair, "upstream", OK)
    assert pair.client.got.endswith(OK)


# --- hanging ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["request_lost", "reply_lost"])
@pytest.mark.parametrize("goes", ["", "upstream", "client"])
def test_a_client_hangs_until_the_toxic_is_gone(memory: Memory, pair: Pair, kind: str, goes: str) -> None:
    """Also when the upstream closes meanwhile, as it does with idle connections; not when the client goes."""
    toxic = memory.add(kind, how="hang")
    say(memory, pair, "client", GET)
    say(memory, pair, "upstream", OK if kind == "reply_lost" else b"")
    if goes:
        finish(memory, pair, goes)
    assert pair.client.got == b""
    assert pair.client.closed == (goes == "client")
    say(memory, pair, "client", GET)
    memory.heal(toxic)
    finish(memory, pair, *{"", "client", "upstream"} - {goes, ""})
    assert pair.over


def test_a_toxic_that_is_gone_before_its_turn_comes_hangs_nobody(memory: Memory, pair: Pair) -> None:
    """The request was lost all the same, so the connection closes."""
    toxic = memory.add("request_lost", how="hang", rule=b'{"where":{"method":"POST"}}')
    say(memory, pair, "client", GET + post(0))
    memory.heal(toxic)
    say(memory, pair, "upstream", OK)
    assert pair.client.got == OK and pair.client.ending == "FIN"


def test_what_follows_a_hanging_request_is_dropped(memory: Memory, pair: Pair) -> None:
    """Also one that was delayed."""
    memory.add("reply_lost", name="lost", how="hang", rule=b'{"where":{"method":"GET"}}')
    memory.add("http_delay", name="slow", stream="upstream", delay=5000, rule=b'{"where":{"method":"POST"}}')
    say(memory, pair, "client", GET + post(0))
    say(memory, pair, "upstream", OK)
    memory.loop.pass_time(6)
    assert pair.upstream.got == GET and pair.client.got == b""


# --- delivered twice ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (GET, OK),
        (GET, CONTINUE * 20_000 + OK),
        (b"HEAD / HTTP/1.1\r\n\r\n", OK[:-2]),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
        (GET, b"no http\r\n\r\n"),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"),
        (GET, b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000),
    ],
)
def test_a_second_delivery_ends_with_its_reply(
    memory: Memory, pair: Pair, request_: bytes, reply: bytes
) -> None:
    """Whatever that is: its connection is closed at once, and the client hears nothing of it."""
    memory.add("request_twice")
    say(memory, pair, "client", request_)
    second = memory.proxy.dialled[-1]
    assert second is not pair.upstream
    assert second.got == pair.upstream.got == request_
    second.send(reply)
    memory.loop.turn(10)
    assert second.closed and memory.loop.timers == 0
    assert pair.client.got == b""


def test_a_second_delivery_is_given_up_in_the_end(memory: Memory, pair: Pair) -> None:
    """An upstream that never answers it, or has not even read it, holds nothing for ever."""
    memory.add("request_twice")
    say(memory, pair, "client", GET)
    memory.loop.pass_time(31)
    assert memory.proxy.dialled[-1].closed


def test_each_toxic_that_delivers_twice_does_so_once(memory: Memory, pair: Pair) -> None:
    """Two of them on one request are two deliveries besides, one counted for each."""
    toxics = [memory.add("request_twice", name=name) for name in ("one", "other")]
    say(memory, pair, "client", GET)
    besides = memory.proxy.dialled[1:]
    assert [second.got for second in besides] == [GET, GET]
    assert [toxic.counts.applied for toxic in toxics] == [1, 1]
    for second in besides:
        second.send(OK)
    memory.loop.turn(10)
    assert all(second.closed for second in besides)


def test_a_reply_that_is_no_stream_is_not_touched_by_toxics_of_streams(memory: Memory, pair: Pair) -> None:
    """Not even how it is cut into chunks, nor what their lines say besides."""
    memory.add("sse_cut")
    memory.add("sse_stall", name="stall")
    reply = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n2\r\nyz\r\n00\r\nT: r\r\n\r\n"
    )
    say(memory, pair, "client", GET)
    for at in range(len(reply)):
        say(memory, pair, "upstream", reply[at : at + 1])
    assert pair.client.got == reply


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("json_edit", {"pointer": "/a"}), ("http_truncate", {"bytes": 1}), ("http_delay", {"delay": 9})],
)
def test_a_reply_whose_toxic_is_gone_before_it_begins_is_not_touched(
    memory: Memory, pair: Pair, kind: str, attributes: dict[str, Any]
) -> None:
    """Healed is healed: byte by byte."""
    toxic = memory.add(kind, **attributes)
    say(memory, pair, "client", GET)
    memory.heal(toxic)
    reply = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7;a=b\r\n{"a":1}\r\n0\r\n\r\n'
    say(memory, pair, "upstream", reply)
    assert pair.client.got == reply


@pytest.mark.parametrize("kind", ["json_edit", "reply_replayed"])
def test_what_is_held_of_a_reply_goes_on_when_its_toxic_is_gone(
    memory: Memory, pair: Pair, kind: str
) -> None:
    """At once, not when the rest comes: a stream may take long."""
    attributes: dict[str, Any] = {"pointer": "/a"} if kind == "json_edit" else {}
    toxic = memory.add(kind, **attributes)
    say(memory, pair, "client", GET)
    say(memory, pair, "upstream", OK)
    say(memory, pair, "client", GET)
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    say(memory, pair, "upstream", head + b"first")
    assert pair.client.got == OK
    memory.heal(toxic)
    assert pair.client.got == OK + head + b"first"
    say(memory, pair, "upstream", b" second")
    assert pair.client.got == OK + head + b"first second"
