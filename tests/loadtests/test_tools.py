"""Tool users against real MCP servers of the package mcp, and against ones that answer in unusual ways."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import metrics
from tests.demo.serving import running
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.struck import places
from tests.loadtests.unruly import Request, http, tcp
from tests.taxonomy.tools import tools

SESSIONS, SINGLE = "2025-11-25", "2026-07-28"
ERAS = {"sessions": SESSIONS, "single": SINGLE}
CALLS = 4
ADD = {"name": "add", "arguments": {"a": "${number}", "b": 0}, "expect": "${number}"}
KEYED = {"name": "a", "arguments": {"key": "${key}", "id": "${id}"}}

Said = list[tuple[str, dict[str, Any]]]
"""Heads and JSON bodies of requests, in order."""


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request: of a tool, its text is the tool's name."""
    result: dict[str, Any] = {"tools": []}
    if message["method"] == "initialize":
        result = {
            "protocolVersion": SESSIONS,
            "capabilities": {},
            "serverInfo": {"name": "s", "version": "1"},
        }
    elif message["method"] == "tools/call":
        result = {"content": [{"type": "text", "text": message["params"]["name"]}]}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def _json(request: Request, message: dict[str, Any]) -> None:
    request.reply(200, json.dumps(message).encode(), Content_Type="application/json; charset=utf-8")


def _plain(request: Request) -> dict[str, Any] | None:
    """Answer what is no call; the message of a call."""
    if request.head.startswith("DELETE "):
        request.reply(405)
        return None
    message: dict[str, Any] = json.loads(request.body)
    if "id" not in message:
        request.reply(202)
    elif message["method"] == "tools/call":
        return message
    else:
        _json(request, _answer(message))
    return None


def _chatty(request: Request) -> None:
    """Says other things on the stream before the answer, in pieces, and keeps the connection after it."""
    message = _plain(request)
    if message is None:
        return
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
    asks = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    text = ": ping\r\n\r\nevent: other\r\ndata: {}\r\n\r\nid: 7\r\ndata:\r\n\r\n"
    for each in (progress, asks, _answer(message)):
        text += f"event: message\r\ndata: {json.dumps(each)}\r\n\r\n"
    request.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for at in range(0, len(text), 37):
        piece = text[at : at + 37].encode()
        request.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    request.send(b"0\r\n\r\n")


def _keeping(said: Said) -> Callable[[Request], None]:
    """Keeps what it was asked, and fails each call's first try with 500."""
    seen: set[str] = set()

    def answer(request: Request) -> None:
        message = _plain(request)
        if message is None:
            return
        said.append((request.head, message))
        call = message["params"]["arguments"]["id"]
        if call in seen:
            _json(request, _answer(message))
        else:
            seen.add(call)
            request.reply(500)

    return answer


@pytest.fixture(scope="module")
def said() -> dict[str, Said]:
    """What the keeping servers were asked, by manner."""
    return {"naive": [], "careful": []}


