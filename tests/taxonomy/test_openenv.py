"""What openenv-core's stock client makes of each fault between it and an environment.

It has one socket, no request ids and no reconnect: what ends the socket ends the episode and is told; what
makes a reply late is told once, and then shifts every later reply by one, which is told nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from loadtests.workspace import oracle_actions
from tests.taxonomy.openenv_client import GenericEnvClient
from tests.taxonomy.place import WITHIN_S, Place


def client_of(place: Place, *, connect_s: float = WITHIN_S, message_s: float = WITHIN_S) -> GenericEnvClient:
    """A stock client; with the given time-outs where it is to give up."""
    return GenericEnvClient(base_url=place.url, connect_timeout_s=connect_s, message_timeout_s=message_s)


async def nonce_of_reset(client: GenericEnvClient, nonce: str) -> str:
    """Reset; the nonce in the reply, which is the request's own unless the reply is another's."""
    return str((await client.reset(seed=1, nonce=nonce)).observation["nonce"])


async def works(place: Place) -> bool:
    """Whether a new client plays an episode to its full reward."""
    async with client_of(place) as client:
        await client.reset(seed=5)
        result = await client.step(oracle_actions(5, 1)[0])
        return (result.reward, result.done) == (1.0, True)


def test_latency_within_the_timeout(environment_place: Place) -> None:
    """A delay that the time-out allows for costs time only: the reply is late, and right."""

    async def play() -> None:
        async with client_of(environment_place) as client:
            environment_place.inject("latency", latency=200)
            begun = monotonic()
            assert await nonce_of_reset(client, "late") == "late"
            assert monotonic() - begun >= 0.19
            environment_place.heal()
            assert await nonce_of_reset(client, "healed") == "healed"

    asyncio.run(play())


def test_latency_shifts_replies_silently(environment_place: Place) -> None:
    """HIDDEN: after one reply that outlasts the time-out, each reply is the one before it, without any error.

    The client reports the time-out itself. The reply comes after all, and is read as the answer to the next
    request, and so on: an observation of another task, and for the step that earned 1.0 a reward of 0.0.
    Healing does not help this client; a new one is right again.
    """

    async def play() -> None:
        async with client_of(environment_place, message_s=1.0) as client:
            environment_place.inject("latency", latency=60_000)
            begun = monotonic()
            with pytest.raises(TimeoutError):
                await client.reset(seed=11, nonce="first")
            assert monotonic() - begun >= 0.99
            environment_place.heal()
            second = await client.reset(seed=12, nonce="second")
            assert (second.observation["nonce"], second.observation["task"]) == ("first", 11)
            third = await client.step({**oracle_actions(12, 1)[0], "nonce": "third"})
            assert (third.observation["nonce"], third.reward, third.done) == ("second", 0.0, False)
            fourth = await client.reset(seed=13, nonce="fourth")
            assert (fourth.observation["nonce"], fourth.reward, fourth.done) == ("third", 1.0, True)
        assert await works(environment_place)

    asyncio.run(play())


def test_latency_of_the_handshake(environment_place: Place) -> None:
    """A client that connects during a long delay reports a ConnectionError after its connect time-out."""
    environment_place.inject("latency", latency=60_000)

    async def play() -> None:
        client = client_of(environment_place, connect_s=0.2)
        begun = monotonic()
        with pytest.raises(ConnectionError, match="timed out during opening handshake"):
            await client.connect()
        assert monotonic() - begun >= 0.19
        environment_place.heal()
        assert await works(environment_place)

    asyncio.run(play())


def test_jitter_keeps_replies_in_order(environment_place: Place) -> None:
    """Jitter makes replies unequally late; each still answers its own request."""

    async def play() -> None:
        async with client_of(environment_place) as client:
            environment_place.inject("latency", latency=40, jitter=40)
            delays = []
            for number in range(10):
                begun = monotonic()
                assert await nonce_of_reset(client, f"n{number}") == f"n{number}"
                delays.append(monotonic() - begun)
            # 10 uniform draws of 0 to 80 ms: all below 20 ms once in 10^6, all within 8 ms once in 10^8.
            assert max(delays) >= 0.02
            assert max(delays) - min(delays) >= 0.008
            environment_place.heal()
            assert await nonce_of_reset(client, "healed") == "healed"

    asyncio.run(play())


def test_bandwidth_within_the_timeout(environment_place: Place) -> None:
    """A squeezed line costs time in proportion to the reply's size: 400 bytes take 0.2 s at 2 kB/s."""

    async def play() -> None:
        async with client_of(environment_place) as client:
            environment_place.inject("bandwidth", rate=2)
            begun = monotonic()
            assert await nonce_of_reset(client, "slow") == "slow"
            assert monotonic() - begun >= 0.15
            environment_place.heal()
            assert await nonce_of_reset(client, "healed") == "healed"

    asyncio.run(play())


def test_bandwidth_beyond_the_timeout(environment_place: Place) -> None:
    """The message time-out is for the whole message: it fires although bytes keep coming, and is told."""

    async def play() -> None:
        async with client_of(environment_place, message_s=0.2) as client:
            environment_place.inject("bandwidth", rate=1)
            begun = monotonic()
            with pytest.raises(TimeoutError):
                await client.reset(seed=1)
            assert monotonic() - begun >= 0.19
            environment_place.heal()
        assert await works(environment_place)

    asyncio.run(play())


