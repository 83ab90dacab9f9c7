"""What the client of the package mcp makes of each fault of HTTP, event streams and JSON-RPC before a tool server.

Both eras of the protocol: `legacy` has sessions, and replies come as event streams; `2026-07-28` has neither. The
server counts its executions, so what the client is not told shows there.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError

from tests.taxonomy.layer7 import Layer7
from tests.taxonomy.place import WITHIN_S
from tests.taxonomy.tools import Tools, tools

SHORT_S = 1.0
LEGACY, MODERN = "legacy", "2026-07-28"
CALLS = {"where": {"rpc": "tools/call"}}
INTERNAL, PARSE, CLOSED, TIMED_OUT = -32603, -32700, -32000, -32001

eras = pytest.mark.parametrize("era", [LEGACY, MODERN])
_fresh = itertools.count(1000)
Act = Callable[[Client], Awaitable[Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    """A server of tools that counts."""
    with tools(tmp_path_factory.mktemp("tools")) as made:
        yield made


@pytest.fixture
def place(layer7_of: Callable[[str], Layer7], server: Tools) -> Layer7:
    """A place that reads HTTP in front of it."""
    return layer7_of(server.address)


@pytest.fixture
def a() -> int:
    """A number that no other test adds."""
    return next(_fresh)


def client(place: Layer7, era: str) -> Client:
    """A client of the place."""
    return Client(f"{place.url}/mcp", mode=era, read_timeout_seconds=WITHIN_S)


async def add(client: Client, a: int, b: int = 1, timeout_s: float = WITHIN_S) -> int:
    """Have it added; what the caller takes the sum to be."""
    result = await client.call_tool("add", {"a": a, "b": b}, timeout_s)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return int(result.structured_content["result"])


def within(place: Layer7, era: str, act: Act) -> Any:
    """What `act` gives in a session whose client, once all is healed, goes on to be right."""

    async def run() -> Any:
        async with client(place, era) as one:
            given = await act(one)
            struck = place.struck
            place.heal()
            assert await add(one, 2, 2) == 4
            return given, struck

    return asyncio.run(run())


def failing(code: int, a: int) -> Act:
    """Have something added, which is told as an error with this code; its message."""

    async def act(one: Client) -> str:
        with pytest.raises(MCPError) as told:
            await add(one, a, timeout_s=SHORT_S if code == TIMED_OUT else WITHIN_S)
        assert told.value.error.code == code
        return told.value.error.message

    return act


@eras
@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_error_status(server: Tools, place: Layer7, a: int, era: str, status: int) -> None:
    """HIDDEN: any status is the same MCPError, without the status and its Retry-After; nothing is tried again."""
    place.inject("http_reply", {"status": status, "retry_after": 1}, **CALLS)
    told = within(place, era, failing(INTERNAL, a))
    assert told == ("Server returned an error response", (1, 1))
    assert server.added(a) == 0


@eras
@pytest.mark.parametrize("what", ["HTML", "nothing"])
def test_status_200_and_no_result(server: Tools, place: Layer7, a: int, era: str, what: str) -> None:
    """A page, or nothing at all, with status 200 is an MCPError that names the content type."""
    if what == "HTML":
        place.inject(
            "http_reply", {"status": 200, "content_type": "text/html", "body": "<html></html>"}, **CALLS
        )
    else:
        place.inject("http_empty", {"what": "body"}, **CALLS)
    message, struck = within(place, era, failing(-32600, a))
    assert message.startswith("Unexpected content type:")
    assert struck == (1, 1)
    assert server.added(a) == 0


@eras
def test_a_reply_later_than_the_timeout(server: Tools, place: Layer7, a: int, era: str) -> None:
    """HIDDEN: a late reply is an MCPError that says `timed out`, though the tool ran; the session goes on."""
    place.inject("http_delay", {"delay": 60_000}, **CALLS)
    message, struck = within(place, era, failing(TIMED_OUT, a))
    assert message == "Request 'tools/call' timed out"
    assert struck == (1, 1)
    server.wait_added(a, 1)


@eras
@pytest.mark.parametrize("reached", [False, True])
def test_an_error_of_the_tool(server: Tools, place: Layer7, a: int, era: str, reached: bool) -> None:
    """HIDDEN: a tool's error is a result, no exception; whether the tool ran before is not told."""

    async def act(one: Client) -> tuple[bool, str]:
        result = await one.call_tool("add", {"a": a, "b": 1})
        return bool(result.is_error), getattr(result.content[0], "text", "")

    place.inject("tool_error", {"message": "no disk", "reached": reached}, where={"tool": "add"})
    assert within(place, era, act) == ((True, "no disk"), (1, 1))
    server.wait_added(a, int(reached))


@eras
@pytest.mark.parametrize("reached", [False, True])
def test_an_error_of_json_rpc(server: Tools, place: Layer7, a: int, era: str, reached: bool) -> None:
    """HIDDEN: an error is an MCPError with its code and message; whether the tool ran before is not told."""
    place.inject("rpc_error", {"code": -32050, "message": "no disk", "reached": reached}, **CALLS)
    assert within(place, era, failing(-32050, a)) == ("no disk", (1, 1))
    server.wait_added(a, int(reached))


