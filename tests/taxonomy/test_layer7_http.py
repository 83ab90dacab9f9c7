"""What plain HTTP clients make of each fault of HTTP: httpx and aiohttp, on the scorer.

Neither looks at a status by itself, nor tries again, with one exception: aiohttp sends a request of an idempotent
method (GET, PUT, DELETE) again by itself where the connection, one from before, closes without a reply.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from time import monotonic
from typing import Any
from uuid import uuid4

import aiohttp
import httpx
import pytest

from loadtests.items import completion, item
from tests.demo.serving import Running, wait_for
from tests.taxonomy.layer7 import Layer7
from tests.taxonomy.place import WITHIN_S
from tests.taxonomy.said import served, wait_served

SHORT_S = 1.0


@dataclass
class Reply:
    """What a caller has: the status, the headers (names in lower case), and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def score(self) -> Any:
        """What the body says as JSON, under `score`."""
        return json.loads(self.body)["score"]


def by_httpx(url: str, sample: Any, timeout_s: float, mark: str) -> Reply:
    """Ask by httpx."""
    timeout = httpx.Timeout(WITHIN_S, read=timeout_s)
    answer = httpx.post(url, json=sample, params={"mark": mark}, timeout=timeout, trust_env=False)
    return Reply(answer.status_code, dict(answer.headers), answer.content)


def by_aiohttp(url: str, sample: Any, timeout_s: float, mark: str) -> Reply:
    """Ask by aiohttp."""

    async def ask() -> Reply:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=timeout_s)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, json=sample, params={"mark": mark}) as answer,
        ):
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(answer.status, headers, await answer.read())

    return asyncio.run(ask())


Ask = Callable[[str, Any, float, str], Reply]
Errors = dict[str, type[BaseException]]
BY: dict[Ask, Errors] = {
    by_httpx: {
        "close": httpx.RemoteProtocolError,
        "reset": httpx.ReadError,
        "hang": httpx.ReadTimeout,
        "cut": httpx.RemoteProtocolError,
    },
    by_aiohttp: {
        "close": aiohttp.ServerDisconnectedError,
        "reset": aiohttp.ClientOSError,
        "hang": aiohttp.SocketTimeoutError,
        "cut": aiohttp.ClientPayloadError,
    },
}
"""Each client, and its words for what goes wrong."""
each = pytest.mark.parametrize("ask", list(BY))


def score(ask: Ask, place: Layer7, number: int = 0, timeout_s: float = WITHIN_S, mark: str = "") -> Reply:
    """Ask for the score of a right answer, which is 1."""
    sample = {"item": f"item-{number}", "completion": completion(item(number))}
    return ask(f"{place.url}/score", sample, timeout_s, mark)


def healed(ask: Ask, place: Layer7) -> bool:
    """Whether, once all is healed, the score is right."""
    place.heal()
    reply = score(ask, place)
    return (reply.status, reply.score) == (200, 1)


@each
@pytest.mark.parametrize("retry_after", [-1, 7])
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_an_error_status_is_a_reply(
    evals: Running, evals_http: Layer7, ask: Ask, status: int, retry_after: int
) -> None:
    """HIDDEN: an error status is a reply like any other, with its Retry-After; who does not look is not told."""
    mark = uuid4().hex
    evals_http.inject("http_reply", {"status": status, "retry_after": retry_after, "body": '{"score": 0}'})
    reply = score(ask, evals_http, mark=mark)
    assert (reply.status, reply.score) == (status, 0)
    assert reply.headers.get("retry-after") == (None if retry_after < 0 else str(retry_after))
    assert reply.headers["content-type"] == "application/json"
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)
    assert served(evals, mark) == 0


@each
def test_an_error_body_with_status_200(evals_http: Layer7, ask: Ask) -> None:
    """HIDDEN: an error in a body with status 200 is a success."""
    evals_http.inject("http_reply", {"status": 200, "provider": "openai"})
    reply = score(ask, evals_http)
    assert reply.status == 200
    assert "error" in json.loads(reply.body)
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)


@each
def test_html_with_status_200(evals_http: Layer7, ask: Ask) -> None:
    """HIDDEN: a page with status 200 is a success; only who parses it finds that it is no JSON."""
    page = {"status": 200, "content_type": "text/html; charset=utf-8", "body": "<html>Sign in</html>"}
    evals_http.inject("http_reply", page)
    reply = score(ask, evals_http)
    assert (reply.status, reply.headers["content-type"]) == (200, page["content_type"])
    with pytest.raises(json.JSONDecodeError):
        assert reply.score
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)


@each
def test_an_empty_body(evals_http: Layer7, ask: Ask) -> None:
    """HIDDEN: a reply without a body is a success."""
    evals_http.inject("http_empty", {"what": "body"})
    reply = score(ask, evals_http)
    assert (reply.status, reply.body) == (200, b"")
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)


@each
def test_a_reply_later_than_the_timeout(evals: Running, evals_http: Layer7, ask: Ask) -> None:
    """HIDDEN: a reply that is late is a time-out error; that the request was served is not told."""
    mark = uuid4().hex
    evals_http.inject("http_delay", {"delay": 60_000})
    with pytest.raises(BY[ask]["hang"]):
        score(ask, evals_http, timeout_s=SHORT_S, mark=mark)
    assert evals_http.struck == (1, 1)
    wait_served(evals, mark, 1)
    assert healed(ask, evals_http)


