"""What each toxic of WebSocket does to a stock client and server (websockets), compressed and not.

The client is told nothing by drop, duplicate, reorder, replay and an edit: its replies are wrong, missing or
shifted without an error.
"""

from __future__ import annotations

import asyncio
import json
import math
import time

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.proxy.layer7.websocket_peers import (
    NOTHING_S,
    WITHIN_S,
    ask,
    dialled,
    environment,
    heard,
    said,
    tell,
    true,
)

pytestmark = pytest.mark.parametrize("compression", ["deflate", None])
B: dict[str, object] = {"json": {"/data/observation/nonce": "b"}}
"""The reply to b."""
ASKED_B: dict[str, object] = {"json": {"/nonce": "b"}}


async def nothing_comes(client) -> None:
    """No message, for a while."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.recv(), NOTHING_S)


def test_drop_loses_one_reply(embedded, compression: str | None) -> None:
    """A dropped reply never comes, those after it do, and nobody is told."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            toxic = spot.inject("ws_drop", where=B)
            await tell(client, "a", "b", "c", "d")
            assert [await heard(client) for _ in range(3)] == ["a", "c", "d"]
            counts = spot.counts(toxic)
            assert (counts["matched"], counts["applied"], counts["connections"]) == (1, 1, 1)
            spot.heal(toxic)
            assert await ask(client, "b") == "b"

    asyncio.run(play())


def test_drop_loses_one_request(embedded, compression: str | None) -> None:
    """A dropped request never reaches the server; those after it do."""

    async def play() -> None:
        async with environment(embedded) as (server, spot), dialled(spot, compression) as client:
            spot.inject("ws_drop", stream="upstream", where=ASKED_B)
            await tell(client, "a", "b", "c")
            assert [await heard(client) for _ in range(2)] == ["a", "c"]
            assert [asked["nonce"] for asked in server.got] == ["a", "c"]

    asyncio.run(play())


def test_duplicate_shifts_replies(embedded, compression: str | None) -> None:
    """HIDDEN: after one reply that comes twice, each reply is the one to the request before it."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            toxic = spot.inject("ws_duplicate", where=B)
            assert [await ask(client, nonce) for nonce in "abcd"] == ["a", "b", "b", "c"]
            spot.heal(toxic)
            assert await ask(client, "e") == "d"

    asyncio.run(play())


def test_duplicate_asks_twice(embedded, compression: str | None) -> None:
    """A request that is sent twice is answered twice."""

    async def play() -> None:
        async with environment(embedded) as (server, spot), dialled(spot, compression) as client:
            spot.inject("ws_duplicate", stream="upstream", where=ASKED_B)
            await tell(client, "a", "b", "c")
            assert [await heard(client) for _ in range(4)] == ["a", "b", "b", "c"]
            assert [asked["nonce"] for asked in server.got] == ["a", "b", "b", "c"]

    asyncio.run(play())


def test_reorder_swaps_two_replies(embedded, compression: str | None) -> None:
    """A reordered reply comes after the one that follows it; all the others are in their places."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            spot.inject("ws_reorder", where=B)
            await tell(client, "a", "b", "c", "d")
            assert [await heard(client) for _ in range(4)] == ["a", "c", "b", "d"]

    asyncio.run(play())


def test_reorder_of_all_swaps_them_in_pairs(embedded, compression: str | None) -> None:
    """Where every reply is struck they change places two by two; the last is released when that is healed."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            toxic = spot.inject("ws_reorder")
            await tell(client, *"abcde")
            assert [await heard(client) for _ in range(4)] == ["b", "a", "d", "c"]
            await nothing_comes(client)
            spot.heal(toxic)
            assert await heard(client) == "e"

    asyncio.run(play())


def test_replay_sends_a_stale_reply(embedded, compression: str | None) -> None:
    """HIDDEN: in a reply's place comes the one before it; the next one is right again."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            spot.inject("ws_replay", {"back": 2}, where={"json": {"/data/observation/nonce": "d"}})
            assert [await ask(client, nonce) for nonce in "abcde"] == ["a", "b", "c", "b", "e"]

    asyncio.run(play())