@eras
@pytest.mark.parametrize("what", ["no_result", "null_result", "wrong_type", "cut"])
def test_an_answer_that_is_none(server: Tools, place: Layer7, a: int, era: str, what: str) -> None:
    """An answer without a result, with null or a number as one, or JSON that breaks off, is a parse error."""
    place.inject("rpc_malformed", {"what": what}, **CALLS)
    message, struck = within(place, era, failing(PARSE, a))
    assert message.startswith("Failed to parse JSON response")
    assert struck == (1, 1)
    assert server.added(a) == 0


@eras
def test_an_answer_to_another_request(place: Layer7, a: int, era: str) -> None:
    """An answer that bears another id is dropped without a word; the call waits for its time-out."""
    place.inject("rpc_malformed", {"what": "other_id"}, **CALLS)
    message, struck = within(place, era, failing(TIMED_OUT, a))
    assert message == "Request 'tools/call' timed out"
    assert struck == (1, 1)


BROKEN = {"close": httpx2.RemoteProtocolError, "reset": httpx2.ReadError}


def breaks(place: Layer7, era: str, a: int, how: str) -> None:
    """Have something added, and see the whole client go: even a call that is not struck any more."""

    async def run() -> None:
        async with client(place, era) as one:
            try:
                await add(one, a)
            finally:
                assert place.struck == (1, 1)
                place.heal()

    with pytest.RaisesGroup(BROKEN[how], flatten_subgroups=True):
        asyncio.run(run())
    assert asyncio.run(again(place, era)) == 4


async def again(place: Layer7, era: str) -> int:
    """What a new client is answered."""
    async with client(place, era) as another:
        return await add(another, 2, 2)


@eras
@pytest.mark.parametrize("how", list(BROKEN))
def test_a_lost_request_ends_the_client(server: Tools, place: Layer7, a: int, era: str, how: str) -> None:
    """A connection that breaks under a call ends the client, with all its calls, in an ExceptionGroup.

    No MCPError is raised where the call is made: the call is cancelled.
    """
    place.inject("request_lost", {"how": how}, **CALLS)
    breaks(place, era, a, how)
    assert server.added(a) == 0


@eras
@pytest.mark.parametrize("how", list(BROKEN))
def test_a_lost_reply_ends_the_client(server: Tools, place: Layer7, a: int, era: str, how: str) -> None:
    """HIDDEN: the same, though the tool ran: who starts anew and asks again has it run twice."""
    place.inject("reply_lost", {"how": how}, **CALLS)
    breaks(place, era, a, how)
    server.wait_added(a, 1)


@eras
@pytest.mark.parametrize("fault", ["request_lost", "reply_lost"])
def test_a_call_that_hangs(server: Tools, place: Layer7, a: int, era: str, fault: str) -> None:
    """HIDDEN: what hangs is `timed out`, whether the tool ran or not; the session goes on meanwhile."""

    async def run() -> None:
        async with client(place, era) as one:
            await failing(TIMED_OUT, a)(one)
            assert await add(one, 2, 2) == 4

    place.inject(fault, {"how": "hang"}, where={"rpc": "tools/call", "first": 1})
    asyncio.run(run())
    assert place.struck == (2, 1)
    server.wait_added(a, int(fault == "reply_lost"))


def test_a_call_that_comes_twice(server: Tools, place: Layer7, a: int) -> None:
    """HIDDEN: the client makes one call and has one right result; the tool ran twice."""
    place.inject("request_twice", **CALLS)
    sent, (matched, _) = within(place, MODERN, lambda one: add(one, a))
    assert (sent, matched) == (a + 1, 1)
    server.wait_added(a, 2)


def test_a_call_of_a_session_that_comes_twice(server: Tools, place: Layer7, a: int) -> None:
    """HIDDEN: in a session the tool runs twice too, and the first call may get no reply: their ids are the same."""

    async def act(one: Client) -> int | None:
        try:
            return await add(one, a, timeout_s=1.0)
        except MCPError as error:
            assert error.error.code == TIMED_OUT
            return None

    place.inject("request_twice", **CALLS)
    told, (matched, _) = within(place, LEGACY, act)
    assert told in (None, a + 1)
    assert matched == 1
    server.wait_added(a, 2)


def test_a_result_that_is_replayed(server: Tools, place: Layer7, a: int) -> None:
    """HIDDEN: over event streams an earlier result is taken for this call's: the client gives it this one's id."""

    async def act(one: Client) -> bool:
        sums = []
        for b in range(100):  # the client may ask again before the end of the first reply has come
            sums.append(await add(one, a, b))
            if sums[-1] != a + b:
                return sums[-1] in sums[:-1]
        return False

    place.inject("reply_replayed", **CALLS)
    replayed, (matched, applied) = within(place, LEGACY, act)
    assert replayed
    assert applied == 1
    assert server.added(a) == matched


