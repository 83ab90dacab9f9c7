"""Tool users and each fault that MCP over HTTP can meet, both generations, through the embedded proxy.

One Locust process for all: a workload for each fault, generation and manner, of one session each. The faults
strike each try of `record` and nothing else, so the server can be asked how often it was executed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from mcp import Client, MCPError

from loadtests import metrics
from probes.episodes import CHECKS
from tests.demo.serving import Running, running
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.struck import places
from tests.loadtests.unruly import refused, tcp
from tests.taxonomy.layer7 import Layer7

SESSIONS, SINGLE = "2025-11-25", "2026-07-28"
ERAS = {"sessions": SESSIONS, "single": SINGLE}
TRIES = 2
LONG, SHORT = "30s", "1s"
RECORD = {
    "name": "record",
    "arguments": {"entry": "${id}"},
    "expect": "${id}",
    "executions": {"tool": "executions", "arguments": {"entry": "${id}"}},
}
HTML = {"status": 200, "content_type": "text/html", "body": "<html></html>"}

Rows = dict[str, list[Row]]
Ending = tuple[str | None, int]
"""The error type of the last try, and its number."""


@dataclass(frozen=True)
class Case:
    """A fault, how each manner ends (naive, careful), and how often the tool then was executed."""

    type: str
    attributes: dict[str, Any]
    ends: tuple[Ending, Ending]
    executed: tuple[int, int] = (0, 0)
    eras: tuple[str, ...] = ("sessions", "single")

    def timeout(self, manner: str) -> str:
        """Short only where nothing comes: a busy machine is no fault."""
        return SHORT if self.ends[manner == "careful"][0] == "timeout" else LONG


def both(error_type: str) -> tuple[Ending, Ending]:
    """Each manner tries again, in vain."""
    return (error_type, TRIES - 1), (error_type, TRIES - 1)


ONLY_SESSIONS, ONLY_SINGLE = ("sessions",), ("single",)
LOST = (TRIES, 1)
CASES = {
    "429": Case("http_reply", {"status": 429}, both("429")),
    "500": Case("http_reply", {"status": 500}, both("500"), eras=ONLY_SINGLE),
    "529": Case("http_reply", {"status": 529}, both("529"), eras=ONLY_SESSIONS),
    "400": Case("http_reply", {"status": 400}, (("400", 1), ("400", 0)), eras=ONLY_SINGLE),
    "500-done": Case("http_reply", {"status": 500, "reached": True}, both("500"), LOST),
    "202": Case("http_reply", {"status": 202}, both("protocol_error")),
    "html": Case("http_reply", HTML, both("protocol_error")),
    "empty": Case("http_empty", {"what": "body"}, both("protocol_error")),
    "late": Case("http_delay", {"delay": 600_000}, both("timeout"), LOST),
    "cut-right": Case("http_truncate", {"bytes": 60}, both("incomplete_stream"), LOST, eras=ONLY_SESSIONS),
    "cut-json": Case("http_truncate", {"bytes": 60}, both("protocol_error"), LOST, eras=ONLY_SINGLE),
    "cut-wrong": Case(
        "http_truncate",
        {"bytes": 60, "length": "wrong"},
        both("incomplete_stream"),
        LOST,
        eras=ONLY_SESSIONS,
    ),
    "cut-json-wrong": Case(
        "http_truncate",
        {"bytes": 60, "length": "wrong"},
        both("connection_closed"),
        LOST,
        eras=ONLY_SINGLE,
    ),
    "tool-error": Case("tool_error", {}, ((None, 0), ("tool_error", 0))),
    "tool-error-done": Case("tool_error", {"reached": True}, ((None, 0), ("tool_error", 0)), (1, 1)),
    "rpc-internal": Case("rpc_error", {"code": -32603}, both("-32603")),
    "rpc-params": Case("rpc_error", {"code": -32602}, (("-32602", 1), ("-32602", 0)), eras=ONLY_SINGLE),
    "rpc-own": Case("rpc_error", {"code": 7}, (("rpc_error", 1), ("rpc_error", 0)), eras=ONLY_SESSIONS),
    **{
        f"malformed-{what}": Case("rpc_malformed", {"what": what}, both("protocol_error"))
        for what in ("no_result", "null_result", "wrong_type", "cut")
    },
    "other-id": Case("rpc_malformed", {"what": "other_id"}, (("timeout", 1), ("protocol_error", 1))),
    "nan": Case(
        "json_edit",
        {"pointer": "/result/structuredContent/executions", "action": "nan"},
        both("protocol_error"),
        LOST,
    ),
    "request-closed": Case("request_lost", {"how": "close"}, both("connection_closed")),
    "request-reset": Case("request_lost", {"how": "reset"}, both("connection_reset")),
    "request-hangs": Case("request_lost", {"how": "hang"}, both("timeout")),
    "reply-closed": Case("reply_lost", {"how": "close"}, both("connection_closed"), LOST),
    "reply-reset": Case("reply_lost", {"how": "reset"}, both("connection_reset"), LOST),
    "reply-hangs": Case("reply_lost", {"how": "hang"}, both("timeout"), LOST),
    "sse-clean": Case("sse_cut", {"how": "clean"}, both("incomplete_stream"), LOST, eras=ONLY_SESSIONS),
    "sse-frame": Case("sse_cut", {"how": "frame"}, both("incomplete_stream"), LOST, eras=ONLY_SESSIONS),
    "sse-close": Case("sse_cut", {"how": "close"}, both("incomplete_stream"), LOST, eras=ONLY_SESSIONS),
    "sse-error": Case("sse_error", {}, both("incomplete_stream"), LOST, eras=ONLY_SESSIONS),
    "sse-stall": Case("sse_stall", {}, both("timeout"), LOST, eras=ONLY_SESSIONS),
    "unknown-session": Case("session_swap", {"to": "unknown"}, both("404"), eras=ONLY_SESSIONS),
}
MANNERS = ("naive", "careful")
pytestmark = pytest.mark.timeout(300)
NAMES = [f"{case}-{era}-{manner}" for case, each in CASES.items() for era in each.eras for manner in MANNERS]


def _hear(connection: socket.socket) -> None:
    connection.recv(65536)


def _listen(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demo tools."""
    with running(tmp_path_factory.mktemp("tools"), "tools", "--exit-with-stdin") as made:
        yield made


