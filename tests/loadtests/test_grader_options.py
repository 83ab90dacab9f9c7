"""What a profile of graders, or of searches, may not ask for, and where it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from loadtests.options.grader import GraderProfile
from loadtests.options.search import SearchProfile
from loadtests.retrieval import BadQuery, Query, read_query


def grader(**options: Any) -> GraderProfile:
    """A profile of graders."""
    return GraderProfile.model_validate(
        {"user": "grader", "service": "judge", "arrivals": "1/s", "with": options}
    )


def search(**options: Any) -> SearchProfile:
    """A profile of searches."""
    return SearchProfile.model_validate(
        {"user": "search", "service": "index", "arrivals": "1/s", "with": options}
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scale": 10}, "scale belongs to verdict: score"),
        ({"otherwise": "max"}, "otherwise belongs to parsing: lenient"),
        ({"scale": 0, "verdict": "score"}, "greater than 0"),
        ({"repeat": 0}, "greater than or equal to 1"),
        ({"wrong": "120%"}, "120%"),
        ({"items": 0}, "greater than or equal to 1"),
        ({"judge": "x"}, "Extra inputs"),
    ],
)
def test_graders_that_cannot_be(options: dict[str, Any], told: str) -> None:
    """Each is refused, with the reason."""
    with pytest.raises(ValidationError, match=told):
        grader(**options)


def test_lenient_graders_fail_low_or_open() -> None:
    """Both defaults of stock graders can be had, and a scale where there are scores."""
    assert grader(parsing="lenient", otherwise="max", verdict="score", scale=100).with_.scale == 100


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"path": "search"}, "expected a path such as /search"),
        ({"path": "/search me"}, "percent-encoded"),
        ({"headers": {"X Y": "z"}}, "a header's name"),
        ({"headers": {"Host": "z"}}, "set by the user itself"),
        ({"headers": {"X": "a\r\nY: b"}}, "one line"),
        ({"reply": {"results": "results"}}, "results"),
        ({"reply": {"id": "/~2"}}, "~0"),
        (
            {"request": {"query": "/more/text", "more": {"more": 1}}},
            "/more/text leads through what is no object",
        ),
        ({"documents": "/documents"}, "documents"),
        ({"writes": 0.5, "reply": {"version": None}}, "writes needs reply.version"),
        ({"k": 0}, "greater than or equal to 1"),
        ({"freshness": "-1s"}, "1s"),
    ],
)
def test_searches_that_cannot_be(options: dict[str, Any], told: str) -> None:
    """Each is refused, with the reason."""
    with pytest.raises(ValidationError, match=told):
        search(**options)


def test_another_services_schema() -> None:
    """A body is made by pointers, beside what it holds anyway; making one leaves the options as they are."""
    keys = {"query": "/q/text", "k": "/q/top", "nonce": None, "more": {"q": {"lang": "en"}, "tenant": 3}}
    request = search(request=keys).with_.request
    for query in ("a", "b"):
        assert request.body(query, 5, "n") == {"q": {"lang": "en", "text": query, "top": 5}, "tenant": 3}


def test_a_file_of_queries_is_read_where_the_project_is(tmp_path: Path) -> None:
    """Bad lines are told by file, line and column; a good file has no flaw."""
    (tmp_path / "queries.jsonl").write_text(
        '{"query": "a", "relevant": ["x"]}\n\n{"query": "b"}\n{"query": \n'
    )
    placed = search(queries="queries.jsonl").placed(tmp_path)
    path = str(tmp_path / "queries.jsonl")
    assert placed.with_.queries == path
    assert [(flaw.key, flaw.file, flaw.at) for flaw in placed.flaws()] == [
        (("with", "queries"), path, (3, 1)),
        (("with", "queries"), path, (4, 11)),
    ]
    assert "relevant: expected a list of ids, got null" in placed.flaws()[0].message
    (tmp_path / "queries.jsonl").write_text('{"query": "a", "relevant": ["x"]}')
    assert placed.flaws() == []


def test_a_file_of_queries_that_is_none(tmp_path: Path) -> None:
    """One that is missing, empty, not text or a folder is refused, not tripped over."""
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    for name, told in (
        ("none.jsonl", "No such file"),
        ("empty.jsonl", "at least one query"),
        ("bytes.jsonl", "UTF-8"),
        (".", "directory"),
    ):
        (flaw,) = search(queries=name).placed(tmp_path).flaws()
        assert told in flaw.message


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[]", "expected an object"),
        ('{"query": "a", "relevant": ["x"], "limit": 3}', "expected an object with query"),
        ('{"query": " ", "relevant": ["x"]}', "query: expected a text"),
        ('{"query": "a", "relevant": []}', "relevant: expected a list"),
        ('{"query": "a", "relevant": [true]}', "relevant: expected a list"),
        ('{"query": "a", "relevant": ["x"], "recall": 1.5}', "recall: expected a number from 0 to 1"),
        ("[" * 100_000, "expected an object"),
    ],
)
def test_queries_that_are_none(line: str, told: str) -> None:
    """Each is refused, with the reason."""
    with pytest.raises(BadQuery, match=told):
        read_query(line)


def test_what_is_expected_of_a_query() -> None:
    """As many of the relevant documents as the reply has room for, unless the file says otherwise."""
    assert read_query('{"query": "a", "relevant": ["x", 7, "x"]}') == Query("a", ("x", "7"))
    assert Query("a", ("x", "7")).expected(1) == 0.5
    assert Query("a", ("x", "7")).expected(10) == 1.0
    assert Query("a", ("x", "7"), 0.25).expected(10) == 0.25
