"""Chat and plain HTTP users against services that behave, and ones that do not: one Locust process for all."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from loadtests import metrics
from loadtests.items import asked_in, completion
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.unruly import Request, http, refused, tcp

RETRIES = 2
RETRY_AFTER_S = 1.5


def _first(request: Request) -> bool:
    """Whether this is the first try of its operation, by the span that it carries."""
    line = next(line for line in request.head.split("\r\n") if line.startswith("traceparent: "))
    return int(line.split("-")[2], 16) == 1


def _answer(request: Request) -> str:
    asked = asked_in(json.loads(request.body)["messages"][0]["content"])
    assert asked is not None
    return completion(asked)


def _events(request: Request) -> list[bytes]:
    """The events of a whole streamed answer; all but the last two are pieces of its text."""
    text = _answer(request)
    pieces = [text[at : at + 20] for at in range(0, len(text), 20)]
    chunks: list[Any] = [
        {"choices": [{"delta": {"content": piece}, "finish_reason": None}]} for piece in pieces
    ]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 20}})
    return [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


def _stream(request: Request, events: list[bytes], *, whole: bool = True) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for event in events:
        request.send(b"%x\r\n%s\r\n" % (len(event), event))
    if whole:
        request.send(b"0\r\n\r\n")


def _good(request: Request) -> None:
    _stream(request, _events(request))


def _busy(request: Request) -> None:
    if _first(request):
        request.reply(429, b"{}", Retry_After=str(RETRY_AFTER_S))
    else:
        _good(request)


def _cut_cleanly(request: Request) -> None:
    _stream(request, _events(request)[:2])


def _cut_off(request: Request) -> None:
    _stream(request, _events(request)[:2], whole=False)
    request.close()


def _stalled(request: Request) -> None:
    _stream(request, _events(request)[:2], whole=False)
    request.connection.recv(1)


def _reset_once(request: Request) -> None:
    if _first(request):
        request.reset()
    else:
        _good(request)


def _closing(request: Request) -> None:
    _good(request)
    request.close()


def _upset(request: Request) -> None:
    _stream(request, [*_events(request)[:2], b'data: {"error": {"message": "overloaded"}}\n\n'])


SERVERS = {
    "good": _good,
    "busy": _busy,
    "failing": lambda request: request.reply(500, b"{}"),
    "forbidding": lambda request: request.reply(403, b"{}"),
    "cut-cleanly": _cut_cleanly,
    "cut-off": _cut_off,
    "stalled": _stalled,
    "reset-once": _reset_once,
    "closing": _closing,
    "upset": _upset,
    "empty": lambda request: request.reply(200, b""),
    "html": lambda request: _stream(request, [b"data: <html>\n\n"]),
}

HTTP_REQUESTS = [
    {"name": "get", "path": "/a"},
    {"name": "head", "method": "HEAD", "path": "/b", "expect_status": 204},
    {"name": "post", "method": "POST", "path": "/c", "body": "text", "headers": {"X-Own": "1"}},
]


def _plain(request: Request) -> None:
    """Answers what it should, but for POST."""
    if request.head.startswith("HEAD /b "):
        request.send(b"HTTP/1.1 204 No\r\n\r\n")
    elif request.head.startswith("GET /a "):
        request.reply(200, b"hello")
    else:
        assert "X-Own: 1" in request.head
        assert request.body == b"text"
        request.reply(404)


@pytest.fixture(scope="module")
def load(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A load on all of them, ended once each workload has had its requests."""
    options: dict[str, Any] = {"retries": RETRIES, "backoff": "20ms", "arrivals": "3/s"}
    with contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(http(answer)) for name, answer in SERVERS.items()}
        urls |= {"refused": refused(), "noise": stack.enter_context(tcp(lambda s: s.sendall(b"\x00" * 99)))}
        workloads = [
            workload(
                f"{name}-{client}",
                url,
                "chat",
                client=client,
                timeout="400ms" if name == "stalled" else "20s",  # the others answer, however late
                **options,
            )
            for name, url in urls.items()
            for client in ("naive", "careful")
        ]
        for api in ("openai", "anthropic"):
            for stream in (True, False):
                name = f"{api}-{'streamed' if stream else 'whole'}"
                workloads.append(
                    workload(name, demos["evals"], "chat", api=api, stream=stream, arrivals="5/s")
                )
        plain = stack.enter_context(http(_plain))
        workloads.append(workload("plain", plain, "http", steps=HTTP_REQUESTS))
        health = [{"name": "health", "path": "/healthz"}]
        workloads.append(workload("health", demos["evals"], "http", steps=health))
        folder = tmp_path_factory.mktemp("chats")
        load = stack.enter_context(locust(folder, workloads=workloads, drain_s=15.0))
        load.begin("baseline")
        wait_until(lambda: load.receiver.count(metrics.ARRIVALS) >= 4 * len(workloads), "arrivals")
        assert load.stop() == 0, load.log
        yield load


def _finals(load: Load, name: str) -> list[Row]:
    rows = load.rows(workload=name, final=True)
    assert rows
    return rows


@pytest.mark.parametrize("name", ["good-naive", "good-careful", "closing-naive", "closing-careful"])
def test_an_answer_that_comes_is_right(load: Load, name: str) -> None:
    """A whole reply is one attempt, and right; a server that closes idle connections costs no retry."""
    for row in _finals(load, name):
        assert (row["outcome"], row["attempt"], row["reward"], row["expected"]) == ("ok", 0, 1.0, 1.0)
        assert row["nonce"] == row["reply_nonce"] == row["item"]


