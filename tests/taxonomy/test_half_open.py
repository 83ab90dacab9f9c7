"""What a client leaves behind that goes without the environment hearing of it: its slot.

An environment has `max_concurrent_envs` slots, one for each session. Where the end of a connection does not
come through (a black hole, a slow close) the slot of a dead client stays taken, and new ones are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from tests.demo.serving import Running, wait_for
from tests.taxonomy.openenv_client import GenericEnvClient
from tests.taxonomy.place import WITHIN_S, Places, Starts

HOLDER = """
import contextlib, json, sys, time
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
def hold():
    with connect(sys.argv[1], proxy=None) as socket:
        socket.send(json.dumps({"type": "reset", "data": {"seed": 1}}))
        if json.loads(socket.recv())["type"] == "observation":
            print("holds a slot", flush=True)
            time.sleep(600)
while True:
    with contextlib.suppress(ConnectionClosed):
        hold()
"""
"""A client in a process of its own, so that it can die without a word: websockets, as openenv-core's own has it.

It tries until it has a slot, as the one who had it before may just be leaving.
"""

ATTEMPTS = 25


@pytest.fixture(scope="module")
def one_slot(service: Starts) -> Running:
    """An environment with a single slot."""
    return service("environment", "--max-sessions", "1")


@contextlib.contextmanager
def holder(address: str) -> Iterator[subprocess.Popen[str]]:
    """A client that holds a session; killed at the end, if not before."""
    command = [sys.executable, "-c", HOLDER, f"ws://{address}/ws"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "holds a slot\n"
            yield process
        finally:
            process.kill()


def free(service: Running) -> bool:
    """Whether the environment gives out a slot, asked past every proxy; else it must say that it is full."""
    with connect(f"ws://{service.address}/ws", proxy=None) as socket:
        with contextlib.suppress(ConnectionClosedOK):  # a server that is full does not wait for it
            socket.send(json.dumps({"type": "reset", "data": {"seed": 1}}))
        reply = json.loads(socket.recv(WITHIN_S))
    if reply["type"] == "error":
        assert reply["data"]["code"] == "CAPACITY_REACHED"
    return bool(reply["type"] == "observation")


async def is_refused(service: Running) -> bool:
    """Whether openenv-core's client is refused.

    It may not learn why. The server says CAPACITY_REACHED and closes; where the close is there before the
    client's first message is sent, all that the client reports is a session that ended well.
    """
    async with GenericEnvClient(base_url=service.url, message_timeout_s=WITHIN_S) as client:
        try:
            await client.reset(seed=1)
        except ConnectionClosedOK:
            return True
        except RuntimeError as error:
            return "CAPACITY_REACHED" in str(error)
    return False


def wait_until_free(service: Running) -> None:
    """Wait for the slot, and until openenv-core's client has had it too."""
    wait_for("a free slot", lambda: free(service), WITHIN_S)
    wait_for("a session in it", lambda: not asyncio.run(is_refused(service)), WITHIN_S)


def held(service: Running) -> bool:
    """Whether the slot stays taken over many attempts, each a handshake and an answer."""
    refused = asyncio.run(is_refused(service))
    return refused and not any(free(service) for _ in range(ATTEMPTS))


def die(client: subprocess.Popen[str]) -> None:
    """Kill the client, and wait until it is gone with its sockets."""
    client.kill()
    client.wait(WITHIN_S)


def test_without_a_fault_a_dead_client_frees_its_slot(place_of: Places, one_slot: Running) -> None:
    """The comparison: the environment is told at once that a client died, and the slot is free again."""
    place = place_of(one_slot.address)
    with holder(place.address) as client:
        assert held(one_slot)
        die(client)
        wait_until_free(one_slot)


def test_half_open_session_holds_its_slot(place_of: Places, one_slot: Running) -> None:
    """HIDDEN: a dead client whose end is swallowed holds its slot until the fault is healed; then it is free again.

    The swallowing is a black hole (`timeout` 0) upstream, which would still pass the end on, with a
    `slow_close` behind it, which does not.
    """
    place = place_of(one_slot.address)
    with holder(place.address) as client:
        place.inject("timeout", "upstream", timeout=0)
        place.inject("slow_close", "upstream", delay=600_000)
        die(client)
        assert held(one_slot)
        place.heal()
        wait_until_free(one_slot)


def test_slow_close_holds_the_slot(place_of: Places, one_slot: Running) -> None:
    """HIDDEN: where only the closing is slow a dead client holds its slot as well, until it is healed."""
    place = place_of(one_slot.address)
    with holder(place.address) as client:
        place.inject("slow_close", "upstream", delay=600_000)
        die(client)
        assert held(one_slot)
        place.heal()
        wait_until_free(one_slot)
