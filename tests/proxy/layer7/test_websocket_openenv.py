"""What openenv-core's stock client makes of each toxic of WebSocket between it and an environment.

It has one socket and no request ids: the next message on it is the answer. So what is stale, edited, lost or
sent twice changes rewards and observations without an error.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from loadtests.workspace import oracle_actions
from tests.demo.serving import Running, running
from tests.proxy.layer7.websocket_peers import NOTHING_S, WITHIN_S, Spot, true
from tests.taxonomy.openenv_client import GenericEnvClient

STEP: dict[str, object] = {"reply_to": {"/type": "step"}}
"""The reply to a step."""

PATIENCE_S = 3.0
"""How long a client waits that is to give up once, and be answered after that."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demo environment."""
    with running(tmp_path_factory.mktemp("openenv"), "environment", "--exit-with-stdin") as started:
        yield started


@pytest.fixture
def spot(embedded, service: Running) -> Spot:
    """A proxy in front of it."""
    return Spot(embedded, service.address)


def client_of(spot: Spot, message_s: float = WITHIN_S) -> GenericEnvClient:
    """A stock client."""
    return GenericEnvClient(
        base_url=f"http://{spot.listen}", connect_timeout_s=WITHIN_S, message_timeout_s=message_s
    )


def solution(seed: int, nonce: str) -> dict[str, object]:
    """The step that earns 1.0 and ends the episode."""
    return {**oracle_actions(seed, 1)[0], "nonce": nonce}


async def works(spot: Spot) -> bool:
    """Whether a new client plays an episode to its full reward."""
    async with client_of(spot) as client:
        await client.reset(seed=5)
        result = await client.step(oracle_actions(5, 1)[0])
        return (result.reward, result.done) == (1.0, True)


def test_stale_observation(spot: Spot) -> None:
    """HIDDEN: the step that solves the task gets the observation of the reset: no reward, not done, no error."""

    async def play() -> None:
        async with client_of(spot) as client:
            toxic = spot.inject("ws_replay", where=STEP)
            reset = await client.reset(seed=5, nonce="first")
            step = await client.step(solution(5, "second"))
            assert step.observation["nonce"] == reset.observation["nonce"] == "first"
            assert not step.reward
            assert step.done is False
            assert (spot.counts(toxic)["matched"], spot.counts(toxic)["applied"]) == (1, 1)
            assert [(hit["id"], hit["applied"]) for hit in spot.hits()] == [
                ("second", "an earlier message was sent")
            ]
            spot.heal(toxic)
        assert await works(spot)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("edit", "expected"),
    [({"action": "drop"}, None), ({"action": "set", "value": None}, None), ({"action": "scale"}, 100.0)],
    ids=["drop", "null", "scale"],
)
def test_reward_is_another(spot: Spot, edit: dict[str, object], expected: float | None) -> None:
    """HIDDEN: a reward that is dropped or null is None for the client, one on another scale is taken as it is."""

    async def play() -> None:
        spot.inject("json_edit", {"pointer": "/data/reward", **edit}, where=STEP)
        async with client_of(spot) as client:
            assert (await client.reset(seed=5, nonce="first")).observation["nonce"] == "first"
            step = await client.step(solution(5, "second"))
            assert (step.observation["nonce"], step.reward, step.done) == ("second", expected, True)

    asyncio.run(play())


def test_reward_is_nan(spot: Spot) -> None:
    """HIDDEN: NaN, which is no JSON, is a reward of NaN for the client."""

    async def play() -> None:
        spot.inject("json_edit", {"pointer": "/data/reward", "action": "nan"}, where=STEP)
        async with client_of(spot) as client:
            await client.reset(seed=5)
            assert math.isnan((await client.step(solution(5, "second"))).reward or 0.0)

    asyncio.run(play())


def test_done_is_flipped(spot: Spot) -> None:
    """HIDDEN: an episode that is over looks as if it went on."""

    async def play() -> None:
        spot.inject("json_edit", {"pointer": "/data/done", "action": "set", "value": False}, where=STEP)
        async with client_of(spot) as client:
            await client.reset(seed=5)
            step = await client.step(solution(5, "second"))
            assert (step.reward, step.done) == (1.0, False)

    asyncio.run(play())