def test_refused_at_connect(environment_place: Place) -> None:
    """A refused connection is a ConnectionError that says so; the same client connects after healing."""
    environment_place.refuse()

    async def play() -> None:
        client = client_of(environment_place)
        with pytest.raises(ConnectionError, match="Failed to connect") as told:
            await client.connect()
        assert isinstance(told.value.__cause__, ConnectionRefusedError)
        environment_place.heal()
        async with client:
            assert await nonce_of_reset(client, "healed") == "healed"

    asyncio.run(play())


def test_refused_ends_the_episode(environment_place: Place) -> None:
    """A session that is cut is told, and stays cut after healing: the client never reconnects by itself.

    `connect()` returns as if all were well, and the next message fails as before. Only after `close()` does
    the same client work again, in a new session that knows nothing of the episode.
    """

    async def play() -> None:
        client = client_of(environment_place)
        async with client:
            await client.reset(seed=5)
            environment_place.refuse()
            with pytest.raises(ConnectionClosedError):
                await client.step(oracle_actions(5, 1)[0])
            environment_place.heal()
            await client.connect()
            with pytest.raises(ConnectionClosedError):
                await client.step(oracle_actions(5, 1)[0])
        async with client:
            with pytest.raises(RuntimeError, match="expected a reset before the first step"):
                await client.step(oracle_actions(5, 1)[0])
        assert await works(environment_place)

    asyncio.run(play())


def test_reset_at_connect(environment_place: Place) -> None:
    """A connection that is reset during the handshake is a ConnectionError."""
    environment_place.inject("reset_peer", timeout=0)

    async def play() -> None:
        with pytest.raises(ConnectionError, match="did not receive a valid HTTP response"):
            await client_of(environment_place).connect()
        environment_place.heal()
        assert await works(environment_place)

    asyncio.run(play())


def test_reset_loses_the_reply(environment_place: Place) -> None:
    """A session that is reset while its reply comes is told; whether the step was done is not known."""

    async def play() -> None:
        async with client_of(environment_place) as client:
            await client.reset(seed=5)
            environment_place.inject("reset_peer", timeout=0)
            with pytest.raises(ConnectionClosedError):
                await client.step(oracle_actions(5, 1)[0])
            environment_place.heal()
            with pytest.raises(ConnectionClosedError):
                await client.step(oracle_actions(5, 1)[0])
        assert await works(environment_place)

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_black_hole_at_connect(environment_place: Place, stream: str) -> None:
    """Into a black hole a client connects (TCP does), and reports a ConnectionError after its time-out."""
    environment_place.inject("timeout", stream, timeout=0)

    async def play() -> None:
        begun = monotonic()
        with pytest.raises(ConnectionError, match="timed out during opening handshake"):
            await client_of(environment_place, connect_s=0.2).connect()
        assert monotonic() - begun >= 0.19
        environment_place.heal()
        assert await works(environment_place)

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_black_hole_of_a_session(environment_place: Place, stream: str) -> None:
    """A live session that falls into a black hole is a TimeoutError; healing closes it, which is told."""

    async def play() -> None:
        async with client_of(environment_place, message_s=0.2) as client:
            environment_place.inject("timeout", stream, timeout=0)
            begun = monotonic()
            with pytest.raises(TimeoutError):
                await client.reset(seed=1)
            assert monotonic() - begun >= 0.19
            environment_place.heal()
            with pytest.raises(ConnectionClosedError):
                async with asyncio.timeout(WITHIN_S):
                    while True:
                        with contextlib.suppress(TimeoutError):  # the close is on its way
                            await client.reset(seed=1)
        assert await works(environment_place)

    asyncio.run(play())


def test_limit_data_at_connect(environment_place: Place) -> None:
    """A handshake that is cut after 10 bytes is a ConnectionError."""
    environment_place.inject("limit_data", bytes=10)

    async def play() -> None:
        with pytest.raises(ConnectionError, match="did not receive a valid HTTP response"):
            await client_of(environment_place).connect()
        environment_place.heal()
        assert await works(environment_place)

    asyncio.run(play())


def test_limit_data_cuts_a_reply(environment_place: Place) -> None:
    """A reply that is cut after 100 bytes is never delivered in part: the client reports a closed session."""

    async def play() -> None:
        async with client_of(environment_place) as client:
            await client.reset(seed=5)
            environment_place.inject("limit_data", bytes=100)
            with pytest.raises(ConnectionClosedError, match="no close frame received or sent"):
                await client.step(oracle_actions(5, 1)[0])
            environment_place.heal()
            with pytest.raises(ConnectionClosed):
                await client.step(oracle_actions(5, 1)[0])
        assert await works(environment_place)

    asyncio.run(play())


def test_slicer_costs_time_only(environment_place: Place) -> None:
    """Replies and handshake in pieces of some 16 bytes, 5 ms apart, come late and whole."""
    environment_place.inject("slicer", average_size=16, delay=5_000)

    async def play() -> None:
        async with client_of(environment_place) as client:
            begun = monotonic()
            assert await nonce_of_reset(client, "sliced") == "sliced"
            assert monotonic() - begun >= 0.1  # over 400 bytes are over 25 pieces
            environment_place.heal()
            assert await nonce_of_reset(client, "healed") == "healed"

    asyncio.run(play())


def test_slow_close_is_felt_at_the_end_only(environment_place: Place) -> None:
    """Where closing is slow every reply is as quick and right as ever, and `close()` waits for the delay."""
    environment_place.inject("slow_close", delay=300)

    async def play() -> None:
        client = client_of(environment_place)
        await client.connect()
        assert await nonce_of_reset(client, "open") == "open"
        begun = monotonic()
        await client.close()
        assert monotonic() - begun >= 0.29
        environment_place.heal()
        assert await works(environment_place)

    asyncio.run(play())
