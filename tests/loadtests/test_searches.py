"""Searches against the demo index, and against each fault that its protocol can meet: one Locust process for all."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from loadtests import metrics
from loadtests.retrieval import WORKSPACES
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.struck import Places, places
from tests.loadtests.unruly import Request, http, refused, tcp

RETRIES = 2
RETRY_AFTER_S = 1
SPARINGLY = {"retries": RETRIES, "backoff": "20ms", "arrivals": "1/s", "connection": "fresh"}
"""A connection for each request: a kept one may be closed while it idles, which costs a try of its own."""
HTML = {"status": 200, "content_type": "text/html", "body": "<html>Sign in</html>"}
NAIVE, CAREFUL = {"client": "naive"}, {"client": "careful"}
SOON = {"timeout": "400ms", "retries": 1}
WRITES = {"writes": 1.0}
SEARCHES = {"path": "/search"}

Toxic = tuple[str, dict[str, Any], dict[str, Any]]


def _edit(pointer: str, action: str = "set", value: Any = None) -> Toxic:
    return ("json_edit", {"pointer": pointer, "action": action, "value": value}, {"where": SEARCHES})


def _of(toxic: str, **attributes: Any) -> Toxic:
    return (toxic, attributes, {})


FAULTS: dict[str, tuple[Toxic, dict[str, Any]]] = {
    "nothing-naive": (_of("http_empty", what="body"), NAIVE),
    "nothing-careful": (_of("http_empty", what="body"), CAREFUL),
    "html-naive": (_of("http_reply", **HTML), NAIVE),
    "html-careful": (_of("http_reply", **HTML), CAREFUL),
    "truncated-naive": (_of("http_truncate", bytes=90), NAIVE),
    "truncated-careful": (_of("http_truncate", bytes=90), CAREFUL),
    "broken-off-careful": (_of("http_truncate", bytes=90, length="wrong"), CAREFUL),
    "limited-naive": (_of("http_reply", status=429), NAIVE),
    "overloaded-careful": (_of("http_reply", status=529), CAREFUL),
    "forbidden-careful": (_of("http_reply", status=403), CAREFUL),
    "told-to-wait-naive": (
        _of("http_reply", status=429, retry_after=RETRY_AFTER_S),
        {**NAIVE, "retries": 1},
    ),
    "told-to-wait-careful": (
        _of("http_reply", status=429, retry_after=RETRY_AFTER_S),
        {**CAREFUL, "retries": 1},
    ),
    "reset-naive": (_of("reply_lost", how="reset"), NAIVE),
    "reset-careful": (("request_lost", {"how": "reset"}, {"stream": "upstream"}), CAREFUL),
    "closed-careful": (_of("reply_lost", how="close"), CAREFUL),
    "stalled-careful": (_of("reply_lost", how="hang"), {**CAREFUL, **SOON}),
    "stalled-naive": (("request_lost", {"how": "hang"}, {"stream": "upstream"}), {**NAIVE, **SOON}),
    "null-naive": (_edit("/results"), NAIVE),
    "null-careful": (_edit("/results"), CAREFUL),
    "no-id-naive": (_edit("/results/0/id", "drop"), NAIVE),
    "no-id-careful": (_edit("/results/0/id", "drop"), CAREFUL),
    "nan-version-careful": (_edit("/index_version", "nan"), CAREFUL),
    "old-index-naive": (_edit("/index_version", "set", 0), {**NAIVE, **WRITES}),
    "old-index-careful": (_edit("/index_version", "set", 0), {**CAREFUL, **WRITES}),
    "old-document-naive": (_edit("/results/0/version", "set", 0), {**NAIVE, **WRITES}),
    "old-document-careful": (_edit("/results/0/version", "set", 0), {**CAREFUL, **WRITES}),
    "replayed-naive": (_of("reply_replayed"), NAIVE),
    "replayed-careful": (_of("reply_replayed"), CAREFUL),
    "lost-write-careful": (
        ("request_lost", {}, {"stream": "upstream", "where": {"method": "PUT"}}),
        {**CAREFUL, **WRITES},
    ),
    "written-twice-careful": (
        ("request_twice", {}, {"stream": "upstream", "where": {"method": "PUT"}}),
        {**CAREFUL, **WRITES},
    ),
}
FREE_OF_FAULTS = ("naive", "careful", "writing")


def _own_schema(request: Request) -> None:
    """Another vendor's endpoint: nothing has a name that the demo's has, and two of three documents are found."""
    said = json.loads(request.body)
    assert request.head.startswith("POST /v2/query HTTP/1.1")
    assert "X-Tenant: 3" in request.head
    assert said == {"q": {"text": "cedar", "lang": "en"}, "top": 3}
    hits = [{"doc": {"ref": ident}} for ident in ("x", 7, "z")]
    request.reply(200, json.dumps({"data": {"hits": hits}}).encode())


OWN_SCHEMA = {
    "path": "/v2/query",
    "headers": {"X-Tenant": "3"},
    "k": 3,
    "request": {"query": "/q/text", "k": "/top", "nonce": None, "more": {"q": {"lang": "en"}}},
    "reply": {
        "results": "/data/hits",
        "id": "/doc/ref",
        "version": None,
        "index_version": None,
        "nonce": None,
    },
}


class _Slow:
    """An index that shows what was written to it only when a search has been tried `polls` times in vain."""

    def __init__(self, polls: int) -> None:
        self.polls = polls
        self.written: dict[str, int] = {}
        self.tried: Counter[str] = Counter()

    def __call__(self, request: Request) -> None:
        """Answer a write, or a search."""
        said = json.loads(request.body)
        results = []
        if request.head.startswith("PUT"):
            self.written[request.head.split()[1].rsplit("/", 1)[1]] = said["version"]
        else:
            ident, nonce = said["query"].split()[-1], said["nonce"]
            if ident in self.written and self.tried[nonce] >= self.polls:
                results = [{"id": ident, "version": self.written[ident]}]
            self.tried[nonce] += 1
        answer = {"results": results, "index_version": 1, "nonce": said["nonce"]}
        request.reply(200, json.dumps(answer).encode())


def _faulty(make: Places, url: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The workloads that a fault strikes, each at a place of its own."""
    for name, ((toxic, attributes, more), own) in FAULTS.items():
        place = make(url)
        place.inject(toxic, attributes, **{"stream": "downstream", **more})
        yield workload(name, place.url, "search", **{**options, **own})