@pytest.fixture(scope="module")
def load(said: dict[str, Said], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A load on all of them, ended once each workload has had its users."""
    with contextlib.ExitStack() as stack:
        folder = tmp_path_factory.mktemp("tools")
        demo = stack.enter_context(running(folder, "tools", "--exit-with-stdin"))
        place = stack.enter_context(places(folder))(demo.url)
        place.inject("session_swap", {"to": "unknown"}, where={"tool": "record", "every": 2})
        stock = {
            "stock-streams": stack.enter_context(tools(tmp_path_factory.mktemp("streams"))),
            "stock-json": stack.enter_context(tools(tmp_path_factory.mktemp("json"), "--json")),
        }
        common: dict[str, Any] = {"calls": CALLS, "timeout": "30s", "backoff": "20ms", "arrivals": "2/s"}
        workloads = []
        for era, protocol in ERAS.items():
            for manner in ("naive", "careful"):
                own = {**common, "client": manner, "protocol": protocol}
                workloads.append(workload(f"demo-{era}-{manner}", demo.url, "tools", **own))
                for name, server in stock.items():
                    url = f"http://{server.address}"
                    workloads.append(workload(f"{name}-{era}-{manner}", url, "tools", tools=[ADD], **own))
        workloads.append(workload("lost-session", place.url, "tools", retries=8, **common))
        workloads.append(
            workload("chatty", stack.enter_context(http(_chatty)), "tools", tools=[{"name": "a"}], **common)
        )
        for manner, kept in said.items():
            url = stack.enter_context(http(_keeping(kept)))
            workloads.append(
                workload(
                    f"keeping-{manner}",
                    url,
                    "tools",
                    tools=[KEYED],
                    client=manner,
                    headers={"Authorization": "Bearer x"},
                    **common,
                )
            )
        load = stack.enter_context(locust(tmp_path_factory.mktemp("load"), workloads=workloads, drain_s=60.0))
        load.begin("baseline")
        wait_until(lambda: load.receiver.count(metrics.ARRIVALS) >= 3 * len(workloads), "arrivals")
        assert load.stop() == 0, load.log
        yield load


def _finals(load: Load, name: str) -> list[Row]:
    rows = load.rows(workload=name, final=True)
    assert rows
    return rows


@pytest.mark.parametrize("manner", ["naive", "careful"])
@pytest.mark.parametrize("era", ERAS)
def test_the_demos_tools(load: Load, era: str, manner: str) -> None:
    """Each request succeeds at once, each result is right and echoes its nonce, each entry was executed once."""
    name = f"demo-{era}-{manner}"
    rows = _finals(load, name)
    assert {(row["outcome"], row["attempt"], row["status"]) for row in rows} <= {
        ("ok", 0, 200),
        ("ok", 0, 202),
    }
    calls = [row for row in rows if row["expected"] is not None]
    assert calls
    assert {row["reward"] for row in calls} == {1.0}
    assert all(row["nonce"] == row["reply_nonce"] for row in rows if row["step"])
    asked = [row for row in rows if row["operation"] == metrics.EXECUTIONS]
    recorded = [row for row in rows if row["operation"] == "record"]
    assert {(row["reward"], row["done"]) for row in asked} == {(1.0, True)}
    assert sorted(row["nonce"] for row in asked) == sorted(row["nonce"] for row in recorded)
    begun = [row for row in rows if row["operation"] in ("initialize", "close")]
    users = {row["user"] for row in rows}
    assert len(begun) == (2 * len(users) if era == "sessions" else 0)


@pytest.mark.parametrize("manner", ["naive", "careful"])
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("server", ["stock-streams", "stock-json"])
def test_another_server_of_the_package(load: Load, server: str, era: str, manner: str) -> None:
    """Declared tools are called by both generations, in JSON and as streams, and their results are checked."""
    name = f"{server}-{era}-{manner}"
    rows = _finals(load, name)
    assert {row["outcome"] for row in rows} == {"ok"}
    calls = [row for row in rows if row["operation"] == "add"]
    assert {(row["reward"], row["expected"], row["item"]) for row in calls} == {(1.0, 1.0, "add")}
    assert len(calls) == CALLS * len({row["user"] for row in rows})
    streams = load.receiver.count(metrics.STREAMS, workload=name, terminal="true")
    assert (streams > 0) is (server == "stock-streams" and era == "sessions")


def test_the_requests_of_a_session_come_in_turn(load: Load) -> None:
    """Each is due when the one before it ended, in the order of the session."""
    for name in ("demo-sessions-naive", "demo-single-careful"):
        rows = _finals(load, name)
        for user in {row["user"] for row in rows}:
            own = [row for row in rows if row["user"] == user]
            assert [row["intended_start"] for row in own] == sorted(row["intended_start"] for row in own)


def test_a_lost_session_is_begun_anew(load: Load) -> None:
    """After 404 the careful client initializes again and makes the call again; nothing is executed twice."""
    rows = load.rows(workload="lost-session")
    lost = [row for row in rows if row["error_type"] == "404"]
    assert lost
    assert {row["outcome"] for row in rows if row["final"]} == {"ok"}
    begun = [row for row in rows if row["operation"] == "initialize"]
    assert len(begun) == len({row["user"] for row in rows}) + len(lost)
    assert {row["reward"] for row in rows if row["operation"] == metrics.EXECUTIONS} == {1.0}


def test_what_a_server_says_besides_is_passed_over(load: Load) -> None:
    """Notifications, requests, comments and other events on a stream are no answers; the connection is kept."""
    rows = _finals(load, "chatty")
    assert {(row["outcome"], row["attempt"]) for row in rows if row["operation"] != "close"} == {("ok", 0)}
    assert len({row["connection"] for row in rows}) < len(rows)


def test_keys(load: Load, said: dict[str, Said]) -> None:
    """The careful client's key is the same for both tries, in three places; the naive one sends none."""
    assert _finals(load, "keeping-careful")
    for manner, requests in said.items():
        by_call: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for head, message in requests:
            by_call.setdefault(message["params"]["arguments"]["id"], []).append((head, message))
        assert len(by_call) >= 2 * CALLS
        for call, tries in by_call.items():
            assert len(tries) == 2
            arguments = [message["params"]["arguments"]["key"] for _, message in tries]
            metas = [message["params"]["_meta"] for _, message in tries]
            headers = [head for head, _ in tries if "Idempotency-Key:" in head]
            ids = [message["id"] for _, message in tries]
            assert all("Authorization: Bearer x\r\n" in head for head, _ in tries)
            assert len(set(ids)) == 2
            assert len({meta["nonce"] for meta in metas}) == 1
            if manner == "careful":
                assert arguments == [meta["idempotencyKey"] for meta in metas] == [call, call]
                assert all(f"Idempotency-Key: {call}\r\n" in head for head in headers)
                assert len(headers) == 2
            else:
                assert len(set(arguments)) == 2
                assert not headers
                assert not any("idempotencyKey" in meta for meta in metas)
                assert all(isinstance(ident, int) for ident in ids)


def test_metrics_name_the_tool_and_the_protocol(load: Load) -> None:
    """Names are those of the semantic conventions; the history and the metric count the same operations."""
    points = load.receiver.points(metrics.TOOL_DURATION, workload="demo-single-careful")
    named = {(at["mcp.method.name"], at.get("gen_ai.tool.name")) for at, _ in points}
    assert ("tools/list", None) in named
    assert ("tools/call", "record") in named
    assert {at["mcp.protocol.version"] for at, _ in points} == {SINGLE}
    rows = load.rows()
    finals = [row for row in rows if row["final"] and row["operation"] != "close"]
    assert load.receiver.count(metrics.TOOL_DURATION) == len(finals)
    begun = [row for row in rows if row["operation"] == "initialize"]
    assert load.receiver.count(metrics.HTTP_REQUEST) == len(rows) + len(begun)
    assert load.receiver.count(metrics.TOOL_SESSION) == load.receiver.count(metrics.ARRIVALS)


def test_a_session_that_is_cut_off_is_unfinished(tmp_path: Path) -> None:
    """What the end of the run cuts off is in the history and in the metrics, once each, and bad."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(tcp(_listen))
        workloads = [workload("silent", url, "tools", timeout="60s", arrivals="20/s")]
        load = stack.enter_context(locust(tmp_path, workloads=workloads, drain_s=0.0))
        load.begin("baseline")
        wait_until(lambda: load.receiver.count(metrics.ARRIVALS) >= 3, "arrivals")
        assert load.stop() == 0, load.log
        rows = load.rows()
        assert {(row["operation"], row["outcome"]) for row in rows} == {("initialize", "unfinished")}
        assert load.receiver.count(metrics.TOOL_DURATION, type="unfinished") == len(rows)
        assert load.receiver.count(metrics.TOOL_SESSION, type="unfinished") == len(rows)
        assert load.receiver.count(metrics.HTTP_REQUEST, type="unfinished") == len(rows)


def _listen(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass
