"""What the Anthropic SDK makes of each fault of HTTP and of event streams: plain, streamed, and by its helper.

It misses what a stream does not say just as OpenAI's does. Other than that one it does not wrap what happens
within a stream (the caller gets errors of its HTTP client), and it obeys any Retry-After.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from math import isnan
from time import monotonic
from typing import Any
from uuid import uuid4

import anthropic
import pytest

from loadtests.items import completion, is_right, item
from tests.demo.serving import Running, wait_for
from tests.taxonomy.layer7 import Layer7
from tests.taxonomy.place import WITHIN_S
from tests.taxonomy.said import (
    ITEM,
    AnthropicAsk,
    Said,
    anthropic_helped,
    anthropic_plain,
    anthropic_streamed,
    question,
    wait_served,
)

AT_ONCE = {"headers": {"retry-after-ms": "1"}}
"""So that the SDK tries again without its back-off of half a second."""
SHORT = anthropic.Timeout(WITHIN_S, read=1.0)
LOSSES = {"close": "RemoteProtocolError", "reset": "ReadError", "hang": "ReadTimeout"}

each = pytest.mark.parametrize("ask", [anthropic_plain, anthropic_streamed, anthropic_helped])
both = pytest.mark.parametrize("ask", [anthropic_plain, anthropic_streamed])
streams = pytest.mark.parametrize("ask", [anthropic_streamed, anthropic_helped])
Sdk = Callable[..., anthropic.Anthropic]


@pytest.fixture(scope="module")
def clients() -> Iterator[anthropic.Anthropic]:
    """The client that all share."""
    with anthropic.Anthropic(api_key="none", timeout=WITHIN_S, max_retries=0) as client:
        yield client


@pytest.fixture
def sdk(clients: anthropic.Anthropic, evals_http: Layer7) -> Sdk:
    """Makes clients of the place: no retries, and a long time-out, unless given."""
    return lambda **options: clients.with_options(base_url=evals_http.url, **options)


def healed(place: Layer7, client: anthropic.Anthropic, ask: AnthropicAsk = anthropic_plain) -> bool:
    """Whether, once all is healed, the same client has the right answer."""
    place.heal()
    said = Said()
    ask(client, said)
    return said.whole


ERRORS = {
    429: (anthropic.RateLimitError, "rate_limit_error"),
    500: (anthropic.InternalServerError, "api_error"),
    503: (anthropic.InternalServerError, "api_error"),
    529: (anthropic.InternalServerError, "overloaded_error"),
}


@each
@pytest.mark.parametrize("status", list(ERRORS))
def test_error_replies_are_tried_again(
    sdk: Sdk, evals: Running, evals_http: Layer7, status: int, ask: AnthropicAsk
) -> None:
    """HIDDEN: an error is told once, in the provider's words, after three requests; none reached the model."""
    mark = uuid4().hex
    client = sdk(max_retries=2, default_query={"mark": mark})
    evals_http.inject("http_reply", {"status": status, "provider": "anthropic", **AT_ONCE})
    kind, name = ERRORS[status]
    with pytest.raises(kind) as told:
        ask(client, Said())
    body: Any = told.value.body
    assert told.value.status_code == status
    assert body["error"]["type"] == name
    assert evals_http.struck == (3, 3)
    hits = evals_http.hits()
    assert [hit["attempt"] for hit in hits] == [0, 1, 2]
    assert told.value.request_id == body["request_id"] == f"req_brownout_{hits[-1]['number']}"
    assert healed(evals_http, client, ask)
    wait_served(evals, mark, 1)  # the healed one alone


@each
def test_retries_hide_error_replies(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk) -> None:
    """HIDDEN: errors that are over by the last try are not told at all; the reply is the right one."""
    said = Said()
    evals_http.inject("http_reply", {"status": 529, "provider": "anthropic", **AT_ONCE}, where={"first": 2})
    ask(sdk(max_retries=2), said)
    assert said.whole
    assert evals_http.struck == (3, 2)
    assert healed(evals_http, sdk(), ask)