def test_replay_of_what_never_was(embedded, compression: str | None) -> None:
    """Where there is no earlier message the own one passes, and nothing is counted as applied."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            toxic = spot.inject("ws_replay", {"back": 3})
            assert [await ask(client, nonce) for nonce in "abcde"] == ["a", "b", "c", "a", "b"]
            assert (spot.counts(toxic)["matched"], spot.counts(toxic)["applied"]) == (5, 2)

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_delay_holds_those_behind(embedded, compression: str | None, stream: str) -> None:
    """A delayed message is late, those behind it wait, and their order stays."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            spot.inject("ws_delay", {"delay": 300}, stream=stream, where={"nth": 2})
            begun = time.monotonic()
            await tell(client, "a", "b", "c")
            assert await heard(client) == "a"
            assert await heard(client) == "b"
            assert time.monotonic() - begun >= 0.29
            assert await heard(client) == "c"

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_delay_ends_when_it_is_healed(embedded, compression: str | None, stream: str) -> None:
    """Healing releases what a delay holds, at once and in order."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            toxic = spot.inject("ws_delay", {"delay": 2**31 - 1}, stream=stream)
            await tell(client, *"abc")
            await true(lambda: spot.counts(toxic)["applied"] == 3)
            await nothing_comes(client)
            spot.heal(toxic)
            assert [await heard(client) for _ in range(3)] == ["a", "b", "c"]
            assert await ask(client, "d") == "d"

    asyncio.run(play())


def test_delay_holds_pings_behind_it_only(embedded, compression: str | None) -> None:
    """A ping passes at once while nothing is delayed; behind a delayed message it waits with it."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            toxic = spot.inject("ws_delay", {"delay": 2**31 - 1}, stream="upstream")
            await asyncio.wait_for(await client.ping(), WITHIN_S)
            await tell(client, "a")
            await true(lambda: spot.counts(toxic)["applied"] == 1)
            waiter = await client.ping()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiter), NOTHING_S)
            spot.heal(toxic)
            assert await heard(client) == "a"
            await asyncio.wait_for(waiter, WITHIN_S)

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_half_open_swallows_all(embedded, compression: str | None, stream: str) -> None:
    """From one message on nothing comes through, not even pings; healing closes the connection at both ends."""

    async def play() -> None:
        async with environment(embedded) as (server, spot):
            client = await dialled(spot, compression)
            toxic = spot.inject("ws_half_open", stream=stream, where={"nth": 2})
            assert await ask(client, "a") == "a"
            await tell(client, "b")
            await true(lambda: spot.counts(toxic)["applied"] == 1)
            await tell(client, "c")
            waiter = await client.ping()
            await nothing_comes(client)
            assert isinstance(waiter, asyncio.Future)
            assert not waiter.done()
            assert [a["nonce"] for a in server.got] == (["a"] if stream == "upstream" else ["a", "b", "c"])
            spot.heal(toxic)
            with pytest.raises(ConnectionClosedError, match="no close frame received or sent"):
                await asyncio.wait_for(client.recv(), WITHIN_S)
            await true(lambda: not server.open)

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_half_open_and_a_client_that_leaves(embedded, compression: str | None, stream: str) -> None:
    """A client that gives a half-open connection up takes the server's end with it."""

    async def play() -> None:
        async with environment(embedded) as (server, spot):
            client = await dialled(spot, compression)
            toxic = spot.inject("ws_half_open", stream=stream)
            await tell(client, "a")
            await true(lambda: spot.counts(toxic)["applied"] == 1)
            client.transport.abort()
            await true(lambda: not server.open)

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_close_tells_both_ends(embedded, compression: str | None, stream: str) -> None:
    """In the place of a message both ends get a close frame with the code and the reason, after what was before."""

    async def play() -> None:
        async with environment(embedded) as (server, spot), dialled(spot, compression) as client:
            toxic = spot.inject("ws_close", {"code": 4001, "reason": "bye"}, stream=stream, where={"nth": 2})
            await tell(client, "a")
            assert await heard(client) == "a"
            await tell(client, "b")
            with pytest.raises(ConnectionClosedError) as told:
                await asyncio.wait_for(client.recv(), WITHIN_S)
            assert told.value.rcvd is not None
            assert (told.value.rcvd.code, told.value.rcvd.reason) == (4001, "bye")
            await true(lambda: server.closes == [(4001, "bye")])
            assert spot.counts(toxic)["applied"] == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    ("attributes", "pointer", "expected"),
    [
        ({"action": "set", "value": [1, "é"]}, ("data", "reward"), [1, "é"]),
        ({"action": "scale", "factor": 100}, ("data", "reward"), 50.0),
        ({"action": "set", "value": True}, ("data", "done"), True),
    ],
    ids=["set", "scale", "done"],
)
def test_edit_changes_one_field(
    embedded,
    compression: str | None,
    attributes: dict[str, object],
    pointer: tuple[str, str],
    expected: object,
) -> None:
    """HIDDEN: one field of the replies to one kind of request is another; everything else is as it was."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            spot.inject(
                "json_edit",
                {"pointer": "/" + "/".join(pointer), **attributes},
                where={"reply_to": {"/type": "step"}},
            )
            await tell(client, "r", type="reset")
            plain = await said(client)
            await tell(client, "r", type="step")
            edited = await said(client)
            assert edited["data"][pointer[1]] == expected
            edited["data"][pointer[1]] = plain["data"][pointer[1]]
            assert edited == plain

    asyncio.run(play())


def test_edit_drops_a_field_and_writes_nan(embedded, compression: str | None) -> None:
    """A field that is dropped is not there, and NaN comes as JSON does not know it and Python reads it."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            spot.inject("json_edit", {"pointer": "/data/reward"}, where=B)
            spot.inject(
                "json_edit",
                {"pointer": "/data/reward", "action": "nan"},
                name="nan",
                where={"json": {"/data/observation/nonce": "c"}},
            )
            await tell(client, "a", "b", "c")
            assert (await said(client))["data"]["reward"] == 0.5
            assert "reward" not in (await said(client))["data"]
            assert math.isnan((await said(client))["data"]["reward"])

    asyncio.run(play())


