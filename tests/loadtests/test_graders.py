"""Graders against the demo judge, and against each fault that its protocol can meet: one Locust process for all."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from loadtests import metrics
from loadtests.grading import Case, case_in, judgement, submission
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.struck import Places, places
from tests.loadtests.unruly import Request, http, refused, tcp

RETRIES = 2
RETRY_AFTER_S = 1
SPARINGLY = {"retries": RETRIES, "backoff": "20ms", "arrivals": "1/s", "connection": "fresh"}
"""A connection for each request: a kept one may be closed while it idles, which costs a try of its own."""
CONTENT = "/choices/0/message/content"
HTML = {"status": 200, "content_type": "text/html", "body": "<html>Sign in</html>"}

NAIVE = {"client": "naive", "parsing": "strict"}
CAREFUL = {"client": "careful", "parsing": "strict"}
LOW = {"client": "naive", "parsing": "lenient"}
OPEN = {**LOW, "otherwise": "max"}
SCORE = {"verdict": "score"}
STREAM = {"stream": True}
SOON = {"timeout": "400ms", "retries": 1}


def _set(value: Any, pointer: str = CONTENT) -> tuple[str, dict[str, Any]]:
    return ("json_edit", {"pointer": pointer, "action": "set", "value": value})


Toxic = tuple[str, dict[str, Any]]
FAULTS: dict[str, tuple[Toxic, dict[str, Any]]] = {
    "empty-low": (("http_empty", {}), LOW),
    "empty-open": (("http_empty", {}), OPEN),
    "empty-naive": (("http_empty", {}), NAIVE),
    "empty-careful": (("http_empty", {}), CAREFUL),
    "nothing-low": (("http_empty", {"what": "body"}), LOW),
    "nothing-naive": (("http_empty", {"what": "body"}), NAIVE),
    "nothing-careful": (("http_empty", {"what": "body"}), CAREFUL),
    "html-low": (("http_reply", HTML), LOW),
    "html-careful": (("http_reply", HTML), CAREFUL),
    "truncated-low": (("http_truncate", {"bytes": 90}), LOW),
    "truncated-careful": (("http_truncate", {"bytes": 90}), CAREFUL),
    "broken-off-low": (("http_truncate", {"bytes": 90, "length": "wrong"}), LOW),
    "broken-off-careful": (("http_truncate", {"bytes": 90, "length": "wrong"}), CAREFUL),
    "limited-naive": (("http_reply", {"status": 429, "provider": "openai"}), NAIVE),
    "overloaded-careful": (
        ("http_reply", {"status": 529, "provider": "anthropic"}),
        {**CAREFUL, "api": "anthropic"},
    ),
    "told-to-wait-naive": (
        ("http_reply", {"status": 429, "retry_after": RETRY_AFTER_S}),
        {**NAIVE, "retries": 1},
    ),
    "told-to-wait-careful": (
        ("http_reply", {"status": 429, "retry_after": RETRY_AFTER_S}),
        {**CAREFUL, "retries": 1},
    ),
    "reset-naive": (("reply_lost", {"how": "reset"}), NAIVE),
    "reset-careful": (("request_lost", {"how": "reset"}), CAREFUL),
    "closed-careful": (("request_lost", {"how": "close"}), CAREFUL),
    "stalled-naive": (("reply_lost", {"how": "hang"}), {**NAIVE, **SOON}),
    "stalled-careful": (("request_lost", {"how": "hang"}), {**CAREFUL, **SOON}),
    "null-low": (_set(None), {**LOW, **SCORE}),
    "null-open": (_set(None), {**OPEN, **SCORE}),
    "null-careful": (_set(None), {**CAREFUL, **SCORE}),
    "number-careful": (_set(7), {**CAREFUL, **SCORE}),
    "nan-low": (("json_edit", {"pointer": CONTENT, "action": "nan"}), LOW),
    "no-choices-careful": (("json_edit", {"pointer": "/choices", "action": "drop"}), CAREFUL),
    "odd-usage-careful": (_set("many", "/usage/prompt_tokens"), CAREFUL),
    "other-score-careful": (_set('{"score": 0.5}'), {**CAREFUL, **SCORE}),
    "other-scale-low": (_set('{"score": 85}'), {**LOW, **SCORE}),
    "other-scale-careful": (_set('{"score": 85}'), {**CAREFUL, **SCORE}),
    "replayed-low": (("reply_replayed", {}), LOW),
    "replayed-careful": (("reply_replayed", {}), CAREFUL),
    "cut-low": (("sse_cut", {"events": 3}), {**LOW, **STREAM}),
    "cut-naive": (("sse_cut", {"events": 3}), {**NAIVE, **STREAM}),
    "cut-careful": (("sse_cut", {"events": 3}), {**CAREFUL, **STREAM}),
    "cut-off-careful": (("sse_cut", {"events": 3, "how": "close"}), {**CAREFUL, **STREAM}),
    "upset-naive": (("sse_error", {"events": 3, "provider": "openai"}), {**NAIVE, **STREAM}),
    "upset-careful": (("sse_error", {"events": 3, "provider": "openai"}), {**CAREFUL, **STREAM}),
    "unfinished-naive": (("sse_unfinished", {}), {**NAIVE, **STREAM}),
    "unfinished-careful": (("sse_unfinished", {}), {**CAREFUL, **STREAM, "api": "anthropic"}),
    "stalled-stream-careful": (("sse_stall", {"events": 3}), {**CAREFUL, **STREAM, **SOON}),
}
FORMATS = {
    f"{api}-{'streamed' if stream else 'whole'}-{verdict}": {"api": api, "stream": stream, "verdict": verdict}
    for api in ("openai", "anthropic")
    for stream in (True, False)
    for verdict in ("grade", "score")
}


def _fickle(request: Request) -> None:
    """The right verdict to the first request of a user, the opposite to later ones."""
    case = case_in(json.loads(request.body)["messages"][0]["content"])
    assert case is not None
    line = next(line for line in request.head.split("\r\n") if line.startswith("traceparent: "))
    if int(line.split("-")[2], 16) > 1:
        wrong = submission(case.item, right=case.submission == submission(case.item, right=False))
        case = Case(case.item, wrong, case.reference, case.style, case.scale)
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": judgement(case)}}
    request.reply(200, json.dumps({"choices": [choice]}).encode())


@pytest.fixture(scope="module")
def load(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A load on all of them, ended once each workload has had its users."""
    folder = tmp_path_factory.mktemp("graders")
    options: dict[str, Any] = {**SPARINGLY, "items": 40}
    with contextlib.ExitStack() as stack:
        make: Places = stack.enter_context(places(folder))
        workloads = [
            workload(name, demos["evals"], "grader", **options, **each) for name, each in FORMATS.items()
        ]
        for name, ((toxic, attributes), own) in FAULTS.items():
            place = make(demos["evals"])
            stream = "upstream" if toxic == "request_lost" else "downstream"
            place.inject(toxic, attributes, stream=stream)
            workloads.append(workload(name, place.url, "grader", **{**options, **own}))
        fickle = stack.enter_context(http(_fickle))
        noise = stack.enter_context(tcp(lambda s: s.sendall(b"\x00" * 99)))
        workloads += [
            workload("twice", demos["evals"], "grader", repeat=2, **options),
            workload("fickle", fickle, "grader", repeat=3, **options),
            workload("refused", refused(), "grader", **options),
            workload("noise", noise, "grader", **options),
        ]
        load = stack.enter_context(locust(folder, workloads=workloads, drain_s=45.0))
        load.begin("baseline")
        names = [each["name"] for each in workloads]
        wait_until(
            lambda: all(load.receiver.count(metrics.ARRIVALS, workload=name) >= 3 for name in names), "users"
        )
        assert load.stop() == 0, load.log
        yield load