@each
def test_a_request_later_than_the_timeout(evals: Running, evals_http: Layer7, ask: Ask) -> None:
    """HIDDEN: a request that is late is the same error, and it is served when its client has long left."""
    mark = uuid4().hex
    evals_http.inject("http_delay", {"delay": 1500}, stream="upstream")
    with pytest.raises(BY[ask]["hang"]):
        score(ask, evals_http, timeout_s=SHORT_S, mark=mark)
    assert evals_http.struck == (1, 1)
    wait_for("the request in the service's log", lambda: served(evals, mark) == 1)
    assert healed(ask, evals_http)


@each
@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_delay_within_the_timeout(evals_http: Layer7, ask: Ask, stream: str) -> None:
    """A delay that the time-out allows for costs time only, in either direction."""
    evals_http.inject("http_delay", {"delay": 200}, stream=stream)
    begun = monotonic()
    assert score(ask, evals_http).score == 1
    assert monotonic() - begun >= 0.2
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)


@each
def test_a_body_that_is_cut_with_a_right_length(evals_http: Layer7, ask: Ask) -> None:
    """HIDDEN: a body that is cut, with a length that is right, is a success; only who parses it finds out."""
    evals_http.inject("http_truncate", {"bytes": 20})
    reply = score(ask, evals_http)
    assert (reply.status, len(reply.body), reply.headers["content-length"]) == (200, 20, "20")
    with pytest.raises(json.JSONDecodeError):
        assert reply.score
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)


@each
def test_a_body_that_is_cut_with_a_wrong_length(evals_http: Layer7, ask: Ask) -> None:
    """A body shorter than its length is an error."""
    evals_http.inject("http_truncate", {"bytes": 20, "length": "wrong"})
    with pytest.raises(BY[ask]["cut"]):
        score(ask, evals_http)
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)


EDITS: dict[str, Callable[[Any], bool]] = {
    "drop": lambda found: "score" not in found,
    "set": lambda found: found["score"] is None,
    "nan": lambda found: isnan(found["score"]),
    "scale": lambda found: found["score"] == 100,
}
"""What each edit makes of a score of 1, for a parser that takes NaN, as Python's does."""


@each
@pytest.mark.parametrize("action", list(EDITS))
def test_a_score_that_is_edited(evals_http: Layer7, ask: Ask, action: str) -> None:
    """HIDDEN: a score that is gone, null, NaN or a hundred times too large is a success with a right length."""
    evals_http.inject("json_edit", {"pointer": "/score", "action": action})
    reply = score(ask, evals_http)
    assert reply.status == 200
    assert EDITS[action](json.loads(reply.body))
    assert reply.headers["content-length"] == str(len(reply.body))
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)


@each
def test_a_request_that_is_edited(evals_http: Layer7, ask: Ask) -> None:
    """HIDDEN: what is scored is not what was sent: a right answer has score 0."""
    attributes = {"pointer": "/completion", "action": "set", "value": "ANSWER: none"}
    evals_http.inject("json_edit", attributes, stream="upstream")
    assert score(ask, evals_http).score == 0
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)


@each
@pytest.mark.parametrize("how", ["close", "reset", "hang"])
def test_a_lost_request(evals: Running, evals_http: Layer7, ask: Ask, how: str) -> None:
    """A request that is lost is an error of the connection, or a time-out; it was not served."""
    mark = uuid4().hex
    evals_http.inject("request_lost", {"how": how})
    with pytest.raises(BY[ask][how]):
        score(ask, evals_http, timeout_s=SHORT_S if how == "hang" else WITHIN_S, mark=mark)
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)
    assert served(evals, mark) == 0


@each
@pytest.mark.parametrize("how", ["close", "reset", "hang"])
def test_a_lost_reply(evals: Running, evals_http: Layer7, ask: Ask, how: str) -> None:
    """HIDDEN: a reply that is lost is the same error; that the request was served is not told."""
    mark = uuid4().hex
    evals_http.inject("reply_lost", {"how": how})
    with pytest.raises(BY[ask][how]):
        score(ask, evals_http, timeout_s=SHORT_S if how == "hang" else WITHIN_S, mark=mark)
    assert evals_http.struck == (1, 1)
    wait_served(evals, mark, 1)
    assert healed(ask, evals_http)


@each
def test_a_request_that_comes_twice(evals: Running, evals_http: Layer7, ask: Ask) -> None:
    """HIDDEN: one request is sent, and one reply comes; the service has served two."""
    mark = uuid4().hex
    evals_http.inject("request_twice")
    assert score(ask, evals_http, mark=mark).score == 1
    wait_served(evals, mark, 2)
    assert evals_http.struck == (1, 1)
    assert healed(ask, evals_http)


@each
def test_a_reply_that_is_replayed(evals_http: Layer7, ask: Ask) -> None:
    """HIDDEN: the second request has the first one's reply: another item's score."""
    evals_http.inject("reply_replayed")
    told = [json.loads(score(ask, evals_http, number).body)["item"] for number in (0, 1, 2)]
    assert told == ["item-0", "item-0", "item-1"]
    assert evals_http.struck == (3, 2)
    assert healed(ask, evals_http)


def test_aiohttp_sends_a_get_again(evals_http: Layer7) -> None:
    """HIDDEN: a GET whose reply is lost on a connection from before is sent again: served twice, told nothing."""

    async def run() -> int:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{evals_http.url}/v1/models") as answer:
                await answer.read()
            evals_http.inject("reply_lost", where={"first": 1})
            async with session.get(f"{evals_http.url}/v1/models") as answer:
                return answer.status

    assert asyncio.run(run()) == 200
    assert evals_http.struck == (2, 1)
