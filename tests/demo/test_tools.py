"""The demo tools, by the stock client of the package mcp, in both generations of the protocol."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client

from chaos.demo.executions import Executions, KeyConflict
from loadtests.workspace import Episode, oracle_actions
from tests.demo.serving import Running, running

eras = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
_fresh = itertools.count()


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of the demo tools."""
    with running(tmp_path_factory.mktemp("tools"), "tools") as made:
        yield made


@pytest.fixture
def entry() -> str:
    """An entry that no other test writes down."""
    return f"entry-{next(_fresh)}"


def by(tools: Running, era: str, act: Callable[[Client], Awaitable[Any]]) -> Any:
    """What `act` gives in a session of a stock client."""

    async def run() -> Any:
        async with Client(f"{tools.url}/mcp", mode=era, read_timeout_seconds=30) as client:
            return await act(client)

    return asyncio.run(run())


def _meta(**meta: Any) -> Any:
    """What goes into `_meta`, whose type has none of our names."""
    return meta


async def record(client: Client, entry: str, **meta: Any) -> dict[str, Any]:
    """Write an entry down."""
    result = await client.call_tool("record", {"entry": entry}, meta=_meta(**meta))
    assert not result.is_error, result.content
    return dict(result.structured_content or {})


def counted(tools: Running, entry: str) -> int:
    """How often an entry was written down, by the plain endpoint."""
    said = httpx.get(f"{tools.url}/executions", timeout=30, trust_env=False).json()
    return int(said["entries"].get(entry, 0))


@eras
def test_what_is_there(tools: Running, era: str) -> None:
    """The tools are listed, and `/healthz` answers."""

    async def act(client: Client) -> list[str]:
        return sorted(tool.name for tool in (await client.list_tools()).tools)

    assert by(tools, era, act) == ["compute", "executions", "read", "record", "search"]
    assert httpx.get(f"{tools.url}/healthz", timeout=30, trust_env=False).json() == {"status": "ok"}


@eras
def test_results_are_those_of_the_workspace(tools: Running, era: str) -> None:
    """What a tool finds is what the environment's episode of the same number says; the nonce is echoed."""

    async def act(client: Client) -> None:
        for action in oracle_actions(7, 6):
            arguments: dict[str, Any] = dict(action)
            kind = arguments.pop("kind")
            if kind == "submit":
                continue
            result = await client.call_tool(kind, {"workspace": 7, **arguments}, meta=_meta(nonce=kind))
            assert result.structured_content == {"text": Episode(7).act(action).text, "nonce": kind}

    by(tools, era, act)


@eras
def test_what_cannot_be_done_is_a_tool_error(tools: Running, era: str) -> None:
    """A document that is not there is a result that says so."""

    async def act(client: Client) -> Any:
        return await client.call_tool("read", {"workspace": 1, "document": "doc-99"})

    result = by(tools, era, act)
    assert result.is_error
    assert "expected one of doc-01" in result.content[0].text


@eras
def test_executions_are_counted(tools: Running, entry: str, era: str) -> None:
    """Without a key each call executes; the tool, the other tool and the endpoint agree on how often."""

    async def act(client: Client) -> tuple[list[int], Any]:
        told = [(await record(client, entry))["executions"] for _ in range(3)]
        return told, (await client.call_tool("executions", {"entry": entry})).structured_content

    told, asked = by(tools, era, act)
    assert told == [1, 2, 3]
    assert asked == {"entry": entry, "executions": 3, "nonce": ""}
    assert counted(tools, entry) == 3


@eras
def test_a_key_executes_once(tools: Running, entry: str, era: str) -> None:
    """A second call with the key is given the first one's result; in another session too."""

    async def act(client: Client) -> dict[str, Any]:
        return await record(client, entry, idempotencyKey=f"key of {entry}")

    first, second = by(tools, era, act), by(tools, era, act)
    assert (first["executions"], first["replayed"]) == (1, False)
    assert (second["executions"], second["replayed"]) == (1, True)
    assert counted(tools, entry) == 1


def test_the_key_may_be_a_header(tools: Running, entry: str) -> None:
    """Servers of the field read `Idempotency-Key`; so does this one."""
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "record",
            "arguments": {"entry": entry},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    headers = {
        "Accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "record",
        "Idempotency-Key": f"header of {entry}",
    }
    for replayed in (False, True):
        answer = httpx.post(f"{tools.url}/mcp", json=body, headers=headers, timeout=30, trust_env=False)
        assert answer.json()["result"]["structuredContent"]["replayed"] is replayed
    assert counted(tools, entry) == 1


def test_a_key_for_another_entry_is_refused(tools: Running, entry: str) -> None:
    """Who uses a key for two calls takes them for one, and is told."""

    async def act(client: Client) -> Any:
        await record(client, entry, idempotencyKey=entry)
        return await client.call_tool("record", {"entry": f"{entry}-b"}, meta=_meta(idempotencyKey=entry))

    assert by(tools, "2026-07-28", act).is_error
    assert counted(tools, f"{entry}-b") == 0


def test_memory_is_bounded() -> None:
    """The oldest entries and keys are forgotten; a conflict is told while the key is known."""
    executions = Executions(most=2)
    for name in "abc":
        assert executions.record(name, f"key-{name}") == (1, False)
    assert [executions.of(name) for name in "abc"] == [0, 1, 1]
    assert executions.record("b", "key-b") == (1, True)
    with pytest.raises(KeyConflict, match="was used for entry 'c'"):
        executions.record("d", "key-c")
    assert executions.record("a", "key-a") == (1, False)
    assert (executions.total, executions.replayed) == (4, 1)


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """SIGTERM ends it with 0, also with a session open."""
    with running(tmp_path, "tools") as made:
        initialize = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        }
        accept = {"Accept": "application/json, text/event-stream"}
        begun = httpx.post(f"{made.url}/mcp", json=initialize, headers=accept, timeout=30, trust_env=False)
        session = {**accept, "mcp-session-id": begun.headers["mcp-session-id"]}
        with httpx.stream("GET", f"{made.url}/mcp", headers=session, timeout=30, trust_env=False) as stream:
            assert stream.status_code == 200
            code, _ = made.end(signal.SIGTERM)
        assert code == 0
