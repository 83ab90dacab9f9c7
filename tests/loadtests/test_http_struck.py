"""Plain HTTP users on a real service behind the embedded proxy: what each fault of HTTP makes of a step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from loadtests import metrics
from tests.loadtests.locusts import Load, locust, wait_until, workload
from tests.loadtests.shop import shop
from tests.loadtests.struck import places

PAGE = {"status": 200, "content_type": "text/html", "body": "<html>busy</html>"}


@dataclass(frozen=True)
class Case:
    """A toxic, and the error type that it makes of a step (None: the step is right)."""

    type: str
    attributes: dict[str, Any] = field(default_factory=dict)
    kind: str | None = None
    status: int | None = 200


CASES: dict[str, Case] = {
    "429": Case("http_reply", {"status": 429, "retry_after": 1}, "429", 429),
    "500": Case("http_reply", {"status": 500}, "500", 500),
    "503-json": Case("http_reply", {"status": 503, "body": '{"score": 1}'}, "503", 503),
    "redirect": Case("http_reply", {"status": 302, "headers": {"Location": "/text"}}, "302", 302),
    "page": Case("http_reply", PAGE, "check_failed"),
    "empty": Case("http_empty", {"what": "body"}, "check_failed"),
    "late": Case("http_delay", {"delay": 60_000}, "timeout", None),
    "slow": Case("http_delay", {"delay": 700}, "check_failed"),
    "cut": Case("http_truncate", {"bytes": 12}, "check_failed"),
    "torn": Case("http_truncate", {"bytes": 12, "length": "wrong"}, "connection_closed"),
    "without": Case("json_edit", {"pointer": "/score", "action": "drop"}, "check_failed"),
    "other-type": Case("json_edit", {"pointer": "/score", "action": "set", "value": "x"}, "check_failed"),
    "nan": Case("json_edit", {"pointer": "/score", "action": "nan"}, "check_failed"),
    "scaled": Case("json_edit", {"pointer": "/score", "action": "scale", "factor": 100}, "check_failed"),
    "no-echo": Case("json_edit", {"pointer": "/nonce", "action": "drop"}, "extract_failed"),
    "unseen": Case("json_edit", {"pointer": "/mode", "action": "drop"}),
    "lost": Case("request_lost", {"how": "close"}, "connection_closed", None),
    "lost-reset": Case("request_lost", {"how": "reset"}, "connection_reset", None),
    "lost-hang": Case("request_lost", {"how": "hang"}, "timeout", None),
    "unanswered": Case("reply_lost", {"how": "close"}, "connection_closed", None),
    "twice": Case("request_twice"),
    "replayed": Case("reply_replayed"),
    "reset": Case("reset_peer", {"timeout": 0}, "connection_reset", None),
    "cut-off": Case("limit_data", {"bytes": 20}, "connection_closed", None),
    "silent": Case("timeout", {"timeout": 0}, "timeout", None),
    "slices": Case("slicer", {"average_size": 7, "size_variation": 3, "delay": 10}),
}
SCORE: dict[str, Any] = {
    "name": "score",
    "path": "/score",
    "headers": {"X-Nonce": "${nonce}"},
    "checks": [{"pointer": "/score", "min": 0, "max": 1}],
    "echo": {"pointer": "/nonce"},
}


@pytest.fixture(scope="module")
def load(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A load on each of them."""
    folder = tmp_path_factory.mktemp("http-struck")
    with contextlib.ExitStack() as stack:
        url, place_of = stack.enter_context(shop()), stack.enter_context(places(folder))
        workloads = []
        for name, case in CASES.items():
            place = place_of(url)
            place.inject(case.type, case.attributes)
            step = dict(SCORE)
            if name == "slow":
                step = {**SCORE, "checks": [{"latency": "500ms"}]}
            timeout = "20s" if case.kind != "timeout" else "500ms"
            workloads.append(workload(name, place.url, "http", arrivals="3/s", timeout=timeout, steps=[step]))
        graded = place_of(demos["evals"])
        graded.inject("json_edit", {"pointer": "/score", "action": "set", "value": 1})
        for name, where in (("graded", demos["evals"]), ("graded-wrong", graded.url)):
            workloads.append(workload(name, where, "http", arrivals="3/s", timeout="20s", steps=[_graded()]))
        load = stack.enter_context(locust(folder, workloads=workloads, drain_s=30.0))
        load.begin("baseline")
        wait_until(
            lambda: all(load.receiver.count(metrics.ARRIVALS, workload=w["name"]) >= 4 for w in workloads),
            "arrivals",
        )
        assert load.stop() == 0, load.log
        yield load


def _graded() -> dict[str, Any]:
    return {
        "name": "grade",
        "method": "POST",
        "path": "/score",
        "json": {"item": "item-${arrival}", "completion": "[item-${arrival}] ANSWER: never"},
        "checks": [{"pointer": "/score", "equals": 0}],
    }


@pytest.mark.parametrize("name", CASES)
def test_each_fault_is_told_by_what_it_does_to_a_step(load: Load, name: str) -> None:
    """Every operation has one final row with the kind of its failure, and one observation."""
    case, rows = CASES[name], load.rows(workload=name, final=True)
    assert len(rows) == load.receiver.count(metrics.ARRIVALS, workload=name)
    said = [line for line in load.log.splitlines() if f" {name}: " in line]
    assert {(row["error_type"], row["status"]) for row in rows} == {(case.kind, case.status)}, said
    assert {row["outcome"] for row in rows} == {"error" if case.kind else "ok"}
    counted = load.receiver.points(metrics.HTTP_OPERATION, workload=name)
    assert sum(point.count for _, point in counted) == len(rows)
    assert {attributes.get("error.type") for attributes, _ in counted} == {case.kind}


def test_a_reply_to_another_request_shows_in_the_history(load: Load) -> None:
    """Nothing but the nonce tells a replayed reply; the pairing of nonces in the history does."""
    rows = load.rows(workload="replayed", final=True)
    strangers = [row for row in rows if row["nonce"] != row["reply_nonce"]]
    assert strangers
    assert {row["outcome"] for row in strangers} == {"ok"}
    for row in load.rows(workload="twice", final=True):
        assert row["nonce"] == row["reply_nonce"]


def test_a_silently_changed_score_is_found_by_a_check(load: Load) -> None:
    """The demo scorer's own score passes the check; one that was edited on the way, with 200, does not."""
    for name, kind in (("graded", None), ("graded-wrong", "check_failed")):
        rows = load.rows(workload=name, final=True)
        assert {(row["error_type"], row["status"]) for row in rows} == {(kind, 200)}
