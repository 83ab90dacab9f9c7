"""Each fault that a chat completion can meet, by the real toxics: what each manner of client makes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from loadtests import metrics
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.struck import places

RETRIES = 1
REQUESTS = 2
OK = (None, 0)

STREAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "500": ("http_reply", {"status": 500, "provider": "openai"}),
    "429": ("http_reply", {"status": 429, "provider": "openai"}),
    "529": ("http_reply", {"status": 529, "provider": "openai"}),
    "403": ("http_reply", {"status": 403, "provider": "openai"}),
    "html": ("http_reply", {"status": 200, "content_type": "text/html", "body": "<html>busy</html>"}),
    "empty": ("http_empty", {"what": "completion"}),
    "no-body": ("http_empty", {"what": "body"}),
    "late": ("http_delay", {"delay": 60_000}),
    "lost-closed": ("request_lost", {"how": "close"}),
    "lost-reset": ("request_lost", {"how": "reset"}),
    "lost-hung": ("request_lost", {"how": "hang"}),
    "reply-closed": ("reply_lost", {"how": "close"}),
    "reply-reset": ("reply_lost", {"how": "reset"}),
    "reply-hung": ("reply_lost", {"how": "hang"}),
    "twice": ("request_twice", {}),
    "replayed": ("reply_replayed", {}),
    "cut-clean": ("sse_cut", {"events": 2, "how": "clean"}),
    "cut-frame": ("sse_cut", {"events": 2, "how": "frame"}),
    "cut-close": ("sse_cut", {"events": 2, "how": "close"}),
    "error": ("sse_error", {"events": 2, "provider": "openai"}),
    "unfinished": ("sse_unfinished", {}),
    "stalled": ("sse_stall", {"events": 2}),
    "delayed": ("sse_delay", {"first": 20, "every": 1}),
    "reset": ("reset_peer", {"timeout": 0}),
    "black-hole": ("timeout", {"timeout": 0}),
    "limited": ("limit_data", {"bytes": 300}),
    "sliced": ("slicer", {"average_size": 16, "size_variation": 0, "delay": 0}),
}
HANGING = {"late", "lost-hung", "reply-hung", "stalled", "black-hole"}
"""Nothing comes any more; all others are waited for, however busy the machine is."""
WHOLE: dict[str, tuple[str, dict[str, Any]]] = {
    "whole-cut": ("http_truncate", {"bytes": 60, "length": "right"}),
    "whole-short": ("http_truncate", {"bytes": 60, "length": "wrong"}),
    "whole-empty": ("http_empty", {"what": "completion"}),
    "whole-no-body": ("http_empty", {"what": "body"}),
    "whole-null": ("json_edit", {"pointer": "/choices", "action": "set", "value": None}),
    "whole-dropped": ("json_edit", {"pointer": "/choices/0/message/content", "action": "drop"}),
}


@pytest.fixture(scope="module")
def load(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """One Locust process, with a place of its own for each fault and manner."""
    folder = tmp_path_factory.mktemp("faults")
    options: dict[str, Any] = {"retries": RETRIES, "backoff": "20ms", "arrivals": "30/m"}
    with contextlib.ExitStack() as stack:
        make = stack.enter_context(places(folder))
        workloads = []
        for name, (toxic, attributes) in (STREAMED | WHOLE).items():
            for client in ("naive", "careful"):
                place = make(demos["evals"])
                place.inject(toxic, attributes)
                own = {
                    "client": client,
                    "stream": name in STREAMED,
                    "timeout": "4s" if name in HANGING else "30s",
                }
                workloads.append(workload(f"{name}-{client}", place.url, "chat", **own, **options))
        load = stack.enter_context(locust(folder / "load", workloads=workloads, drain_s=30.0))
        load.begin("baseline")
        wait_until(
            lambda: all(
                load.receiver.count(metrics.ARRIVALS, workload=each["name"]) >= REQUESTS for each in workloads
            ),
            "arrivals",
        )
        assert load.stop() == 0, load.log
        yield load


def _finals(load: Load, name: str) -> list[Row]:
    rows = load.rows(workload=name, final=True)
    assert len(rows) >= REQUESTS
    return rows


CLOSED = {"connection_closed", "connection_reset"}
"""Where the proxy closes while bytes are on their way, the system may make a reset of it."""

EXPECTED: dict[str, tuple[tuple[str | set[str] | None, int], tuple[str | set[str] | None, int]]] = {
    "500": (("500", 1), ("500", 1)),
    "429": (("429", 1), ("429", 1)),
    "529": (("529", 1), ("529", 1)),
    "403": (("403", 0), ("403", 0)),
    "html": (OK, ("incomplete_stream", 1)),
    "empty": (OK, OK),
    "no-body": (OK, ("incomplete_stream", 1)),
    "late": (("timeout", 1), ("timeout", 1)),
    "lost-closed": ((CLOSED, 1), (CLOSED, 1)),
    "lost-reset": ((CLOSED, 1), (CLOSED, 1)),
    "lost-hung": (("timeout", 1), ("timeout", 1)),
    "reply-closed": ((CLOSED, 1), (CLOSED, 1)),
    "reply-reset": ((CLOSED, 1), (CLOSED, 1)),
    "reply-hung": (("timeout", 1), ("timeout", 1)),
    "twice": (OK, OK),
    "replayed": (OK, OK),
    "cut-clean": (OK, ("incomplete_stream", 1)),
    "cut-frame": ((CLOSED, 0), (CLOSED, 1)),
    "cut-close": ((CLOSED, 0), (CLOSED, 1)),
    "error": (("incomplete_stream", 0), ("incomplete_stream", 1)),
    "unfinished": (OK, ("incomplete_stream", 1)),
    "stalled": (("timeout", 0), ("timeout", 1)),
    "delayed": (OK, OK),
    "reset": ((CLOSED, 1), (CLOSED, 1)),
    "black-hole": (("timeout", 1), ("timeout", 1)),
    "limited": ((CLOSED, 0), (CLOSED, 1)),
    "sliced": (OK, OK),
    "whole-cut": (("protocol_error", 0), ("protocol_error", 1)),
    "whole-short": ((CLOSED, 1), (CLOSED, 1)),
    "whole-empty": (OK, OK),
    "whole-no-body": (OK, ("protocol_error", 1)),
    "whole-null": (("protocol_error", 0), ("protocol_error", 1)),
    "whole-dropped": (OK, OK),
}
"""By fault: the error type and the number of the last try, of the naive client and of the careful one."""

SILENT = {
    "naive": {"html", "empty", "no-body", "cut-clean", "whole-empty", "whole-no-body", "whole-dropped"},
    "careful": {"empty", "whole-empty", "whole-dropped"},
}
"""Wrong answers that the client takes for good, in the history a reward of 0.0 where 1.0 is expected."""


@pytest.mark.parametrize("fault", EXPECTED)
@pytest.mark.parametrize("client", ["naive", "careful"])
def test_each_fault_is_named_and_tried_again(load: Load, fault: str, client: str) -> None:
    """The error type, and how often it was tried: a stream that has begun, by the careful client only."""
    error_type, attempt = EXPECTED[fault][client == "careful"]
    allowed = error_type if isinstance(error_type, set) else {error_type}
    for row in _finals(load, f"{fault}-{client}"):
        assert row["error_type"] in allowed
        assert row["attempt"] == attempt


@pytest.mark.parametrize("client", ["naive", "careful"])
def test_wrong_answers_without_an_error_show_in_the_history(load: Load, client: str) -> None:
    """What is taken for an answer has the reward that it deserves; whole answers have 1.0."""
    for fault, expected in EXPECTED.items():
        if expected[client == "careful"] != OK or fault == "replayed":
            continue
        reward = 0.0 if fault in SILENT[client] else 1.0
        found = {(row["reward"], row["expected"]) for row in _finals(load, f"{fault}-{client}")}
        assert found == {(reward, 1.0)}, fault


@pytest.mark.parametrize("client", ["naive", "careful"])
def test_anothers_answer_shows_by_its_item(load: Load, client: str) -> None:
    """The reply to an earlier request is taken by both; it names its own question, and is wrong."""
    rows = _finals(load, f"replayed-{client}")
    for row in rows:
        paired = row["reply_nonce"] == row["nonce"]
        assert row["reward"] == (1.0 if paired else 0.0)
    questions = [row["nonce"] for row in sorted(rows, key=lambda row: float(row["start"]))]
    if len(set(questions)) > 1:
        assert any(row["reply_nonce"] != row["nonce"] for row in rows)


def test_stalls_and_terminal_events_are_counted(load: Load) -> None:
    """A stream that stalls until its client gives up is one stall a try; one without its end is not terminal."""
    for client in ("naive", "careful"):
        tries = len(load.rows(workload=f"stalled-{client}"))
        assert load.receiver.count(metrics.STALLS, workload=f"stalled-{client}") == tries
        for fault in ("cut-clean", "unfinished", "error"):
            rows = load.rows(workload=f"{fault}-{client}")
            name = f"{fault}-{client}"
            assert load.receiver.count(metrics.STREAMS, workload=name, terminal="false") == len(rows)
            assert load.receiver.count(metrics.STREAMS, workload=name, terminal="true") == 0


def test_faults_leave_no_operation_untold(load: Load) -> None:
    """One final row and one duration for each operation, one count for each try, whatever struck it."""
    rows = load.rows()
    assert load.receiver.count(metrics.CHAT_DURATION) == sum(row["final"] for row in rows)
    assert load.receiver.count(metrics.ATTEMPTS) == len(rows)
