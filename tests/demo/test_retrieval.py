"""The demo retrieval endpoint, and the demo judge beside it."""

from __future__ import annotations

import http.client
import json
from typing import Any

import anthropic
import openai
import pytest

from loadtests.grading import Case, case_prompt, strict_score, submission
from loadtests.items import completion, is_right, item, prompt
from loadtests.retrieval import corpus, note, note_query, queries, recall, reciprocal_rank
from tests.demo.serving import Running


def ask(evals: Running, method: str, path: str, said: Any) -> tuple[int, Any]:
    """The status and the JSON of a reply; `said` is JSON, or bytes as they are."""
    body = said if isinstance(said, bytes) else json.dumps(said)
    connection = http.client.HTTPConnection(evals.address, timeout=30)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def search(evals: Running, query: str, k: int = 10) -> Any:
    """A good reply."""
    status, answer = ask(evals, "POST", "/search", {"query": query, "k": k, "nonce": "n-1"})
    assert status == 200
    return answer


def put(evals: Running, number: int, version: int) -> Any:
    """The answer to a note that is written."""
    page = note(number, version)
    said = {"title": page.title, "text": page.text, "version": version, "nonce": "n-2"}
    status, answer = ask(evals, "PUT", f"/documents/{page.id}", said)
    assert status == 200
    return answer


def test_known_queries_find_all_that_is_relevant(evals: Running) -> None:
    """Recall is 1 for each, what is relevant comes first, and documents are whole."""
    pages = {page.id: page for page in corpus()}
    for query in queries():
        answer = search(evals, query.text)
        found = [result["id"] for result in answer["results"]]
        assert recall(found, query.relevant) == reciprocal_rank(found, query.relevant) == 1.0
        assert len(found) == 10
        scores = [result["score"] for result in answer["results"]]
        assert scores == sorted(scores, reverse=True)
        assert answer["nonce"] == "n-1"
        for result in answer["results"]:
            assert (result["title"], result["text"]) == (pages[result["id"]].title, pages[result["id"]].text)


def test_queries_have_answers_that_differ() -> None:
    """No two queries have a relevant document in common, and each has one in each workspace."""
    relevant = [ident for query in queries() for ident in query.relevant]
    assert len(relevant) == len(set(relevant)) == len(corpus())


def test_what_was_written_is_found_at_once(evals: Running) -> None:
    """A write moves the index on, and the next search shows it, in its version; the same again changes nothing."""
    before = search(evals, "memo")["index_version"]
    answer = put(evals, 901, 5)
    assert answer == {"id": "note0901", "version": 5, "index_version": before + 1, "nonce": "n-2"}
    (first, *_) = search(evals, note_query(901).text)["results"]
    assert (first["id"], first["version"], first["text"]) == ("note0901", 5, note(901, 5).text)
    assert put(evals, 901, 5)["index_version"] == before + 1
    assert put(evals, 901, 4) == {**answer, "nonce": "n-2"}
    assert put(evals, 901, 6)["index_version"] == before + 2
    assert search(evals, note_query(901).text)["results"][0]["version"] == 6


def test_an_unknown_word_finds_nothing(evals: Running) -> None:
    """No results, which is no error."""
    assert search(evals, "zyzzyva")["results"] == []


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"[" * 50_000,
        {},
        {"query": ""},
        {"query": 5},
        {"query": "a", "k": 0},
        {"query": "a", "k": 10**9},
        {"query": "a", "k": "ten"},
        {"query": "a", "limit": 3},
        {"query": "a", "nonce": "n" * 2000},
    ],
)
def test_bad_searches(evals: Running, said: Any) -> None:
    """Whatever is sent, the answer is a 400 that says what is wrong."""
    status, answer = ask(evals, "POST", "/search", said)
    assert (status, bool(answer["error"]["message"])) == (400, True)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/documents/x", {"title": "t", "text": "x"}),
        ("/documents/x", {"title": "t", "text": "x", "version": -1}),
        ("/documents/x", {"title": "t", "text": "x", "version": 1.5}),
        ("/documents/x%20y", {"title": "t", "text": "x", "version": 1}),
        ("/documents/" + "x" * 101, {"title": "t", "text": "x", "version": 1}),
    ],
)
def test_bad_writes(evals: Running, path: str, said: Any) -> None:
    """They are refused, and the index stays as it was."""
    before = search(evals, "memo")["index_version"]
    status, answer = ask(evals, "PUT", path, said)
    assert (status, bool(answer["error"]["message"])) == (400, True)
    assert search(evals, "memo")["index_version"] == before


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("style", ["grade", "score"])
def test_the_judge_is_right_by_both_sdks(evals: Running, right: bool, style: Any) -> None:
    """A judge's prompt gets one strict verdict, from either provider's own client; streamed, the same."""
    for number in range(4):
        case = Case(item(number), submission(item(number), right=right), f"{number:016x}", style, 1.0)
        asked: Any = {
            "model": "m",
            "max_tokens": 200,
            "messages": [{"role": "user", "content": case_prompt(case)}],
        }
        with openai.OpenAI(base_url=f"{evals.url}/v1", api_key="none", max_retries=0) as client:
            whole = client.chat.completions.create(**asked).choices[0].message.content
            pieces = [
                chunk.choices[0].delta.content or ""
                for chunk in client.chat.completions.create(**asked, stream=True)
            ]
        with anthropic.Anthropic(base_url=evals.url, api_key="none", max_retries=0) as other:
            said = other.messages.create(**asked).content[0].text
        assert whole == "".join(pieces) == said
        assert strict_score(said, case) == float(right)


def test_a_question_after_a_verdict_is_answered(evals: Running) -> None:
    """What the user says last counts, also after a judge's prompt."""
    judged = case_prompt(Case(item(1), completion(item(1)), "0" * 16, "grade"))
    messages: Any = [{"role": "user", "content": judged}, {"role": "user", "content": prompt(item(2))}]
    with openai.OpenAI(base_url=f"{evals.url}/v1", api_key="none", max_retries=0) as client:
        reply = client.chat.completions.create(model="m", messages=messages)
    assert is_right(item(2), reply.choices[0].message.content or "")
