"""Prompts of one's own, conversations, chunks: what the history and the metrics say of them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtests import metrics
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.unruly import Request, http

PIECES = 4
PAUSE_S = 0.3
KEY = "sk-test-9876543210"
VARIABLE = "BROWNOUT_TEST_PROMPTS_KEY"
PROMPTS: list[dict[str, Any]] = [
    {"id": "right", "prompt": "say one", "answer": "say one"},
    {"id": "wrong", "prompt": "say two", "answer": "three"},
    {"id": "matched", "prompt": "say four", "regex": "f.ur$"},
    {"id": "unknown", "prompt": "say five"},
    {"id": "talk", "prompt": ["say six", "say seven"], "system": "be brief", "answer": "say seven"},
]


class _Echo:
    """Answers with the last message; keeps what it was asked. With a pause it stalls before the last piece."""

    def __init__(self, pause: threading.Event | None = None) -> None:
        self.pause = pause
        self.asked: list[list[dict[str, str]]] = []

    def __call__(self, request: Request) -> None:
        """Answer."""
        messages = json.loads(request.body)["messages"]
        self.asked.append(messages)
        text = messages[-1]["content"]
        cuts = [number * len(text) // PIECES for number in range(PIECES + 1)]
        chunks: list[Any] = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}]
        chunks += [{"choices": [{"delta": {"content": text[begin:end]}}]} for begin, end in pairwise(cuts)]
        last = [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
        request.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number, chunk in enumerate([*chunks, *last]):
            if self.pause is not None and number == PIECES:
                self.pause.wait(PAUSE_S)
            event = f"data: {json.dumps(chunk)}\n\n".encode()
            request.send(b"%x\r\n%s\r\n" % (len(event), event))
        request.send(b"0\r\n\r\n")


def _talking(request: Request) -> None:
    """Refuses the second turn of a conversation, and repeats the key in its complaint."""
    if len(json.loads(request.body)["messages"]) > 2:
        request.reply(400, json.dumps({"error": {"message": f"{KEY} may not"}}).encode())
    else:
        _Echo()(request)


@pytest.fixture(scope="module")
def echo() -> _Echo:
    """The server that conversations go to."""
    return _Echo()


@pytest.fixture(scope="module")
def load(echo: _Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """All prompts, several times."""
    folder = tmp_path_factory.mktemp("prompts")
    prompts, talk = folder / "prompts.jsonl", folder / "talk.jsonl"
    prompts.write_text("\n".join(json.dumps(line) for line in PROMPTS) + "\n\n")
    talk.write_text(json.dumps(PROMPTS[-1]) + "\n")
    options: dict[str, Any] = {"arrivals": "20/s", "timeout": "30s", "retries": 0}
    with pytest.MonkeyPatch.context() as environment, contextlib.ExitStack() as stack:
        environment.setenv(VARIABLE, KEY)
        urls = {
            "echo": stack.enter_context(http(echo)),
            "slow": stack.enter_context(http(_Echo(threading.Event()))),
            "talking": stack.enter_context(http(_talking)),
        }
        workloads = [
            workload("echo", urls["echo"], "chat", prompts=str(prompts), **options),
            workload("slow", urls["slow"], "chat", prompts=str(talk), stall="100ms", **options),
            workload("talking", urls["talking"], "chat", prompts=str(talk), api_key_env=VARIABLE, **options),
        ]
        load = stack.enter_context(locust(folder / "load", workloads=workloads, drain_s=30.0))
        load.begin("baseline")
        wait_until(
            lambda: all(
                load.receiver.count(metrics.ARRIVALS, workload=each["name"]) >= 40 for each in workloads
            ),
            "arrivals",
        )
        assert load.stop() == 0, load.log
        yield load


def _of(load: Load, item: str) -> list[Row]:
    rows = load.rows(workload="echo", item=item)
    assert rows, item
    return rows


@pytest.mark.parametrize(
    ("item", "reward", "expected"),
    [("right", 1.0, 1.0), ("wrong", 0.0, 1.0), ("matched", 1.0, 1.0), ("unknown", None, None)],
)
def test_answers_are_scored_as_the_file_says(
    load: Load, item: str, reward: float | None, expected: float | None
) -> None:
    """By what they hold, or by what matches in them; where nothing is known, nothing is said."""
    for row in _of(load, item):
        assert (row["outcome"], row["reward"], row["expected"]) == ("ok", reward, expected)
        assert (row["nonce"], row["reply_nonce"], row["step"]) == (None, None, None)


def test_a_conversation_says_all_that_was_said(load: Load, echo: _Echo) -> None:
    """Its turns are operations, each due when the one before it ended; only the last answer is scored."""
    turns: dict[int, list[Row]] = {}
    for row in _of(load, "talk"):
        turns.setdefault(row["user"], []).append(row)
    for first, second in turns.values():
        assert (first["step"], second["step"]) == (0, 1)
        assert second["intended_start"] == first["end"]
        assert (first["reward"], second["reward"], second["expected"]) == (None, 1.0, 1.0)
    spoken = [asked for asked in echo.asked if asked[0]["role"] == "system"]
    assert {len(asked) for asked in spoken} == {2, 4}
    assert [message["content"] for message in max(spoken, key=len)] == [
        "be brief",
        "say six",
        "say six",
        "say seven",
    ]


def test_a_turn_that_fails_ends_its_conversation(load: Load) -> None:
    """The first turn stands, the second is refused, and there is no third; nothing repeats the key."""
    rows = load.rows(workload="talking")
    assert {(row["step"], row["error_type"]) for row in rows} == {(0, None), (1, "400")}
    assert KEY not in load.log


def test_each_chunk_but_the_first_is_timed(load: Load) -> None:
    """Of each answer as many as it has pieces, less one; what brings no text is no chunk."""
    rows = load.rows(workload="echo")
    assert load.receiver.count(metrics.OUTPUT_CHUNK, workload="echo") == (PIECES - 1) * len(rows)
    assert load.receiver.count(metrics.FIRST_CHUNK, workload="echo") == len(rows)
    for attributes, _ in load.receiver.points(metrics.OUTPUT_CHUNK, workload="echo"):
        assert attributes["gen_ai.operation.name"] == "chat"
        assert attributes["gen_ai.provider.name"] == "openai"


def test_long_pauses_are_stalls(load: Load) -> None:
    """A pause of three times `stall` counts in each answer; its time is in the histogram of chunks."""
    rows = load.rows(workload="slow")
    assert load.receiver.count(metrics.STALLS, workload="slow") >= len(rows)
    longest = max(point.max for _, point in load.receiver.points(metrics.OUTPUT_CHUNK, workload="slow"))
    assert longest >= PAUSE_S * 0.9


def test_without_its_key_a_load_does_not_begin(tmp_path: Path) -> None:
    """The message names the variable."""
    workloads = [workload("w", "http://127.0.0.1:9", "chat", api_key_env="BROWNOUT_TEST_NO_SUCH_KEY")]
    with (
        pytest.raises(AssertionError, match="no BROWNOUT_TEST_NO_SUCH_KEY"),
        locust(tmp_path / "load", workloads=workloads),
    ):
        pass
