"""The environment service, played by openenv-core's own client and by bare WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from loadtests.workspace import REWARDS, Action, Policy, oracle_actions, policy_actions
from tests.demo.serving import Metrics, Running, running, wait_for


class Session:
    """A bare WebSocket session."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket

    async def ask(self, kind: str, data: object) -> dict[str, Any]:
        """Send one message; the answer to it."""
        await self._socket.send(json.dumps({"type": kind, "data": data}))
        answer: dict[str, Any] = json.loads(await self._socket.recv())
        return answer

    async def episode(self, seed: int, actions: list[Action], mark: str) -> tuple[float, bool]:
        """Play an episode, checking every echo; the sum of rewards, and whether it ended."""
        answer = await self.ask("reset", {"seed": seed, "episode_id": mark, "nonce": f"{mark}-0"})
        total, done = 0.0, False
        for step, action in enumerate([None, *actions]):
            if action is not None:
                answer = await self.ask("step", {**action, "nonce": f"{mark}-{step}"})
                total, done = total + answer["data"]["reward"], answer["data"]["done"]
            observation = answer["data"]["observation"]
            seen = [observation[key] for key in ("nonce", "step", "task", "episode_id")]
            assert seen == [f"{mark}-{step}", step, seed, mark]
        return total, done


def connect(running_service: Running) -> websockets.connect:
    """A connection that its server ends as it likes."""
    return websockets.connect(f"ws://{running_service.address}/ws", proxy=None)


async def has_a_slot(service: Running, within_s: float = 60.0) -> None:
    """Wait until a new session is not refused."""
    until = time.monotonic() + within_s
    while True:
        async with connect(service) as socket:
            with contextlib.suppress(websockets.ConnectionClosed):  # refused already
                await socket.send(json.dumps({"type": "reset", "data": {}}))
            if json.loads(await socket.recv())["type"] == "observation":
                return
        assert time.monotonic() < until, "no session was freed"
        await asyncio.sleep(0.02)


def status(url: str, body: object = None) -> tuple[int, Any]:
    """The status and JSON body of a GET, or of a POST with a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


STOCK_CLIENT = """
import asyncio, json, random, sys
from chaos.demo import openenv  # first, so that gradio is not imported
from openenv.core.generic_client import GenericEnvClient
from loadtests.workspace import policy_actions

async def play(policy):
    async with GenericEnvClient(base_url=sys.argv[1]) as client:
        await client.reset(seed=11)
        results = [await client.step(a) for a in policy_actions(policy, 11, 6, random.Random(0))]
        return [sum(result.reward for result in results), results[-1].done]

print(json.dumps([asyncio.run(play(policy)) for policy in ("oracle", "null")]))
"""


def test_openenv_client_plays(environment: Running) -> None:
    """openenv-core's stock client plays the oracle to 1.0 and the null policy to 0.0."""
    command = [sys.executable, "-c", STOCK_CLIENT, environment.url]  # pytest's import hook would take seconds
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(ended.stdout) == [[1.0, True], [0.0, True]]


def test_many_sessions_at_once(environment: Running, metrics: Metrics) -> None:
    """100 sessions at once stay apart: each policy earns what is known, and each reply answers its own action."""
    policies: list[Policy] = ["oracle", "null", "random"]

    async def one(number: int, together: asyncio.Barrier) -> None:
        policy = policies[number % 3]
        async with connect(environment) as socket:
            await together.wait()
            actions = policy_actions(policy, number, 8, random.Random(number))
            for repeat in range(2):
                earned = await Session(socket).episode(number, actions, f"{number}-{repeat}")
                assert earned == (REWARDS[policy], True)

    async def all_of_them() -> None:
        together = asyncio.Barrier(100)
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(one(number, together))

    asyncio.run(all_of_them())

    def closed() -> bool:
        points = metrics.find("brownout.env.sessions")
        return bool(points) and points[0].as_int == 0

    wait_for("the end of all sessions in telemetry", closed)


def test_sessions_are_counted(environment: Running, metrics: Metrics) -> None:
    """The gauge of sessions follows how many are open; steps are counted by what they did."""

    def open_sessions(count: int) -> Callable[[], bool]:
        return lambda: [p.as_int for p in metrics.find("brownout.env.sessions")] == [count]

    async def play() -> None:
        async with connect(environment) as one, connect(environment) as other:
            await Session(one).episode(1, oracle_actions(1, 4), "a")
            await Session(other).ask("reset", {})
            await asyncio.to_thread(wait_for, "two sessions", open_sessions(2))
        await asyncio.to_thread(wait_for, "no session", open_sessions(0))

    asyncio.run(play())
    for action in ("search", "read", "compute", "submit"):
        wait_for(
            action,
            lambda name=action: bool(metrics.find("brownout.env.step.duration", brownout__action=name)),
        )
    (resource, *_) = [r for r in metrics.resources if r["service.name"] == "demo-environment"]
    assert resource["service.instance.id"]


def test_resent_step_is_seen(environment: Running) -> None:
    """A step that is sent twice counts twice: `step` tells, and a second submission earns nothing."""

    async def play() -> list[tuple[int, float, bool]]:
        async with connect(environment) as socket:
            session = Session(socket)
            await session.ask("reset", {"seed": 5})
            submission = oracle_actions(5, 1)[0]
            data = [(await session.ask("step", {**submission, "nonce": "n"}))["data"] for _ in range(2)]
            return [(d["observation"]["step"], d["reward"], d["done"]) for d in data]

    assert asyncio.run(play()) == [(1, 1.0, True), (2, 0.0, True)]


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("step", {"kind": "read", "document": "doc-01"}, "EXECUTION_ERROR"),
        ("step", {"kind": "dance"}, "VALIDATION_ERROR"),
        ("step", {"kind": "read", "document": 3}, "VALIDATION_ERROR"),
        ("reset", {"seed": "many"}, "VALIDATION_ERROR"),
        ("reset", {"max_steps": 0}, "VALIDATION_ERROR"),
        ("dance", {}, "UNKNOWN_TYPE"),
    ],
)
def test_bad_messages_are_answered(environment: Running, kind: str, data: object, code: str) -> None:
    """A message that cannot be served is answered with an error, and the session serves on."""

    async def play() -> None:
        async with connect(environment) as socket:
            session = Session(socket)
            answer = await session.ask(kind, data)
            assert (answer["type"], answer["data"]["code"]) == ("error", code)
            assert await session.episode(2, oracle_actions(2, 4), "after") == (1.0, True)

    asyncio.run(play())


def test_http_requests_are_told(environment: Running) -> None:
    """Over HTTP, where each request has an environment of its own, misuse is an answer and no traceback."""
    assert status(f"{environment.url}/healthz") == (200, {"status": "ok"})
    assert status(f"{environment.url}/reset", {"seed": 3})[1]["observation"]["task"] == 3
    code, body = status(f"{environment.url}/step", {"action": {"kind": "read"}})
    assert (code, "use /ws" in body["detail"]) == (409, True)
    assert status(f"{environment.url}/reset", {"seed": 1, "max_steps": "x"})[0] == 422
    assert status(f"{environment.url}/nowhere")[0] == 404
    assert not [line for line in environment.log if line["level"] in ("error", "critical")]


def test_http_requests_are_measured(environment: Running, metrics: Metrics) -> None:
    """HTTP requests are measured by route and status, in seconds."""
    status(f"{environment.url}/healthz")

    def measured() -> bool:
        points = metrics.find("http.server.request.duration", http__route="/healthz", http__request__method="GET",
                              http__response__status_code=200)  # fmt: skip
        return bool(points) and 0 < points[0].sum < 60

    wait_for("the measurement", measured)


def test_capacity_is_said(tmp_path: Path) -> None:
    """A session beyond --max-sessions is refused with the code for it, and can be had when one has ended."""

    async def play(service: Running) -> None:
        async with connect(service) as first:
            await Session(first).ask("reset", {})
            async with connect(service) as second:
                assert json.loads(await second.recv())["data"]["code"] == "CAPACITY_REACHED"

        await has_a_slot(service)

    with running(tmp_path, "environment", "--max-sessions", "1") as service:
        asyncio.run(play(service))
        assert service.end()[0] == 0


def test_an_idle_session_is_ended_where_it_may_be(tmp_path: Path) -> None:
    """With --session-timeout a slot comes back, although its client is connected and never gave it back."""

    async def play(service: Running) -> None:
        async with connect(service) as silent:
            assert (await Session(silent).ask("reset", {}))["type"] == "observation"
            async with connect(service) as second:
                assert json.loads(await second.recv())["data"]["code"] == "CAPACITY_REACHED"
            await has_a_slot(service)  # within 5 s: openenv-core does not look more often

    with running(tmp_path, "environment", "--max-sessions", "1", "--session-timeout", "100ms") as service:
        asyncio.run(play(service))