@pytest.fixture(scope="module")
def load(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A load on all of them, ended once each workload has had a user."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(places(tmp_path_factory.mktemp("proxy")))
        workloads = []
        common = {"arrivals": "0.1/s", "backoff": "20ms", "retries": TRIES - 1, "tools": [RECORD]}

        def add(name: str, url: str, era: str, manner: str, **more: Any) -> None:
            options = {"calls": 1, "timeout": LONG, **common, **more}
            workloads.append(
                workload(f"{name}-{era}-{manner}", url, "tools", client=manner, protocol=ERAS[era], **options)
            )

        for name, case in CASES.items():
            place = made(server.url)
            place.inject(case.type, case.attributes, where={"tool": "record"})
            for era in case.eras:
                for manner in MANNERS:
                    add(name, place.url, era, manner, timeout=case.timeout(manner))
        for era in ERAS:
            for manner in MANNERS:
                single = era == "single"
                own = {
                    "request_twice": {"calls": 2, "timeout": LONG if single else SHORT},
                    "reply_replayed": {"calls": 8, "timeout": LONG},
                    "session_swap": {"calls": 2, "timeout": LONG if single else SHORT},
                }
                if single and manner == "naive":  # it waits for the answers that it has dropped
                    own["reply_replayed"] = {"calls": 2, "timeout": SHORT}
                for type_, options in own.items():
                    place = made(server.url)
                    place.inject(type_, {}, where={"tool": "record"})
                    add(type_, place.url, era, manner, **options)
        unruly = {
            "silent": stack.enter_context(tcp(_listen)),
            "closes": stack.enter_context(tcp(_hear)),
            "noise": stack.enter_context(tcp(lambda s: s.sendall(b"\x00" * 99))),
            "refused": refused(),
        }
        for name, url in unruly.items():
            for manner in MANNERS:
                add(name, url, "sessions", manner, timeout="500ms" if name == "silent" else LONG)
        folder = tmp_path_factory.mktemp("struck")
        load = stack.enter_context(locust(folder, workloads=workloads, drain_s=60.0))
        load.begin("fault")
        wait_until(lambda: load.receiver.count(metrics.ARRIVALS) >= len(workloads), "arrivals")
        assert load.stop() == 0, load.log
        yield load


@pytest.fixture(scope="module")
def rows(load: Load) -> Rows:
    """The history, by workload."""
    found: Rows = {}
    for row in load.rows():
        found.setdefault(row["workload"], []).append(row)
    return found


def _of(rows: Rows, name: str, **wanted: Any) -> list[Row]:
    """A workload's rows whose columns have the wanted values."""
    return [row for row in rows[name] if all(row[key] == value for key, value in wanted.items())]


def _finals(rows: Rows, name: str, operation: str) -> list[Row]:
    found = _of(rows, name, final=True, operation=operation)
    assert found
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_fault_has_its_name_and_its_executions(rows: Rows, name: str) -> None:
    """Each manner's last try, what the server says of the call, and what the client takes it for."""
    fault, _, manner = name.rsplit("-", 2)
    case, careful = CASES[fault], manner == "careful"
    expected = case.ends[careful]
    for row in _finals(rows, name, "record"):
        assert (row["error_type"], row["attempt"]) == expected
        assert row["outcome"] == ("ok" if expected[0] is None else "error")
    for row in _of(rows, name, operation=metrics.EXECUTIONS, outcome="ok"):
        executed = case.executed[careful]
        if case.timeout(manner) == SHORT:  # on a busy machine a try may end before it has begun
            assert 0 <= row["reward"] <= executed
        else:
            assert row["reward"] == executed
        assert row["done"] is (expected[0] is None)
    if case.timeout(manner) == LONG:
        assert _of(rows, name, operation=metrics.EXECUTIONS, outcome="ok")


def test_a_tools_error_is_an_answer_to_the_naive_and_an_error_to_the_metric(load: Load, rows: Rows) -> None:
    """The naive row is ok and its reward wrong; semantic conventions have `tool_error` all the same."""
    for name in ("tool-error-sessions", "tool-error-single"):
        (naive,) = _finals(rows, f"{name}-naive", "record")
        assert (naive["outcome"], naive["reward"], naive["expected"]) == ("ok", 0.0, 1.0)
        for manner in MANNERS:
            found = load.receiver.count(metrics.TOOL_DURATION, workload=f"{name}-{manner}", type="tool_error")
            assert found == 1


def test_exactly_once_finds_what_was_doubled_or_never_done(load: Load) -> None:
    """Lost replies are doubled by the naive; a tool's error that it takes for an answer was never executed."""
    check = CHECKS["exactly-once"]
    table = load.table

    def violations(name: str) -> tuple[int, int]:
        mask = [row == name for row in table["workload"].to_pylist()]
        found = check(table.filter(mask))
        return found.violations, found.observations

    for era in ERAS:
        assert violations(f"reply-closed-{era}-naive") == (1, 1)
        assert violations(f"reply-closed-{era}-careful") == (0, 1)
        assert violations(f"tool-error-{era}-naive") == (1, 1)
        assert violations(f"tool-error-{era}-careful") == (0, 1)
        assert violations(f"tool-error-done-{era}-naive") == (0, 1)
        assert violations(f"429-{era}-naive") == (0, 1)


@pytest.mark.parametrize("era", ERAS)
def test_a_request_that_comes_twice(rows: Rows, server: Running, era: str) -> None:
    """With a key it is executed once; without one twice, which the replies need not tell.

    In a session the second may come when the session has ended, and is then refused.
    """
    entries = _entries(server)
    for manner in MANNERS:
        struck = _of(rows, f"request_twice-{era}-{manner}", operation="record")
        calls = {f"{row['trace_id']}-{row['step']}" for row in struck}
        assert calls
        for call in calls:
            if manner == "careful":
                assert entries[call] == 1
            elif era == "single":
                wait_until(functools.partial(_twice, server, call), "the second execution")


def _twice(server: Running, call: str) -> bool:
    return _entries(server)[call] >= 2


def _entries(server: Running) -> dict[str, int]:
    entries: dict[str, int] = httpx.get(f"{server.url}/executions", trust_env=False, timeout=30).json()[
        "entries"
    ]
    return entries


@pytest.mark.parametrize("era", ERAS)
def test_a_reply_that_is_replayed(rows: Rows, era: str) -> None:
    """The careful client takes no reply for its own that is another's; on a stream the naive one does."""
    pairs = {
        manner: [
            (row["nonce"], row["reply_nonce"])
            for row in _of(rows, f"reply_replayed-{era}-{manner}", operation="record", outcome="ok")
        ]
        for manner in MANNERS
    }
    assert all(nonce == reply for nonce, reply in pairs["careful"])
    assert any(nonce != reply for nonce, reply in pairs["naive"]) is (era == "sessions")
    errors = {
        row["error_type"]
        for row in _of(rows, f"reply_replayed-{era}-careful", operation="record", outcome="error")
    }
    assert errors == {"protocol_error"}


def test_a_session_of_another(rows: Rows) -> None:
    """A call that bears another session's id ends by some name; where there are no sessions nothing is struck."""
    for manner in MANNERS:
        assert {row["outcome"] for row in _finals(rows, f"session_swap-single-{manner}", "record")} == {"ok"}
        assert len(_finals(rows, f"session_swap-sessions-{manner}", "record")) == 2


@pytest.mark.parametrize(
    ("server_name", "error_types"),
    [
        ("silent", {"timeout"}),
        ("closes", {"connection_closed", "connection_reset"}),
        ("noise", {"protocol_error", "connection_closed", "connection_reset"}),
        ("refused", {"connection_refused"}),
    ],
)
@pytest.mark.parametrize("manner", MANNERS)
def test_servers_that_are_none(rows: Rows, server_name: str, error_types: set[str], manner: str) -> None:
    """Each request that a session has is counted by how it failed, and none is absent."""
    name = f"{server_name}-sessions-{manner}"
    finals = [row for row in _of(rows, name, final=True) if row["attempt"] == TRIES - 1]
    assert {row["operation"] for row in finals} == {"initialize", "tools/list", "record", metrics.EXECUTIONS}
    assert {row["error_type"] for row in finals} <= error_types


@pytest.fixture(scope="module")
def stock_places(
    server: Running, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Layer7]]:
    """Makes places in front of the demo tools, for stock clients."""
    with places(tmp_path_factory.mktemp("stock")) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "era"),
    [
        (name, case.eras[number % len(case.eras)])
        for number, (name, case) in enumerate(CASES.items())
        if case.ends[0][0] != "timeout"  # tests/taxonomy has those
    ],
)
def test_the_naive_manner_takes_for_an_answer_what_the_stock_client_does(
    server: Running, stock_places: Callable[[str], Layer7], name: str, era: str
) -> None:
    """A call that the naive user counts as ok raises nothing in the stock client; all others raise."""
    case, place = CASES[name], stock_places(server.url)
    place.inject(case.type, case.attributes, where={"tool": "record"})

    async def called() -> bool:
        mode = "legacy" if era == "sessions" else SINGLE
        async with Client(f"{place.url}/mcp", mode=mode, read_timeout_seconds=30) as client:
            await client.call_tool("record", {"entry": f"stock {name} {era}"})
        return True

    raised: BaseException | None = None
    try:
        asyncio.run(called())
    except (MCPError, RuntimeError, ExceptionGroup) as error:
        raised = error
    assert (raised is None) is (case.ends[0][0] is None), raised


def test_every_operation_is_told_by_both(load: Load) -> None:
    """Metrics and history agree: one final row and one observation for each operation, and a session for each."""
    rows = load.rows()
    finals = [row for row in rows if row["final"]]
    closes = [row for row in rows if row["operation"] == "close"]
    assert load.receiver.count(metrics.TOOL_DURATION) == len(finals) - len(closes)
    assert load.receiver.count(metrics.ATTEMPTS) == len(rows)
    assert load.receiver.count(metrics.TOOL_SESSION) == load.receiver.count(metrics.ARRIVALS)
    begun = [row for row in rows if row["operation"] == "initialize"]
    sent = load.receiver.count(metrics.HTTP_REQUEST)
    assert len(rows) / 2 < sent <= len(rows) + len(begun), "a try without a session sends nothing"
    assert {row["phase"] for row in rows} == {"fault"}
    assert "generator_error" not in {row["error_type"] for row in rows}
