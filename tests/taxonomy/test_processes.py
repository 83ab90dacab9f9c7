"""What stock clients make of a service whose process is killed, paused, slow, or out of something that it needs.

No proxy is between them: these faults need none.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import httpx
import openai
import pytest
from websockets.exceptions import ConnectionClosed

from chaos.faults.processes import disk, limits
from chaos.faults.undo import RestoreLimit
from loadtests.workspace import oracle_actions
from tests.demo.serving import Running, wait_for
from tests.taxonomy.place import Starts
from tests.taxonomy.processes import (
    WHOLE,
    again,
    ask,
    environment_client,
    http,
    kill,
    listens,
    paused,
    sdk,
    throttled,
    whole,
)

SHORT_S = 0.3


@pytest.fixture
def own_environment(service: Starts) -> Running:
    """An environment of the test's own."""
    return service("environment")


@pytest.fixture
def own_evals(service: Starts) -> Running:
    """Evals of the test's own, whose streams last six seconds."""
    return service("evals", "--chunk-delay", "300ms")


@pytest.fixture
def quick_evals(service: Starts) -> Running:
    """Evals of the test's own."""
    return service("evals")


async def plays(service: Running) -> bool:
    """Whether a new client plays an episode to its full reward."""
    async with environment_client(service) as client:
        await client.reset(seed=5)
        return (await client.step(oracle_actions(5, 1)[0])).reward == 1.0


def test_killed_environment(own_environment: Running, tmp_path: Path) -> None:
    """The session ends with an error, and new ones are refused; the episode is gone after the restart too."""

    async def play() -> None:
        async with environment_client(own_environment) as client:
            await client.reset(seed=5)
            kill(own_environment)
            with pytest.raises(ConnectionClosed):
                await client.step(oracle_actions(5, 1)[0])
            with pytest.raises(ConnectionError):
                async with environment_client(own_environment):
                    pass
            with again(own_environment, tmp_path, "environment") as started:
                with pytest.raises(ConnectionClosed):
                    await client.step(oracle_actions(5, 1)[0])
                assert await plays(started)

    asyncio.run(play())


def test_killed_http_service(quick_evals: Running, tmp_path: Path) -> None:
    """Connections are refused; after the restart the same client goes on."""
    with http(quick_evals) as client:
        assert client.get("/healthz").status_code == 200
        kill(quick_evals)
        with pytest.raises(httpx.TransportError):
            client.get("/healthz")
        with pytest.raises(httpx.ConnectError):
            client.get("/healthz")
        with again(quick_evals, tmp_path, "evals"):
            assert client.get("/healthz").status_code == 200


def test_killed_model(quick_evals: Running, tmp_path: Path) -> None:
    """The SDK tells of the lost connection, after its tries; restarted, the same client gets its answer."""
    with sdk(quick_evals, retries=1) as client:
        kill(quick_evals)
        with pytest.raises(openai.APIConnectionError) as told:
            ask(client)
        assert not isinstance(told.value, openai.APITimeoutError)
        with again(quick_evals, tmp_path, "evals"):
            assert ask(client) == WHOLE


def test_killed_model_within_a_stream(own_evals: Running) -> None:
    """The stream is chunked, so its cut is told: the httpx error comes through the SDK as it is."""
    with sdk(own_evals) as client:
        stream = client.chat.completions.create(
            model="demo-model", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        next(iter(stream))
        kill(own_evals)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, openai.APIError)):
            for _ in stream:
                pass


def test_paused_environment_shifts_replies_silently(own_environment: Running) -> None:
    """HIDDEN: after a pause beyond the time-out, each reply is the one before it, without any error.

    The time-out is told. The request lies in the socket's buffer meanwhile, is answered once the process goes
    on, and its reply is read as that of the next request.
    """

    async def play() -> None:
        async with environment_client(own_environment, message_s=2.0) as client:
            await client.reset(seed=11, nonce="before")
            with paused(own_environment), pytest.raises(TimeoutError):
                await client.reset(seed=11, nonce="first")
            second = await client.reset(seed=12, nonce="second")
            assert (second.observation["nonce"], second.observation["task"]) == ("first", 11)
        assert await plays(own_environment)

    asyncio.run(play())


def test_paused_environment_at_connect(own_environment: Running) -> None:
    """The system takes the connection for the process; the handshake is not answered, and times out."""

    async def connect() -> None:
        with paused(own_environment):
            assert listens(own_environment)
            with pytest.raises(ConnectionError, match="timed out"):
                async with environment_client(own_environment, connect_s=SHORT_S):
                    pass
        assert await plays(own_environment)

    asyncio.run(connect())


def test_paused_http_service(quick_evals: Running) -> None:
    """Connecting works, for the system does that; the reply does not come. Afterwards all is well."""
    with http(quick_evals, read_s=SHORT_S) as client, paused(quick_evals), pytest.raises(httpx.ReadTimeout):
        client.get("/healthz")
    with http(quick_evals) as client:
        assert client.get("/healthz").status_code == 200


def test_paused_model(quick_evals: Running) -> None:
    """A time-out without retries; with a long one the pause costs time only, and the answer is right."""
    brief = sdk(quick_evals, read_s=SHORT_S)
    with brief as client, paused(quick_evals), pytest.raises(openai.APITimeoutError):
        ask(client)
    with sdk(quick_evals) as client:
        assert ask(client) == WHOLE