def test_delay_past_the_timeout_shifts_replies(spot: Spot) -> None:
    """HIDDEN: one frame that is later than the client waits is told once, and shifts all replies after it."""

    async def play() -> None:
        async with client_of(spot, message_s=PATIENCE_S) as client:
            toxic = spot.inject("ws_delay", {"delay": 2**31 - 1}, where={"nth": 1})
            with pytest.raises(TimeoutError):
                await client.reset(seed=11, nonce="first")
            spot.heal(toxic)
            second = await client.reset(seed=12, nonce="second")
            assert (second.observation["nonce"], second.observation["task"]) == ("first", 11)
            third = await client.step(solution(12, "third"))
            assert (third.observation["nonce"], third.reward, third.done) == ("second", 0.0, False)
        assert await works(spot)

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_drop_is_a_timeout(spot: Spot, stream: str) -> None:
    """A message that is lost is a TimeoutError; the session goes on, and replies are not shifted."""

    async def play() -> None:
        async with client_of(spot, message_s=PATIENCE_S) as client:
            spot.inject("ws_drop", stream=stream, where={"nth": 2})
            assert (await client.reset(seed=5, nonce="first")).observation["nonce"] == "first"
            with pytest.raises(TimeoutError):
                await client.reset(seed=5, nonce="second")
            assert (await client.reset(seed=5, nonce="third")).observation["nonce"] == "third"

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_duplicate_shifts_replies(spot: Spot, stream: str) -> None:
    """HIDDEN: one message that comes twice shifts all replies after it by one, without any error."""

    async def play() -> None:
        async with client_of(spot) as client:
            spot.inject("ws_duplicate", stream=stream, where={"first": 1})
            await client.reset(seed=5, nonce="first")
            step = await client.step(solution(5, "second"))
            assert (step.observation["nonce"], step.done) == ("first", False)
            assert (await client.reset(seed=6, nonce="third")).observation["nonce"] == "second"

    asyncio.run(play())


def test_reorder_is_a_timeout_and_then_a_shift(spot: Spot) -> None:
    """A reply that waits for the next one is a TimeoutError; the next request is answered right, then by it."""

    async def play() -> None:
        async with client_of(spot, message_s=PATIENCE_S) as client:
            spot.inject("ws_reorder", where={"nth": 1})
            with pytest.raises(TimeoutError):
                await client.reset(seed=5, nonce="first")
            assert (await client.reset(seed=6, nonce="second")).observation["nonce"] == "second"
            assert (await client.reset(seed=7, nonce="third")).observation["nonce"] == "first"

    asyncio.run(play())


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_half_open(spot: Spot, stream: str) -> None:
    """A session that is half open is a TimeoutError each time; healing closes it, which is told."""

    async def play() -> None:
        async with client_of(spot, message_s=NOTHING_S) as client:
            toxic = spot.inject("ws_half_open", stream=stream)
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await client.reset(seed=5)
            spot.heal(toxic)
            with pytest.raises(ConnectionClosed):
                async with asyncio.timeout(WITHIN_S):
                    while True:
                        try:
                            await client.reset(seed=5)
                        except TimeoutError:
                            await asyncio.sleep(0)
        assert await works(spot)

    asyncio.run(play())


def test_close(spot: Spot) -> None:
    """A close with a code is told with it, and frees the environment's slot."""

    async def play() -> None:
        async with client_of(spot) as client:
            toxic = spot.inject("ws_close", {"code": 1013, "reason": "try again later"}, where=STEP)
            await client.reset(seed=5)
            with pytest.raises(ConnectionClosedError, match=r"1013 .*try again later"):
                await client.step(solution(5, "second"))
            spot.heal(toxic)
        assert await works(spot)

    asyncio.run(play())


def test_same_steps_are_struck_at_any_concurrency(spot: Spot) -> None:
    """With one seed the same steps lose their reward, played one after the other and 20 at a time."""

    async def play(clients: int) -> set[str]:
        toxic = spot.inject("json_edit", {"pointer": "/data/reward"}, where=STEP, toxicity=0.3, seed=3)
        before = len(spot.hits())
        seeds = iter(range(60))

        async def work() -> set[str]:
            lost = set()
            async with client_of(spot) as client:
                for seed in seeds:
                    await client.reset(seed=seed)
                    step = await client.step(solution(seed, f"s{seed}"))
                    if step.reward is None:
                        lost.add(f"s{seed}")
            return lost

        lost = set().union(*await asyncio.gather(*(work() for _ in range(clients))))
        assert lost == {hit["id"] for hit in spot.hits()[before:]}
        spot.heal(toxic)
        return lost

    one = asyncio.run(play(1))
    assert asyncio.run(play(20)) == one
    assert 3 < len(one) < 40  # 18 expected, with a standard deviation of 3.5


def test_pairing_survives_toxics_that_come_and_go(spot: Spot) -> None:
    """`reply_to` knows which reply answers which message, though it began in the middle of a session."""

    async def play() -> None:
        async with client_of(spot) as client:
            for number in range(3):
                await client.reset(seed=5, nonce=f"r{number}")
                toxic = spot.inject("json_edit", {"pointer": "/data/reward"}, where=STEP)
                assert (await client.step(solution(5, f"s{number}"))).reward is None
                assert (await client.reset(seed=6, nonce=f"t{number}")).reward is not None
                assert spot.counts(toxic) | {"bytes": 0} == {
                    "connections": 1,
                    "bytes": 0,
                    "applied": 1,
                    "matched": 1,
                    "unread": 0,
                }
                spot.heal(toxic)
        await true(lambda: len(spot.hits()) == 3)

    asyncio.run(play())