@pytest.fixture(scope="module")
def load(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A load on all of them, ended once each workload has had its users."""
    folder = tmp_path_factory.mktemp("searches")
    queries = folder / "queries.jsonl"
    queries.write_text('{"query": "cedar", "relevant": ["x", "7", "y"], "recall": 0.6666666667}\n')
    options: dict[str, Any] = dict(SPARINGLY)
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(http(_own_schema))
        slow = stack.enter_context(http(_Slow(2)))
        never = stack.enter_context(http(_Slow(10**9)))
        noise = stack.enter_context(tcp(lambda s: s.sendall(b"\x00" * 99)))
        late = {**options, **WRITES}
        workloads = [
            workload("naive", demos["evals"], "search", **options, **NAIVE),
            workload("careful", demos["evals"], "search", **options, **CAREFUL),
            workload("writing", demos["evals"], "search", **{**options, **WRITES, "arrivals": "6/s"}),
            *_faulty(stack.enter_context(places(folder)), demos["evals"], options),
            workload("own-schema", own, "search", queries=str(queries), **OWN_SCHEMA, **options),
            workload("slow", slow, "search", freshness="60s", **late),
            workload("never-careful", never, "search", freshness="200ms", **late),
            workload("never-naive", never, "search", freshness="200ms", **late, **NAIVE),
            workload("refused", refused(), "search", **options),
            workload("noise", noise, "search", **options),
        ]
        load = stack.enter_context(locust(folder, workloads=workloads, drain_s=45.0))
        load.begin("baseline")
        names = [each["name"] for each in workloads]
        wait_until(
            lambda: all(load.receiver.count(metrics.ARRIVALS, workload=name) >= 3 for name in names), "users"
        )
        assert load.stop() == 0, load.log
        yield load


def _finals(load: Load, name: str, operation: str = "search") -> list[Row]:
    rows = load.rows(workload=name, operation=operation, final=True)
    assert len(rows) >= 3
    return rows


def _states(load: Load, name: str) -> Counter[str]:
    """How often each state was counted."""
    found: Counter[str] = Counter()
    for attributes, point in load.receiver.points(metrics.SEARCHES, workload=name):
        found[attributes[metrics.SEARCH_STATE]] += int(point.as_int)
    return found


@pytest.mark.parametrize("name", FREE_OF_FAULTS)
def test_all_relevant_documents_are_found(load: Load, name: str) -> None:
    """A sound index finds all of them at the first try, each reply is its request's, and none is stale."""
    rows = [row for row in load.rows(workload=name) if row["operation"] != "write"]
    assert rows
    for row in rows:
        told = (row["error_type"], row["attempt"], row["reward"], row["expected"])
        assert told == (None, 0, 1.0, 1.0)
        assert row["nonce"] == row["reply_nonce"]
    assert _states(load, name) == {"fresh": len(rows)}


def test_recall_and_rank_are_told_of_each_query(load: Load) -> None:
    """A histogram observation for each query that was answered; reading back one's own is no query."""
    searches = len(_finals(load, "writing"))
    for metric in (metrics.RECALL, metrics.RECIPROCAL_RANK):
        ((_, point),) = load.receiver.points(metric, workload="writing")
        assert (point.count, point.sum) == (searches, searches)
        assert set(metrics.SHARE_BOUNDARIES) <= set(point.explicit_bounds)
    assert load.receiver.count(metrics.RECALL, workload="refused") == 0


def test_what_was_written_is_looked_for(load: Load) -> None:
    """A user that writes is a write, a reading back and a search, each due when the one before it ended."""
    for user in {row["user"] for row in _finals(load, "writing", "write")}:
        own = sorted(load.rows(workload="writing", user=user, final=True), key=lambda row: row["step"])
        assert [row["operation"] for row in own] == ["write", "read_back", "search"]
        assert [row["intended_start"] for row in own[1:]] == [row["end"] for row in own[:-1]]
        assert own[0]["item"] == own[1]["item"]
        assert own[0]["nonce"] == own[0]["reply_nonce"]


@pytest.mark.parametrize(
    ("name", "error_type", "attempt"),
    [
        ("nothing-careful", "protocol_error", RETRIES),
        ("html-naive", "protocol_error", RETRIES),
        ("html-careful", "protocol_error", RETRIES),
        ("truncated-naive", "protocol_error", RETRIES),
        ("truncated-careful", "protocol_error", RETRIES),
        ("broken-off-careful", "connection_closed", RETRIES),
        ("limited-naive", "429", RETRIES),
        ("overloaded-careful", "529", RETRIES),
        ("forbidden-careful", "403", 0),
        ("told-to-wait-naive", "429", 1),
        ("told-to-wait-careful", "429", 1),
        ("reset-naive", "connection_reset", RETRIES),
        ("reset-careful", "connection_reset", RETRIES),
        ("closed-careful", "connection_closed", RETRIES),
        ("stalled-naive", "timeout", 1),
        ("stalled-careful", "timeout", 1),
        ("null-careful", "protocol_error", RETRIES),
        ("no-id-careful", "protocol_error", RETRIES),
        ("nan-version-careful", "protocol_error", RETRIES),
        ("refused", "connection_refused", RETRIES),
    ],
)
def test_failures_are_named_and_tried_again(load: Load, name: str, error_type: str, attempt: int) -> None:
    """The error type, the number of the last try, and no reward: a search that failed found nothing."""
    rows = _finals(load, name)
    for row in rows:
        assert (row["outcome"], row["error_type"], row["attempt"]) == ("error", error_type, attempt)
        assert row["reward"] is None
    assert _states(load, name) == {"failed": len(rows)}


@pytest.mark.parametrize(
    ("name", "reward"),
    [("nothing-naive", 0.0), ("null-naive", 0.0), ("no-id-naive", (WORKSPACES - 1) / WORKSPACES)],
)
def test_documents_that_did_not_come_are_not_missed_by_a_naive_client(
    load: Load, name: str, reward: float
) -> None:
    """It reports success; what it lost is told by the recall alone."""
    rows = _finals(load, name)
    for row in rows:
        assert (row["outcome"], row["attempt"], row["expected"]) == ("ok", 0, 1.0)
        assert row["reward"] == pytest.approx(reward)
    assert _states(load, name) == {"fresh": len(rows)}


def test_an_old_index_is_noticed(load: Load) -> None:
    """An index that is older than what a write was answered with: counted; to a careful client an error."""
    naive = [*_finals(load, "old-index-naive"), *_finals(load, "old-index-naive", "read_back")]
    assert {row["outcome"] for row in naive} == {"ok"}
    assert _states(load, "old-index-naive") == {"stale": len(naive)}
    careful = [*_finals(load, "old-index-careful"), *_finals(load, "old-index-careful", "read_back")]
    told = {(row["error_type"], row["attempt"], row["reward"]) for row in careful}
    assert told == {("stale", RETRIES, None)}
    assert _states(load, "old-index-careful") == {"stale": len(careful)}


def test_an_old_document_is_noticed_by_who_wrote_it(load: Load) -> None:
    """Its writer does not find it as it was written; other documents have no version that is known."""
    naive = _finals(load, "old-document-naive", "read_back")
    assert {(row["outcome"], row["reward"], row["expected"]) for row in naive} == {("ok", 0.0, 1.0)}
    careful = _finals(load, "old-document-careful", "read_back")
    assert {(row["error_type"], row["reward"]) for row in careful} == {("stale", None)}
    for name in ("old-document-naive", "old-document-careful"):
        searches = _finals(load, name)
        assert {(row["outcome"], row["reward"]) for row in searches} == {("ok", 1.0)}
        assert _states(load, name)["fresh"] == len(searches)


def test_another_requests_reply_is_taken_or_refused(load: Load) -> None:
    """The naive client takes it, and the echoed nonce shows it; the careful one asks again."""
    rows = sorted(_finals(load, "replayed-naive"), key=lambda row: row["start"])
    assert {row["outcome"] for row in rows} == {"ok"}
    assert sum(row["nonce"] != row["reply_nonce"] for row in rows) >= len(rows) - 1
    careful = load.rows(workload="replayed-careful")
    assert {row["error_type"] for row in careful} == {None, "protocol_error"}
    for row in careful:
        if row["outcome"] == "ok":
            assert (row["nonce"], row["reward"]) == (row["reply_nonce"], 1.0)


def test_a_write_that_failed_is_not_looked_for(load: Load) -> None:
    """Its user goes on to search, for what is there."""
    for row in _finals(load, "lost-write-careful", "write"):
        assert (row["error_type"], row["attempt"]) == ("connection_closed", RETRIES)
    assert load.rows(workload="lost-write-careful", operation="read_back") == []
    assert {row["reward"] for row in _finals(load, "lost-write-careful")} == {1.0}


def test_a_write_that_comes_twice_is_one(load: Load) -> None:
    """A document is in the index once, in the version that was written."""
    for operation in ("read_back", "search"):
        rows = _finals(load, "written-twice-careful", operation)
        assert {(row["outcome"], row["attempt"], row["reward"]) for row in rows} == {("ok", 0, 1.0)}


def test_an_index_may_take_its_time(load: Load) -> None:
    """Within `freshness` a document that is not there yet is looked for again, and found."""
    rows = _finals(load, "slow", "read_back")
    for row in rows:
        assert (row["outcome"], row["attempt"], row["reward"]) == ("ok", 2, 1.0)
    earlier = load.rows(workload="slow", operation="read_back", final=False)
    assert {row["error_type"] for row in earlier} == {"stale"}


def test_an_index_that_takes_longer_has_lost_it(load: Load) -> None:
    """After `freshness` it is stale to a careful client; a naive one takes it for not there."""
    careful = _finals(load, "never-careful", "read_back")
    assert {(row["error_type"], row["reward"]) for row in careful} == {("stale", None)}
    naive = _finals(load, "never-naive", "read_back")
    assert {(row["outcome"], row["reward"], row["expected"]) for row in naive} == {("ok", 0.0, 1.0)}
    assert _states(load, "never-naive")["stale"] == len(naive)


def test_another_services_schema_and_queries(load: Load) -> None:
    """By pointers any endpoint is read, and judged by queries of one's own."""
    for row in _finals(load, "own-schema"):
        assert (row["outcome"], row["attempt"], row["item"]) == ("ok", 0, "cedar")
        assert row["reward"] == pytest.approx(row["expected"])
        assert row["expected"] == pytest.approx(2 / 3)


def test_only_a_careful_client_heeds_retry_after(load: Load) -> None:
    """After 429 it waits as long as it is told; the naive one as its backoff says."""
    for client, heeds in (("careful", True), ("naive", False)):
        rows = load.rows(workload=f"told-to-wait-{client}")
        ends = {row["user"]: row["end"] for row in rows if row["attempt"] == 0}
        pauses = [row["start"] - ends[row["user"]] for row in rows if row["attempt"] == 1]
        assert (min(pauses) >= RETRY_AFTER_S - 0.01) is heeds


def test_noise_is_no_index(load: Load) -> None:
    """A server that talks something else is a protocol error, or a connection that it ended on us."""
    for row in _finals(load, "noise"):
        assert row["error_type"] in ("protocol_error", "connection_reset", "connection_closed")


def test_every_operation_is_counted_once(load: Load) -> None:
    """Durations are as many as operations, attempts and requests as tries, states as searches."""
    rows = load.rows()
    finals = Counter((row["workload"], row["user"], row["step"]) for row in rows if row["final"])
    assert set(finals.values()) == {1}
    assert load.receiver.count(metrics.HTTP_OPERATION) == len(finals)
    assert load.receiver.count(metrics.ATTEMPTS) == load.receiver.count(metrics.HTTP_REQUEST) == len(rows)
    searches = [row for row in rows if row["final"] and row["operation"] != "write"]
    assert load.receiver.count(metrics.SEARCHES) == len(searches)
    assert not [row for row in rows if row["error_type"] == "generator_error"]