def test_connections_are_kept_and_shared_out(load: Load) -> None:
    """Requests one after the other share a connection; where the server closes, each has a new one."""
    kept = [row["connection"] for row in _finals(load, "good-careful")]
    closed = [row["connection"] for row in _finals(load, "closing-careful")]
    assert len(set(kept)) < len(kept)
    assert len(set(closed)) == len(closed)


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize("how", ["streamed", "whole"])
def test_both_wire_formats_are_spoken(load: Load, api: str, how: str) -> None:
    """Against the demo evals every answer is right, and tokens are counted as the replies count them."""
    name = f"{api}-{how}"
    rows = _finals(load, name)
    assert {(row["outcome"], row["reward"]) for row in rows} == {("ok", 1.0)}
    assert load.receiver.count(metrics.CHAT_DURATION, workload=name) == len(rows)
    assert load.receiver.count(metrics.TOKEN_USAGE, workload=name, type="output") == len(rows)
    chunks = load.receiver.count(metrics.FIRST_CHUNK, workload=name)
    terminal = load.receiver.count(metrics.STREAMS, workload=name, terminal="true")
    assert chunks == terminal == (len(rows) if how == "streamed" else 0)
    for attributes, _ in load.receiver.points(metrics.CHAT_DURATION, workload=name):
        assert attributes["gen_ai.provider.name"] == api
        assert attributes["gen_ai.operation.name"] == "chat"
        assert "error.type" not in attributes


def test_only_a_careful_client_heeds_retry_after(load: Load) -> None:
    """After 429 the careful client waits as long as it is told; the naive one as its backoff says."""
    for client, heeds in (("careful", True), ("naive", False)):
        rows = load.rows(workload=f"busy-{client}")
        ends = {row["user"]: row["end"] for row in rows if row["attempt"] == 0}
        seconds = [row["start"] - ends[row["user"]] for row in rows if row["attempt"] == 1]
        assert seconds
        assert all((pause >= RETRY_AFTER_S - 0.01) is heeds for pause in seconds)
        assert {row["error_type"] for row in rows if row["attempt"] == 0} == {"429"}
        assert {row["outcome"] for row in rows if row["final"]} == {"ok"}


@pytest.mark.parametrize(
    ("server", "naive", "careful"),
    [
        ("failing", ("500", RETRIES), ("500", RETRIES)),
        ("forbidding", ("403", 0), ("403", 0)),
        ("refused", ("connection_refused", RETRIES), ("connection_refused", RETRIES)),
        ("cut-cleanly", (None, 0), ("incomplete_stream", RETRIES)),
        ("cut-off", ("connection_closed", 0), ("connection_closed", RETRIES)),
        ("stalled", ("timeout", 0), ("timeout", RETRIES)),
        ("upset", ("incomplete_stream", 0), ("incomplete_stream", RETRIES)),
        ("html", ("protocol_error", 0), ("protocol_error", RETRIES)),
        ("empty", (None, 0), ("incomplete_stream", RETRIES)),
        ("reset-once", (None, 1), (None, 1)),
    ],
)
def test_failures_are_named_and_tried_again_as_the_sdks_do(
    load: Load, server: str, naive: tuple[str | None, int], careful: tuple[str | None, int]
) -> None:
    """The error type and the number of the last attempt, for each manner."""
    for client, expected in (("naive", naive), ("careful", careful)):
        found = {(row["error_type"], row["attempt"]) for row in _finals(load, f"{server}-{client}")}
        assert found == {expected}


def test_noise_is_no_http(load: Load) -> None:
    """A server that talks something else is a protocol error, or a connection that it reset on us."""
    for client in ("naive", "careful"):
        for row in _finals(load, f"noise-{client}"):
            assert row["error_type"] in ("protocol_error", "connection_reset", "connection_closed")


def test_a_cut_stream_passes_for_an_answer_and_is_counted(load: Load) -> None:
    """The naive client takes a stream without its terminal event for an answer, which then is wrong."""
    rows = _finals(load, "cut-cleanly-naive")
    assert {(row["outcome"], row["reward"], row["expected"]) for row in rows} == {("ok", 0.0, 1.0)}
    assert load.receiver.count(metrics.STREAMS, workload="cut-cleanly-naive", terminal="false") == len(rows)
    assert load.receiver.count(metrics.STREAMS, workload="cut-cleanly-naive", terminal="true") == 0


def test_plain_requests_go_in_order_each_on_its_own_account(load: Load) -> None:
    """Each request is an operation that is due when the one before it ended; a failed one stops none."""
    rows = _finals(load, "plain")
    for user in {row["user"] for row in rows}:
        own = sorted((row for row in rows if row["user"] == user), key=lambda row: row["step"])
        assert [(row["operation"], row["outcome"], row["status"]) for row in own] == [
            ("get", "ok", 200),
            ("head", "ok", 204),
            ("post", "error", 404),
        ]
        assert [row["intended_start"] for row in own[1:]] == [row["end"] for row in own[:-1]]
    assert load.receiver.count(metrics.HTTP_OPERATION, operation="post", type="404") == len(rows) // 3
    assert {row["outcome"] for row in _finals(load, "health")} == {"ok"}


def test_every_attempt_is_told_by_both(load: Load) -> None:
    """Metrics and history agree: one final row for each operation, one request for each attempt."""
    rows = load.rows()
    finals = Counter((row["workload"], row["user"], row["step"]) for row in rows if row["final"])
    assert set(finals.values()) == {1}
    durations = (metrics.CHAT_DURATION, metrics.HTTP_OPERATION)
    assert sum(load.receiver.count(metric) for metric in durations) == len(finals)
    assert load.receiver.count(metrics.ATTEMPTS) == len(rows)
    assert load.receiver.count(metrics.HTTP_REQUEST) == len(rows)
    assert {row["phase"] for row in rows} == {"baseline"}