def test_a_json_result_that_is_replayed(server: Tools, place: Layer7, a: int) -> None:
    """HIDDEN: in JSON an earlier result bears another id: it is dropped, the call times out, and the tool ran."""

    async def act(one: Client) -> str:
        assert await add(one, a) == a + 1
        return str(await failing(TIMED_OUT, a)(one))

    place.inject("reply_replayed", **CALLS)
    message, struck = within(place, MODERN, act)
    assert message == "Request 'tools/call' timed out"
    assert struck == (2, 1)
    assert server.added(a) == 2


async def note(client: Client, text: str) -> str:
    """Have something remembered; what the caller's session remembers by now."""
    result = await client.call_tool("note", {"text": text})
    assert result.structured_content is not None
    return str(result.structured_content["result"])


def test_another_session(place: Layer7) -> None:
    """HIDDEN: a call that bears another client's session is served there: its state is read, and changed."""

    async def run() -> list[str]:
        async with client(place, LEGACY) as one, client(place, LEGACY) as other:
            said = [await note(one, "mine"), await note(other, "theirs")]
            place.inject("session_swap", where={"tool": "note"})
            said += [await note(one, "1"), await note(other, "2")]  # the first id is not swapped, but learnt
            assert place.struck == (2, 1)
            place.heal()
            return [*said, await note(one, "3"), await note(other, "4")]

    said = asyncio.run(run())
    assert said == ["mine", "theirs", "mine, 1", "mine, 1, 2", "mine, 1, 2, 3", "theirs, 4"]


def test_an_unknown_session(server: Tools, place: Layer7, a: int) -> None:
    """A session that the server does not know is an MCPError; the client goes on with its own once healed."""
    place.inject("session_swap", {"to": "unknown"}, **CALLS)
    assert within(place, LEGACY, failing(-32600, a)) == ("Session not found", (1, 1))
    assert server.added(a) == 0


CUTS: list[tuple[str, dict[str, Any]]] = [
    *(("sse_cut", {"events": 0, "how": how}) for how in ("clean", "frame", "close")),
    *(("http_truncate", {"bytes": 40, "length": length}) for length in ("right", "wrong")),
    ("sse_error", {"events": 0}),
]


@pytest.mark.parametrize(("fault", "attributes"), CUTS)
def test_a_stream_that_ends_before_its_result(
    server: Tools, place: Layer7, a: int, fault: str, attributes: dict[str, Any]
) -> None:
    """HIDDEN: however the stream of a reply ends early it is one MCPError; that the tool ran is not told."""
    place.inject(fault, attributes, **CALLS)
    message, struck = within(place, LEGACY, failing(CLOSED, a))
    assert message == "SSE stream ended without a response"
    assert struck == (1, 1)
    server.wait_added(a, 1)


def test_a_result_that_is_cut_with_a_right_length(server: Tools, place: Layer7, a: int) -> None:
    """HIDDEN: JSON that breaks off is a parse error; that the tool ran is not told."""
    place.inject("http_truncate", {"bytes": 60}, **CALLS)
    message, struck = within(place, MODERN, failing(PARSE, a))
    assert message.startswith("Failed to parse JSON response")
    assert struck == (1, 1)
    server.wait_added(a, 1)


def test_a_result_that_is_cut_with_a_wrong_length(server: Tools, place: Layer7, a: int) -> None:
    """HIDDEN: a body shorter than its length ends the client like a connection that breaks; the tool ran."""
    place.inject("http_truncate", {"bytes": 60, "length": "wrong"}, **CALLS)
    breaks(place, MODERN, a, "close")
    server.wait_added(a, 1)


@eras
def test_a_result_that_is_edited(place: Layer7, a: int, era: str) -> None:
    """HIDDEN: another number in the result is believed."""
    attributes = {"pointer": "/result/structuredContent/result", "action": "set", "value": 77}
    place.inject("json_edit", attributes, **CALLS)
    assert within(place, era, lambda one: add(one, a)) == (77, (1, 1))


@eras
@pytest.mark.parametrize("action", ["nan", "drop"])
def test_a_result_of_the_wrong_type(place: Layer7, a: int, era: str, action: str) -> None:
    """A result that the tool's own schema forbids (NaN, nothing) is a RuntimeError: the client checks it."""

    async def act(one: Client) -> None:
        with pytest.raises(RuntimeError, match="Invalid structured content"):
            await add(one, a)

    place.inject("json_edit", {"pointer": "/result/structuredContent/result", "action": action}, **CALLS)
    assert within(place, era, act) == (None, (1, 1))


@eras
def test_a_call_that_is_edited(server: Tools, place: Layer7, a: int, era: str) -> None:
    """HIDDEN: a tool that is given other arguments runs with them, and its result is believed."""
    attributes = {"pointer": "/params/arguments/a", "action": "scale", "factor": 1000}
    place.inject("json_edit", attributes, stream="upstream", **CALLS)
    assert within(place, era, lambda one: add(one, a)) == (1000 * a + 1, (1, 1))
    server.wait_added(1000 * a, 1)