@pytest.mark.parametrize("retry_after", [-1, 0])
def test_without_retry_after_it_backs_off(sdk: Sdk, evals_http: Layer7, retry_after: int) -> None:
    """HIDDEN: without Retry-After, or with 0, the SDK waits by its own back-off, and says nothing of it."""
    attributes = {"status": 429, "provider": "anthropic", "retry_after": retry_after}
    said = Said()
    evals_http.inject("http_reply", attributes, where={"first": 1})
    begun = monotonic()
    anthropic_plain(sdk(max_retries=1), said)
    assert monotonic() - begun >= 0.37  # half a second, less a quarter at most
    assert said.whole
    assert evals_http.struck == (2, 1)
    assert healed(evals_http, sdk())


def test_any_retry_after_is_waited_for(evals_http: Layer7) -> None:
    """HIDDEN: told to come back in a day, the SDK sleeps for a day in the call; its time-out does not count there.

    The test does not wait that long: it sees that the call goes on, and asks for nothing, long past its time-out.
    """

    async def ask() -> None:
        async with anthropic.AsyncAnthropic(
            api_key="none", base_url=evals_http.url, timeout=SHORT, max_retries=1
        ) as client:
            await client.messages.create(max_tokens=100, **question())

    async def watch() -> None:
        asking = asyncio.create_task(ask())
        await asyncio.to_thread(wait_for, "the first try", lambda: evals_http.struck == (1, 1))
        done, _ = await asyncio.wait([asking], timeout=1.5)  # longer than its time-out
        assert not done
        asking.cancel()
        await asyncio.wait([asking])

    attributes = {"status": 429, "provider": "anthropic", "retry_after": 86_400}
    evals_http.inject("http_reply", attributes)
    asyncio.run(watch())
    assert evals_http.struck == (1, 1)


@both
def test_an_error_after_the_work_is_worked_for_again(
    sdk: Sdk, evals: Running, evals_http: Layer7, ask: AnthropicAsk
) -> None:
    """HIDDEN: an error in the place of a reply that was made: each retry makes the model work once more."""
    mark = uuid4().hex
    attributes = {"status": 529, "provider": "anthropic", "reached": True, **AT_ONCE}
    evals_http.inject("http_reply", attributes)
    with pytest.raises(anthropic.InternalServerError):
        ask(sdk(max_retries=2, default_query={"mark": mark}), Said())
    assert evals_http.struck == (3, 3)
    wait_served(evals, mark, 3)
    assert healed(evals_http, sdk(), ask)


SUCCESSES: dict[str, tuple[str, dict[str, Any]]] = {
    "an error body": ("http_reply", {"status": 200, "provider": "anthropic"}),
    "HTML": ("http_reply", {"status": 200, "content_type": "text/html", "body": "<html>Sign in</html>"}),
    "no body": ("http_empty", {"what": "body"}),
}
"""Replies with status 200 that are no message."""


@pytest.mark.parametrize("what", list(SUCCESSES))
def test_status_200_and_no_message(sdk: Sdk, evals_http: Layer7, what: str) -> None:
    """HIDDEN: an error body is a message whose content is None; HTML, or nothing, is a str in its place.

    Streamed, each of them is a stream of nothing. No error is raised, and nothing is tried again.
    """
    fault, attributes = SUCCESSES[what]
    evals_http.inject(fault, attributes)
    reply: Any = sdk(max_retries=2).messages.create(max_tokens=100, **question())
    if what == "an error body":
        assert isinstance(reply, anthropic.types.Message)
        told = reply.model_dump()
        assert (told["content"], told["stop_reason"]) == (None, None)
    else:
        assert reply == attributes.get("body", "")
    said = Said()
    anthropic_streamed(sdk(max_retries=2), said)
    assert said == Said("", None, parts=0)
    assert evals_http.struck == (2, 2)
    assert healed(evals_http, sdk())


@pytest.mark.parametrize("what", list(SUCCESSES))
def test_the_helper_misses_a_message(sdk: Sdk, evals_http: Layer7, what: str) -> None:
    """The helper fails on a stream of nothing, by an AssertionError without a word, when the message is wanted."""
    fault, attributes = SUCCESSES[what]
    evals_http.inject(fault, attributes)
    with pytest.raises(AssertionError, match=r"^$"):
        anthropic_helped(sdk(max_retries=2), Said())
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), anthropic_helped)


@each
def test_an_empty_completion(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk) -> None:
    """HIDDEN: an empty completion is a success with stop reason `end_turn`; who scores it scores 0."""
    said = Said()
    evals_http.inject("http_empty")
    ask(sdk(max_retries=2), said)
    assert (said.text, said.finish) == ("", "end_turn")
    assert not is_right(ITEM, said.text)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


@both
def test_a_reply_later_than_the_timeout(
    sdk: Sdk, evals: Running, evals_http: Layer7, ask: AnthropicAsk
) -> None:
    """HIDDEN: a reply that is late is asked for again; the model has worked twice, one error is told."""
    mark = uuid4().hex
    evals_http.inject("http_delay", {"delay": 60_000})
    with pytest.raises(anthropic.APITimeoutError):
        ask(sdk(max_retries=1, timeout=SHORT, default_query={"mark": mark}), Said())
    assert evals_http.struck == (2, 2)
    wait_served(evals, mark, 2)
    assert healed(evals_http, sdk(), ask)


def test_a_plain_reply_that_is_cut_with_a_wrong_length(sdk: Sdk, evals_http: Layer7) -> None:
    """A body shorter than its length is an APIConnectionError."""
    evals_http.inject("http_truncate", {"bytes": 300, "length": "wrong"})
    with pytest.raises(anthropic.APIConnectionError) as told:
        anthropic_plain(sdk(), Said())
    assert "without sending complete message body" in str(told.value.__cause__)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk())


def test_a_plain_reply_that_is_cut_with_a_right_length(sdk: Sdk, evals_http: Layer7) -> None:
    """JSON that breaks off is a JSONDecodeError, which is none of the SDK's errors; it is not tried again."""
    evals_http.inject("http_truncate", {"bytes": 300})
    with pytest.raises(json.JSONDecodeError) as told:
        anthropic_plain(sdk(max_retries=2), Said())
    assert not isinstance(told.value, anthropic.AnthropicError)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk())


@pytest.mark.parametrize("action", ["drop", "set", "nan"])
def test_text_that_is_no_text(sdk: Sdk, evals_http: Layer7, action: str) -> None:
    """HIDDEN: text that is missing, null or NaN is passed on as it is: the SDK checks no types."""
    said = Said()
    evals_http.inject("json_edit", {"pointer": "/content/0/text", "action": action, "value": None})
    anthropic_plain(sdk(), said)
    assert said.finish == "end_turn"
    assert isnan(said.text) if action == "nan" else said.text is None
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk())


def test_a_count_that_is_scaled(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: usage that is a hundred times too much is believed."""
    right = sdk().messages.create(max_tokens=100, **question()).usage
    evals_http.inject("json_edit", {"pointer": "/usage/output_tokens", "action": "scale", "factor": 100})
    wrong = sdk().messages.create(max_tokens=100, **question()).usage
    assert wrong.output_tokens == 100 * right.output_tokens
    assert healed(evals_http, sdk())


@streams
def test_events_that_are_edited(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk) -> None:
    """HIDDEN: a stream whose text is another in each event is believed, to its stop reason."""
    said = Said()
    evals_http.inject("json_edit", {"pointer": "/delta/text", "action": "set", "value": "x"})
    ask(sdk(), said)
    assert (set(said.text), said.finish) == ({"x"}, "end_turn")
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


@each
def test_a_request_that_is_edited(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk) -> None:
    """HIDDEN: who asks the one question is answered the other; nothing in the reply says so."""
    other = question(1)["messages"][0]["content"]
    attributes = {"pointer": "/messages/0/content", "action": "set", "value": other}
    said = Said()
    evals_http.inject("json_edit", attributes, stream="upstream")
    ask(sdk(), said)
    assert (said.text, said.finish) == (completion(item(1)), "end_turn")
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)
