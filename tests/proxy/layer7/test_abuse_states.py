"""Connections in the states that are easily forgotten: what toxics hold, made up or dropped, and who goes when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.proxy.layer7.in_memory import Memory, Pair, in_memory

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"


def post(size: int, *lines: bytes, body: bytes = b"") -> bytes:
    """The head of a request with a body, and what is given of it."""
    return b"\r\n".join([b"POST /a HTTP/1.1", b"Content-Length: %d" % size, *lines]) + b"\r\n\r\n" + body


@pytest.fixture
def memory() -> Iterator[Memory]:
    """A proxy that reads HTTP; after the test nothing is left."""
    with in_memory() as memory:
        yield memory


@pytest.fixture
def pair(memory: Memory) -> Pair:
    """A connection that was there before any toxic."""
    return memory.pair()


def say(memory: Memory, pair: Pair, side: str, data: bytes) -> None:
    getattr(pair, side).send(data)
    memory.loop.turn()


def finish(memory: Memory, pair: Pair, *sides: str) -> None:
    for side in sides:
        getattr(pair, side).finish()
        memory.loop.turn()


def served(memory: Memory, pair: Pair) -> None:
    """A request goes through, on this connection."""
    asked, answered = len(pair.upstream.got), len(pair.client.got)
    say(memory, pair, "client", GET)
    assert pair.upstream.got[asked:] == GET
    say(memory, pair, "upstream", OK)
    assert pair.client.got[answered:] == OK


# --- reading begins and ends --------------------------------------------------------------------------------


def test_the_first_request_after_reading_has_begun_is_struck() -> None:
    """A connection that was there before the toxic is read from its next request on, and that goes through at once."""
    with in_memory("tcp") as memory:
        pair = memory.pair()
        served(memory, pair)
        toxic = memory.add("http_reply", rule=b'{"where":{"path":"/never"}}')
        served(memory, pair)
        memory.heal(toxic)
        assert pair.link.conversation is None
        served(memory, pair)
        memory.add("http_reply", status=500)
        say(memory, pair, "client", GET)
        assert pair.client.got.endswith(b"Content-Length: 0\r\n\r\n") and b" 500 " in pair.client.got


def test_the_last_toxic_goes_in_the_middle_of_a_reply() -> None:
    """Reading ends after it, and what comes right behind it is not lost."""
    with in_memory("tcp") as memory:
        toxic = memory.add("http_reply", rule=b'{"where":{"path":"/never"}}')
        pair = memory.pair()
        say(memory, pair, "client", GET)
        say(memory, pair, "upstream", OK[:-1])
        memory.heal(toxic)
        say(memory, pair, "upstream", OK[-1:] + b"HTTP/1.1 4")
        assert pair.link.conversation is None or pair.client.got == OK
        say(memory, pair, "upstream", b"08 Time\r\nContent-Length: 0\r\n\r\n")
        assert pair.client.got == OK + b"HTTP/1.1 408 Time\r\nContent-Length: 0\r\n\r\n"


def test_a_request_that_is_held_for_a_toxic_goes_on_when_it_is_gone(memory: Memory, pair: Pair) -> None:
    """Its body needs to be seen for nobody any more."""
    toxic = memory.add("json_edit", stream="upstream", pointer="/a")
    say(memory, pair, "client", post(20, body=b'{"a":1'))
    assert pair.upstream.got == b""
    memory.heal(toxic)
    assert pair.upstream.got == post(20, body=b'{"a":1')
    say(memory, pair, "client", b" " * 13 + b"}")
    say(memory, pair, "upstream", OK)
    assert pair.client.got == OK


# --- half-closes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http_delay", "json_edit", "sse_stall", "reply_replayed"])
def test_a_client_that_sends_no_more_gets_its_reply_all_the_same(memory: Memory, pair: Pair, kind: str) -> None:
    """With what a toxic makes of it: half of a connection is still a connection."""
    memory.add(kind, **{"http_delay": {"delay": 5000}, "json_edit": {"pointer": "/a"}}.get(kind, {}))
    say(memory, pair, "client", GET)
    finish(memory, pair, "client")
    assert pair.upstream.got == GET and pair.upstream.ending == "FIN"
    say(memory, pair, "upstream", OK)
    memory.loop.pass_time(6)
    assert pair.client.got == OK
    finish(memory, pair, "upstream")
    assert pair.over


@pytest.mark.parametrize("how", ["ends", "resets"])
def test_a_reply_that_is_delayed_outlives_its_upstream(memory: Memory, pair: Pair, how: str) -> None:
    """It had come as a whole."""
    memory.add("http_delay", delay=5000)
    say(memory, pair, "client", GET)
    say(memory, pair, "upstream", OK)
    if how == "ends":
        finish(memory, pair, "upstream")
    else:
        pair.upstream.reset()
        memory.loop.turn()
    assert pair.client.got == b"" and not pair.client.closed
    memory.loop.pass_time(6)
    assert pair.client.got == OK and pair.client.ending == "FIN"
    finish(memory, pair, "client")
    assert pair.over


@pytest.mark.parametrize("kind", ["http_reply", "request_lost"])
@pytest.mark.parametrize("how", ["client ends", "upstream ends", "client resets", "upstream resets"])
def test_nothing_waits_for_the_rest_of_a_request_that_was_dropped(
    memory: Memory, pair: Pair, kind: str, how: str
) -> None:
    """Half of it has come; then somebody goes."""
    memory.add(kind)
    say(memory, pair, "client", post(10, body=b"abc"))
    assert pair.upstream.got == b""
    side, _, act = how.partition(" ")
    end = getattr(pair, side)
    end.finish() if act == "ends" else end.reset()
    memory.loop.turn(10)
    finish(memory, pair, *(one for one in ("client", "upstream") if not getattr(pair, one).closed))
    memory.loop.turn(10)
    assert pair.over


def test_an_upgrade_that_is_never_answered_leaves_nothing(memory: Memory, pair: Pair) -> None:
    """What the client sent behind it reaches the upstream when that has ended; then both ends are closed."""
    upgrade = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    say(memory, pair, "client", upgrade + b"behind")
    assert pair.upstream.got == upgrade
    finish(memory, pair, "client", "upstream")
    assert pair.upstream.got == upgrade + b"behind"
    assert pair.over


# --- upgrades -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [True, False])
def test_after_a_refused_upgrade_the_next_request_goes_on(memory: Memory, pair: Pair, early: bool) -> None:
    """Also where it was refused before its body had come."""
    head, body = post(3, b"Connection: Upgrade", b"Upgrade: h2c"), b"abc"
    say(memory, pair, "client", head if early else head + body)
    say(memory, pair, "upstream", OK)
    if early:
        say(memory, pair, "client", body)
    assert pair.client.got == OK and pair.upstream.got == head + body
    served(memory, pair)


def test_an_upgrade_that_is_answered_in_the_upstreams_place_is_none(memory: Memory, pair: Pair) -> None:
    """Though the upstream has agreed to it."""
    memory.add("http_reply", status=503, reached=True)
    say(memory, pair, "client", b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    say(memory, pair, "upstream", b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00")
    assert pair.client.got.startswith(b"HTTP/1.1 503 ") and b"\x81" not in pair.client.got
    finish(memory, pair, "client")
    assert pair.over or pair.client.closed


# --- what cannot be read ------------------------------------------------------------------------------------


def test_an_unreadable_reply_lets_a_request_go_that_is_held(memory: Memory, pair: Pair) -> None:
    """Not a byte of it is lost."""
    memory.add("json_edit", stream="upstream", pointer="/a")
    say(memory, pair, "client", post(20, body=b'{"a":1'))
    say(memory, pair, "upstream", b"220 no http\r\n")
    say(memory, pair, "client", b"rest")
    assert pair.upstream.got == post(20, body=b'{"a":1rest')
    assert pair.client.got == b"220 no http\r\n"


def test_an_unreadable_reply_while_a_request_is_delayed(memory: Memory, pair: Pair) -> None:
    """It goes on when it is due, and all that follows with it."""
    memory.add("http_delay", stream="upstream", delay=5000)
    say(memory, pair, "client", GET + GET)
    say(memory, pair, "upstream", b"220 no http\r\n")
    assert pair.upstream.got == b""
    memory.loop.pass_time(6)
    assert pair.upstream.got == GET + GET


def test_replies_that_are_held_leave_before_what_answers_garbage(memory: Memory, pair: Pair) -> None:
    """A request that cannot be read does not change the order of the replies to those before it."""
    memory.add("http_delay", delay=5000, rule=b'{"where":{"path":"/a"}}')
    say(memory, pair, "client", GET + b"\x00garbage")
    assert pair.upstream.got == GET + b"\x00garbage"
    bad = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"
    say(memory, pair, "upstream", OK + bad)
    assert pair.client.got == b""
    memory.loop.pass_time(6)
    assert pair.client.got == OK + bad


def test_a_reply_that_nobody_asked_for_passes(memory: Memory, pair: Pair) -> None:
    """Such as a 408 before the connection is closed; toxics that would strike any reply strike requests' only."""
    memory.add("http_reply")
    say(memory, pair, "upstream", b"HTTP/1.1 408 T\r\nContent-Length: 0\r\n\r\n")
    assert pair.client.got == b"HTTP/1.1 408 T\r\nContent-Length: 0\r\n\r\n"
    finish(memory, pair, "upstream")
    assert pair.client.ending == "FIN"


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
    "request_", [b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"]
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


def test_answers_wait_for_a_client_that_does_not_read(memory: Memory, pair: Pair) -> None:
    """However many requests it sends: what is made up for it is bounded, and comes when it reads on."""
    memory.add("http_reply", body="x" * 1000)
    pair.client.stall(True)
    for _ in range(200):
        say(memory, pair, "client", GET * 10)
    assert pair.client.most_written < 10_000
    assert len(pair.link.conversation.exchanges) <= 64
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
        most = max(most, len(pair.link.conversation.exchanges))
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
def test_a_second_delivery_ends_with_its_reply(memory: Memory, pair: Pair, request_: bytes, reply: bytes) -> None:
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


def test_a_reply_that_is_no_stream_is_not_touched_by_toxics_of_streams(memory: Memory, pair: Pair) -> None:
    """Not even how it is cut into chunks, nor what their lines say besides."""
    memory.add("sse_cut")
    memory.add("sse_stall", name="stall")
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n2\r\nyz\r\n00\r\nT: r\r\n\r\n"
    say(memory, pair, "client", GET)
    for at in range(len(reply)):
        say(memory, pair, "upstream", reply[at : at + 1])
    assert pair.client.got == reply


@pytest.mark.parametrize(("kind", "attributes"), [("json_edit", {"pointer": "/a"}), ("http_truncate", {"bytes": 1}), ("http_delay", {"delay": 9})])
def test_a_reply_whose_toxic_is_gone_before_it_begins_is_not_touched(
    memory: Memory, pair: Pair, kind: str, attributes: dict[str, object]
) -> None:
    """Healed is healed: byte by byte."""
    toxic = memory.add(kind, **attributes)
    say(memory, pair, "client", GET)
    memory.heal(toxic)
    reply = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7;a=b\r\n{"a":1}\r\n0\r\n\r\n'
    say(memory, pair, "upstream", reply)
    assert pair.client.got == reply


@pytest.mark.parametrize("kind", ["json_edit", "reply_replayed"])
def test_what_is_held_of_a_reply_goes_on_when_its_toxic_is_gone(memory: Memory, pair: Pair, kind: str) -> None:
    """At once, not when the rest comes: a stream may take long."""
    toxic = memory.add(kind, **({"pointer": "/a"} if kind == "json_edit" else {}))
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
