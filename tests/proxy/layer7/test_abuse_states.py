"""Connections in the states that are easily forgotten: half-closed, half read, upgraded, unreadable; and who goes when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.proxy.layer7.in_memory import Memory, Pair, in_memory
from tests.proxy.layer7.said import GET, OK, finish, post, say, served


@pytest.fixture
def memory() -> Iterator[Memory]:
    """A proxy that reads HTTP; after the test nothing is left."""
    with in_memory() as memory:
        yield memory


@pytest.fixture
def pair(memory: Memory) -> Pair:
    """A connection that was there before any toxic."""
    return memory.pair()


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
def test_a_client_that_sends_no_more_gets_its_reply_all_the_same(
    memory: Memory, pair: Pair, kind: str
) -> None:
    """With what a toxic makes of it: half of a connection is still a connection."""
    attributes: dict[str, dict[str, Any]] = {"http_delay": {"delay": 5000}, "json_edit": {"pointer": "/a"}}
    memory.add(kind, **attributes.get(kind, {}))
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
    say(
        memory,
        pair,
        "upstream",
        b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    )
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