def test_edit_of_a_request(embedded, compression: str | None) -> None:
    """The server gets a request with another value, as if the client had sent it."""

    async def play() -> None:
        async with environment(embedded) as (server, spot), dialled(spot, compression) as client:
            spot.inject(
                "json_edit",
                {"pointer": "/nonce", "action": "set", "value": "x"},
                stream="upstream",
                where={"nth": 2},
            )
            assert [await ask(client, nonce) for nonce in "abc"] == ["a", "x", "c"]
            assert server.got[1] == {"type": "step", "nonce": "x"}

    asyncio.run(play())


def test_several_toxics_act_in_their_order(embedded, compression: str | None) -> None:
    """What strikes one message acts on what the one before made of it: edited, then twice, then late."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            edit = {"pointer": "/data/observation/nonce", "action": "set", "value": "x"}
            spot.inject("json_edit", edit, name="first", where=B)
            spot.inject("ws_duplicate", name="second", where=B)
            spot.inject("ws_delay", {"delay": 200}, name="third", where=B)
            begun = time.monotonic()
            await tell(client, "a", "b", "c")
            assert [await heard(client) for _ in range(4)] == ["a", "x", "x", "c"]
            assert time.monotonic() - begun >= 0.19
            assert [hit["toxic"] for hit in spot.hits()] == ["first", "second", "third"]

    asyncio.run(play())


def test_only_the_path_and_kind_that_is_meant(embedded, compression: str | None) -> None:
    """`where.path` is the handshake's, `where.message` the message's kind; what does not fit is not matched."""

    async def play() -> None:
        async with environment(embedded) as (_, spot), dialled(spot, compression) as client:
            path = spot.inject("ws_drop", name="path", where={"path": "/other"})
            kind = spot.inject("ws_drop", name="kind", where={"message": "binary"})
            assert await ask(client, "a") == "a"
            assert spot.counts(path)["matched"] == spot.counts(kind)["matched"] == 0
            meant = spot.inject(
                "ws_drop", name="meant", where={"path": "/w*", "message": "text", "header": {"host": "127.*"}}
            )
            await tell(client, "a")
            await true(lambda: spot.counts(meant)["applied"] == 1)

    asyncio.run(play())


def test_large_messages_after_a_change(embedded, compression: str | None) -> None:
    """After a drop, messages of any size and in any fragments still arrive whole: over 1 MiB, too."""

    async def play() -> None:
        async with environment(embedded) as (server, spot):
            opened = dialled(spot, compression)
            async with opened as client:
                spot.inject("ws_drop", stream="upstream", where={"nth": 1})
                await tell(client, "lost")
                for size in (10, 100_000, 3_000_000):
                    await client.send(json.dumps({"nonce": "n", "pad": "é" * (size // 6)}))
                    assert await heard(client) == "n"
                await client.send(['{"nonce": ', '"m"', ', "pad": "' + "y" * 70_000, '"}'])
                assert await heard(client) == "m"
                assert [len(asked["pad"]) for asked in server.got] == [1, 16_666, 500_000, 70_000]

    asyncio.run(play())


def test_one_seed_strikes_the_same_at_any_concurrency(embedded, compression: str | None) -> None:
    """With one seed the same messages are struck on one connection and on 20 at a time."""

    async def play(connections: int) -> set[str]:
        async with environment(embedded) as (_, spot):
            attributes = {"pointer": "/data/reward", "action": "scale", "factor": 2}
            spot.inject("json_edit", attributes, toxicity=0.2, seed=5, draw="scaled")
            nonces = iter(range(200))

            async def work() -> set[str]:
                doubled = set()
                async with dialled(spot, compression) as client:
                    for number in nonces:
                        await tell(client, f"n{number}")
                        if (await said(client))["data"]["reward"] == 1.0:
                            doubled.add(f"n{number}")
                return doubled

            seen = set().union(*await asyncio.gather(*(work() for _ in range(connections))))
            assert seen == {hit["id"] for hit in spot.hits()}
            return seen

    one = asyncio.run(play(1))
    assert asyncio.run(play(20)) == one
    assert 10 < len(one) < 80  # 40 expected, with a standard deviation of 5.7