def _slowest(seconds: float, once: object) -> bool:
    """Whether one of many tries takes at least this long."""
    until = monotonic() + 30
    while monotonic() < until:
        begun = monotonic()
        once()  # type: ignore[operator]
        if monotonic() - begun >= seconds:
            return True
    return False


def test_slow_environment(own_environment: Running) -> None:
    """Replies are right and in order; those that meet a stop are late by the rest of it."""

    async def play() -> bool:
        async with environment_client(own_environment) as client:
            begun, number = monotonic(), 0
            while monotonic() - begun < 30:
                asked = monotonic()
                reply = await client.reset(seed=1, nonce=str(number))
                assert reply.observation["nonce"] == str(number)
                if monotonic() - asked >= 0.2:
                    return True
                number += 1
            return False

    with throttled(own_environment, 400, 500):
        assert asyncio.run(play())


def test_slow_http_service(quick_evals: Running) -> None:
    """Requests that meet a stop are late by the rest of it, and are served."""
    with http(quick_evals) as client, throttled(quick_evals, 400, 500):
        assert _slowest(0.2, lambda: client.get("/healthz").raise_for_status())


def test_slow_model(quick_evals: Running) -> None:
    """Answers are right, and some are late by the rest of a stop."""

    def once() -> None:
        assert ask(client) == WHOLE

    with sdk(quick_evals) as client, throttled(quick_evals, 400, 500):
        assert _slowest(0.2, once)


def test_out_of_descriptors(quick_evals: Running) -> None:
    """The system takes connections that the process cannot: a request waits until its time-out, then heals."""
    processes = whole(quick_evals)
    was = RestoreLimit(resource="files", limits=limits.limits_of(processes, "files"))
    with http(quick_evals, read_s=SHORT_S) as open_before:
        assert open_before.get("/healthz").status_code == 200
        limits.confine(was, 0)
        try:
            assert open_before.get("/healthz").status_code == 200  # connections that it has go on
            with http(quick_evals, read_s=SHORT_S) as client, pytest.raises(httpx.TransportError):
                client.get("/healthz")
        finally:
            limits.restore(was)

    def served() -> bool:
        with http(quick_evals, read_s=SHORT_S) as client:
            try:
                return client.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

    wait_for("the service to take connections again", served)


def test_capacity_reached(service: Starts) -> None:
    """A session beyond `max_concurrent_envs` is refused; openenv-core's client may only see it closed."""
    full = service("environment", "--max-sessions", "1")

    async def play() -> None:
        async with environment_client(full) as first:
            await first.reset(seed=1)
            with pytest.raises((ConnectionClosed, RuntimeError)):
                async with environment_client(full) as second:
                    await second.reset(seed=2)
            assert (await first.reset(seed=3, nonce="n")).observation["nonce"] == "n"

    asyncio.run(play())


FACTORY = """
import sys, tempfile, uvicorn
sys.modules["gradio"] = None
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, ConcurrencyConfig, Observation, State
class Notes(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True
    def __init__(self):
        super().__init__()
        self.file = tempfile.TemporaryFile(dir=sys.argv[1], buffering=0)
        if self.file.write(b"x" * 65536) != 65536:
            raise OSError("no space left")
    def reset(self, seed=None, episode_id=None, **_): return Observation(done=False, reward=0.0)
    def step(self, action, **_): return Observation(done=True, reward=1.0)
    @property
    def state(self): return State()
    def close(self): self.file.close()
app = create_app(Notes, Action, Observation, env_name="notes",
                 concurrency_config=ConcurrencyConfig(max_concurrent_envs=8))
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""


@pytest.fixture
def notes(own_disk: Path, tmp_path: Path) -> Iterator[Running]:
    """An OpenEnv server whose environments keep a file on a disk of its own."""
    import socket
    import subprocess

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    out, err = tmp_path / "notes.out", tmp_path / "notes.err"
    argv = [sys.executable, "-c", FACTORY, str(own_disk), str(port)]
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(argv, stdout=stdout, stderr=stderr)
    running = Running(process, f"127.0.0.1:{port}", out, err)
    try:
        wait_for("the server", lambda: listens(running) or process.poll() is not None, 60)
        assert process.poll() is None, err.read_text()
        yield running
    finally:
        process.kill()
        process.wait()


def test_factory_failure(notes: Running, own_disk: Path) -> None:
    """HIDDEN: an environment that cannot be made ends the session; `/health` says all the while that all is well."""

    async def refused() -> bool:
        try:
            async with environment_client(notes) as client:
                await client.reset()
        except (ConnectionClosed, ConnectionError, RuntimeError):
            return True
        return False

    async def plays_here() -> None:
        async with environment_client(notes) as client:
            await client.reset()

    asyncio.run(plays_here())
    filler = disk.filler_in(own_disk, (Path(tempfile.gettempdir()),))
    disk.fill(filler, 0)
    try:
        assert asyncio.run(refused())
        with http(notes) as client:
            assert client.get("/health").status_code == 200
    finally:
        disk.empty(filler)
    asyncio.run(plays_here())