def _finals(load: Load, name: str) -> list[Row]:
    rows = load.rows(workload=name, final=True)
    assert len(rows) >= 3
    return rows


def _states(load: Load, name: str) -> Counter[str]:
    """How often each state was counted."""
    found: Counter[str] = Counter()
    for attributes, point in load.receiver.points(metrics.GRADES, workload=name):
        found[attributes[metrics.GRADE_STATE]] += int(point.as_int)
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_verdicts_are_asked_for_in_both_formats_and_both_styles(load: Load, name: str) -> None:
    """Every answer, right or wrong, gets the grade it deserves at the first try, in reply to its own request."""
    rows = _finals(load, name)
    for row in rows:
        assert (row["outcome"], row["attempt"], row["reward"]) == ("ok", 0, row["expected"])
        assert row["nonce"] == row["reply_nonce"]
        assert row["expected"] in (0.0, 1.0)
    assert _states(load, name) == {"scored": len(rows)}
    assert load.receiver.count(metrics.TOKEN_USAGE, workload=name, type="output") == len(rows)
    streams = load.receiver.count(metrics.STREAMS, workload=name, terminal="true")
    assert streams == (len(rows) if "streamed" in name else 0)


def test_right_and_wrong_answers_are_shown(load: Load) -> None:
    """Among all that was shown both known grades are found."""
    assert {row["expected"] for name in FORMATS for row in _finals(load, name)} == {0.0, 1.0}


@pytest.mark.parametrize(
    ("name", "reward"),
    [
        ("empty-low", 0.0),
        ("empty-open", 1.0),
        ("nothing-low", 0.0),
        ("null-low", 0.0),
        ("null-open", 1.0),
        ("other-score-careful", 0.5),
        ("other-scale-low", 1.0),
        ("cut-low", 0.0),
    ],
)
def test_what_is_no_verdict_becomes_a_score(load: Load, name: str, reward: float) -> None:
    """Leniently read, and where the judge's own words were changed: a success, with a reward nobody earned."""
    rows = _finals(load, name)
    for row in rows:
        assert (row["outcome"], row["attempt"], row["reward"]) == ("ok", 0, reward)
    assert _states(load, name) == {"scored": len(rows)}


@pytest.mark.parametrize(
    ("name", "error_type", "attempt", "state"),
    [
        ("empty-naive", "unscored", 0, "missing"),
        ("empty-careful", "unscored", RETRIES, "missing"),
        ("nothing-naive", "unscored", 0, "missing"),
        ("nothing-careful", "protocol_error", RETRIES, "failed"),
        ("html-low", "protocol_error", 0, "failed"),
        ("html-careful", "protocol_error", RETRIES, "failed"),
        ("truncated-low", "protocol_error", 0, "failed"),
        ("truncated-careful", "protocol_error", RETRIES, "failed"),
        ("broken-off-low", "connection_closed", RETRIES, "failed"),
        ("broken-off-careful", "connection_closed", RETRIES, "failed"),
        ("limited-naive", "429", RETRIES, "failed"),
        ("overloaded-careful", "529", RETRIES, "failed"),
        ("told-to-wait-naive", "429", 1, "failed"),
        ("told-to-wait-careful", "429", 1, "failed"),
        ("reset-naive", "connection_reset", RETRIES, "failed"),
        ("reset-careful", "connection_reset", RETRIES, "failed"),
        ("closed-careful", "connection_closed", RETRIES, "failed"),
        ("stalled-naive", "timeout", 1, "failed"),
        ("stalled-careful", "timeout", 1, "failed"),
        ("null-careful", "unscored", RETRIES, "missing"),
        ("number-careful", "protocol_error", RETRIES, "failed"),
        ("nan-low", "protocol_error", 0, "failed"),
        ("no-choices-careful", "protocol_error", RETRIES, "failed"),
        ("other-scale-careful", "unscored", RETRIES, "out_of_scale"),
        ("cut-naive", "unscored", 0, "missing"),
        ("cut-careful", "incomplete_stream", RETRIES, "failed"),
        ("cut-off-careful", "connection_closed", RETRIES, "failed"),
        ("upset-naive", "incomplete_stream", 0, "failed"),
        ("upset-careful", "incomplete_stream", RETRIES, "failed"),
        ("unfinished-careful", "incomplete_stream", RETRIES, "failed"),
        ("stalled-stream-careful", "timeout", 1, "failed"),
        ("refused", "connection_refused", RETRIES, "failed"),
    ],
)
def test_what_is_no_verdict_is_no_score(
    load: Load, name: str, error_type: str, attempt: int, state: str
) -> None:
    """No reward, an error type, as many tries as the manner makes, and a state that tells why."""
    rows = _finals(load, name)
    for row in rows:
        assert (row["outcome"], row["error_type"], row["attempt"]) == ("error", error_type, attempt)
        assert row["reward"] is None
    assert _states(load, name) == {state: len(rows)}


@pytest.mark.parametrize("name", ["odd-usage-careful", "unfinished-naive"])
def test_what_does_not_touch_the_verdict_costs_none(load: Load, name: str) -> None:
    """A usage that is no number, or a terminal event that nobody asks for, leaves the grades as they are."""
    for row in _finals(load, name):
        assert (row["outcome"], row["attempt"], row["reward"]) == ("ok", 0, row["expected"])


def test_only_a_careful_client_heeds_retry_after(load: Load) -> None:
    """After 429 it waits as long as it is told; the naive one as its backoff says."""
    for client, heeds in (("careful", True), ("naive", False)):
        rows = load.rows(workload=f"told-to-wait-{client}")
        ends = {row["user"]: row["end"] for row in rows if row["attempt"] == 0}
        pauses = [row["start"] - ends[row["user"]] for row in rows if row["attempt"] == 1]
        assert pauses
        if heeds:
            assert min(pauses) >= RETRY_AFTER_S - 0.01
        else:
            assert min(pauses) < RETRY_AFTER_S


def test_another_requests_verdict_is_taken_or_refused(load: Load) -> None:
    """Leniently it is taken, and the echoed reference shows it; strictly it is asked for again."""
    rows = sorted(load.rows(workload="replayed-low", final=True), key=lambda row: row["start"])
    assert {row["outcome"] for row in rows} == {"ok"}
    assert sum(row["nonce"] != row["reply_nonce"] for row in rows) >= len(rows) - 1
    careful = load.rows(workload="replayed-careful")
    assert {row["error_type"] for row in careful} <= {None, "unscored"}
    assert any(row["error_type"] == "unscored" for row in careful)
    for row in careful:
        if row["outcome"] == "ok":
            assert (row["nonce"], row["reward"]) == (row["reply_nonce"], row["expected"])


def test_an_answer_may_be_judged_more_than_once(load: Load) -> None:
    """The grade is taken with the last verdict, each of which is an operation of its own."""
    rows = _finals(load, "twice")
    assert Counter(row["step"] for row in rows if row["expected"] is not None) == {1: len(rows) // 2}
    assert {row["reward"] == row["expected"] for row in rows if row["step"] == 1} == {True}
    assert len({row["nonce"] for row in rows}) == len(rows)
    assert _states(load, "twice") == {"scored": len(rows) // 2}


def test_a_judge_that_contradicts_itself_scores_nothing(load: Load) -> None:
    """Two verdicts on one answer that differ: unscored, at once."""
    rows = _finals(load, "fickle")
    first, second = ([row for row in rows if row["step"] == step] for step in (0, 1))
    assert len(first) == len(second) == len(rows) / 2
    assert {(row["outcome"], row["expected"]) for row in first} == {("ok", None)}
    assert {(row["error_type"], row["attempt"], row["reward"]) for row in second} == {("unscored", 0, None)}
    assert _states(load, "fickle") == {"inconsistent": len(second)}


def test_noise_is_no_judge(load: Load) -> None:
    """A server that talks something else is a protocol error, or a connection that it ended on us."""
    for row in _finals(load, "noise"):
        assert row["error_type"] in ("protocol_error", "connection_reset", "connection_closed")
        assert row["reward"] is None


def test_every_answer_is_counted_once(load: Load) -> None:
    """Grades are as many as users; durations as operations, attempts and requests as tries."""
    rows = load.rows()
    finals = Counter((row["workload"], row["user"], row["step"]) for row in rows if row["final"])
    assert set(finals.values()) == {1}
    assert load.receiver.count(metrics.CHAT_DURATION) == len(finals)
    assert load.receiver.count(metrics.ATTEMPTS) == load.receiver.count(metrics.HTTP_REQUEST) == len(rows)
    assert load.receiver.count(metrics.GRADES) == len({(row["workload"], row["user"]) for row in rows})
    assert not [row for row in rows if row["error_type"] == "generator_error"]
