"""What the OpenAI SDK makes of each fault of HTTP and of event streams, plain and streamed.

What it sent is counted at the proxy (`struck`: requests that came, requests that were hit), what was executed
by the log of the service.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from math import isnan
from time import monotonic
from typing import Any
from uuid import uuid4

import openai
import pytest

from loadtests.items import completion, is_right, item
from tests.demo.serving import Running
from tests.taxonomy.layer7 import Layer7
from tests.taxonomy.place import WITHIN_S
from tests.taxonomy.said import (
    ITEM,
    OpenAIAsk,
    Said,
    openai_plain,
    openai_streamed,
    question,
    wait_served,
)

AT_ONCE = {"headers": {"retry-after-ms": "1"}}
"""So that the SDK tries again without its back-off of half a second."""
SHORT = openai.Timeout(WITHIN_S, read=1.0)

both = pytest.mark.parametrize("ask", [openai_plain, openai_streamed])
Sdk = Callable[..., openai.OpenAI]


@pytest.fixture(scope="module")
def clients() -> Iterator[openai.OpenAI]:
    """The client that all share."""
    with openai.OpenAI(api_key="none", timeout=WITHIN_S, max_retries=0) as client:
        yield client


@pytest.fixture
def sdk(clients: openai.OpenAI, evals_http: Layer7) -> Sdk:
    """Makes clients of the place: no retries, and a long time-out, unless given."""
    return lambda **options: clients.with_options(base_url=f"{evals_http.url}/v1", **options)


def healed(place: Layer7, client: openai.OpenAI, ask: OpenAIAsk = openai_plain) -> bool:
    """Whether, once all is healed, the same client has the right answer."""
    place.heal()
    said = Said()
    ask(client, said)
    return said.whole


@both
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_error_replies_are_tried_again(
    sdk: Sdk, evals: Running, evals_http: Layer7, status: int, ask: OpenAIAsk
) -> None:
    """HIDDEN: an error is told once, in the provider's words, after three requests; none reached the model."""
    mark = uuid4().hex
    client = sdk(max_retries=2, default_query={"mark": mark})
    evals_http.inject("http_reply", {"status": status, "provider": "openai", **AT_ONCE})
    with pytest.raises(openai.APIStatusError) as told:
        ask(client, Said())
    assert type(told.value) is (openai.RateLimitError if status == 429 else openai.InternalServerError)
    assert told.value.status_code == status
    assert told.value.code == ("rate_limit_exceeded" if status == 429 else None)
    assert evals_http.struck == (3, 3)
    hits = evals_http.hits()
    assert [hit["attempt"] for hit in hits] == [0, 1, 2]
    assert told.value.request_id == f"req_brownout_{hits[-1]['number']}"
    assert healed(evals_http, client, ask)
    wait_served(evals, mark, 1)  # the healed one alone


@both
def test_retries_hide_error_replies(sdk: Sdk, evals_http: Layer7, ask: OpenAIAsk) -> None:
    """HIDDEN: errors that are over by the last try are not told at all; the reply is the right one."""
    said = Said()
    evals_http.inject("http_reply", {"status": 529, "provider": "openai", **AT_ONCE}, where={"first": 2})
    ask(sdk(max_retries=2), said)
    assert said.whole
    assert evals_http.struck == (3, 2)
    assert healed(evals_http, sdk(), ask)


@pytest.mark.parametrize("retry_after", [-1, 0])
def test_without_retry_after_it_backs_off(sdk: Sdk, evals_http: Layer7, retry_after: int) -> None:
    """HIDDEN: without Retry-After, or with 0, the SDK waits by its own back-off, and says nothing of it."""
    attributes = {"status": 429, "provider": "openai", "retry_after": retry_after}
    evals_http.inject("http_reply", attributes, where={"first": 1})
    begun = monotonic()
    assert healed_by_retry(sdk(max_retries=1))
    assert monotonic() - begun >= 0.37  # half a second, less a quarter at most
    assert evals_http.struck == (2, 1)
    assert healed(evals_http, sdk())


def test_retry_after_is_waited_for(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: with Retry-After the SDK waits as long as it is told, and the caller learns nothing but time."""
    attributes = {"status": 429, "provider": "openai", "retry_after": 1}
    evals_http.inject("http_reply", attributes, where={"first": 1})
    begun = monotonic()
    assert healed_by_retry(sdk(max_retries=1))
    assert monotonic() - begun >= 1
    assert evals_http.struck == (2, 1)
    assert healed(evals_http, sdk())


def test_a_long_retry_after_ends_the_retries(sdk: Sdk, evals_http: Layer7) -> None:
    """A Retry-After of more than two minutes is told at once: nothing is tried again."""
    evals_http.inject("http_reply", {"status": 429, "provider": "openai", "retry_after": 121})
    with pytest.raises(openai.RateLimitError):
        openai_plain(sdk(max_retries=2), Said())
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk())


def healed_by_retry(client: openai.OpenAI) -> bool:
    """Whether the answer is right, whatever it took."""
    said = Said()
    openai_plain(client, said)
    return said.whole


@both
def test_an_error_after_the_work_is_worked_for_again(
    sdk: Sdk, evals: Running, evals_http: Layer7, ask: OpenAIAsk
) -> None:
    """HIDDEN: an error in the place of a reply that was made: each retry makes the model work once more."""
    mark = uuid4().hex
    attributes = {"status": 500, "provider": "openai", "reached": True, **AT_ONCE}
    evals_http.inject("http_reply", attributes)
    with pytest.raises(openai.InternalServerError):
        ask(sdk(max_retries=2, default_query={"mark": mark}), Said())
    assert evals_http.struck == (3, 3)
    wait_served(evals, mark, 3)
    assert healed(evals_http, sdk(), ask)


def test_an_error_body_with_status_200(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: an error with status 200 is a completion whose `choices` are None, and a stream of nothing."""
    evals_http.inject("http_reply", {"status": 200, "provider": "openai"})
    reply: Any = sdk(max_retries=2).chat.completions.create(**question())
    assert isinstance(reply, openai.types.chat.ChatCompletion)
    reply = reply.model_dump()
    assert reply["choices"] is None
    said = Said()
    openai_streamed(sdk(max_retries=2), said)
    assert said == Said("", None, parts=0)
    assert evals_http.struck == (2, 2)
    assert healed(evals_http, sdk())


def test_html_with_status_200(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: a page with status 200 is returned as a str in a completion's place, and a stream of nothing."""
    page = {"status": 200, "content_type": "text/html", "body": "<html><body>Sign in</body></html>"}
    evals_http.inject("http_reply", page)
    reply: Any = sdk(max_retries=2).chat.completions.create(**question())
    assert reply == page["body"]
    said = Said()
    openai_streamed(sdk(max_retries=2), said)
    assert said == Said("", None, parts=0)
    assert evals_http.struck == (2, 2)
    assert healed(evals_http, sdk())


@both
def test_an_empty_completion(sdk: Sdk, evals_http: Layer7, ask: OpenAIAsk) -> None:
    """HIDDEN: an empty completion is a success with finish reason `stop`; who scores it scores 0."""
    said = Said()
    evals_http.inject("http_empty")
    ask(sdk(max_retries=2), said)
    assert (said.text, said.finish) == ("", "stop")
    assert not is_right(ITEM, said.text)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


def test_an_empty_completion_tells_the_usage_where_asked(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: an empty stream ends with the usage where it was asked for, as a real one does."""
    evals_http.inject("http_empty")
    options: Any = {"include_usage": True}
    *_, last = sdk().chat.completions.create(stream=True, stream_options=options, **question())
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 0
    assert healed(evals_http, sdk())


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_response(sdk: Sdk, evals_http: Layer7, stream: bool) -> None:
    """HIDDEN: on the Responses API an empty completion is a response that is `completed`, and says nothing."""
    evals_http.inject("http_empty")
    client = sdk(max_retries=2)
    if stream:
        events = list(client.responses.create(model="demo-model", input="?", stream=True))
        assert [event.type for event in events] == ["response.created", "response.completed"]
        last = events[-1]
        assert last.type == "response.completed"
        response = last.response
    else:
        response = client.responses.create(model="demo-model", input="?")
    assert (response.status, response.output_text, response.model) == ("completed", "", "demo-model")
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk())


def test_an_empty_body(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: a reply with no body is the str '' in a completion's place, and a stream of nothing."""
    evals_http.inject("http_empty", {"what": "body"})
    reply: Any = sdk(max_retries=2).chat.completions.create(**question())
    assert reply == ""
    said = Said()
    openai_streamed(sdk(max_retries=2), said)
    assert said == Said("", None, parts=0)
    assert evals_http.struck == (2, 2)
    assert healed(evals_http, sdk())


@both
def test_a_reply_later_than_the_timeout(sdk: Sdk, evals: Running, evals_http: Layer7, ask: OpenAIAsk) -> None:
    """HIDDEN: a reply that is late is asked for again; the model has worked twice, one error is told."""
    mark = uuid4().hex
    evals_http.inject("http_delay", {"delay": 60_000})
    with pytest.raises(openai.APITimeoutError):
        ask(sdk(max_retries=1, timeout=SHORT, default_query={"mark": mark}), Said())
    assert evals_http.struck == (2, 2)
    wait_served(evals, mark, 2)
    assert healed(evals_http, sdk(), ask)


@both
def test_a_reply_that_is_cut_with_a_wrong_length(sdk: Sdk, evals_http: Layer7, ask: OpenAIAsk) -> None:
    """A body shorter than its length, or without its last chunk, is an APIConnectionError; not tried again."""
    evals_http.inject("http_truncate", {"bytes": 300, "length": "wrong"})
    with pytest.raises(openai.APIConnectionError) as told:
        ask(sdk(), Said())
    assert "without sending complete message body" in str(told.value.__cause__)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


def test_a_plain_reply_that_is_cut_with_a_right_length(sdk: Sdk, evals_http: Layer7) -> None:
    """JSON that breaks off is a JSONDecodeError, which is none of the SDK's errors; it is not tried again."""
    evals_http.inject("http_truncate", {"bytes": 300})
    with pytest.raises(json.JSONDecodeError) as told:
        openai_plain(sdk(max_retries=2), Said())
    assert not isinstance(told.value, openai.OpenAIError)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk())


def test_a_stream_that_is_cut_with_a_right_length(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: a stream that is cut, in the middle of an event, and ends in order is a success without an end."""
    said = Said()
    evals_http.inject("http_truncate", {"bytes": 1500})
    openai_streamed(sdk(max_retries=2), said)
    assert said.part
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)


CONTENT = "/choices/0/message/content"


@pytest.mark.parametrize("action", ["drop", "set", "nan"])
def test_content_that_is_no_text(sdk: Sdk, evals_http: Layer7, action: str) -> None:
    """HIDDEN: content that is missing, null or NaN is passed on as it is: the SDK checks no types."""
    said = Said()
    evals_http.inject("json_edit", {"pointer": CONTENT, "action": action, "value": None})
    openai_plain(sdk(), said)
    assert said.finish == "stop"
    assert isnan(said.text) if action == "nan" else said.text is None
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk())


def test_a_count_that_is_scaled(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: usage that is a hundred times too much is believed."""
    right = sdk().chat.completions.create(**question()).usage
    evals_http.inject("json_edit", {"pointer": "/usage/completion_tokens", "action": "scale", "factor": 100})
    wrong = sdk().chat.completions.create(**question()).usage
    assert right is not None
    assert wrong is not None
    assert wrong.completion_tokens == 100 * right.completion_tokens
    assert healed(evals_http, sdk())


def test_events_that_are_edited(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: a stream whose content is another in each event is believed, to its finish reason."""
    said = Said()
    evals_http.inject("json_edit", {"pointer": "/choices/0/delta/content", "action": "set", "value": "x"})
    openai_streamed(sdk(), said)
    assert (set(said.text), said.finish) == ({"x"}, "stop")
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)


@both
def test_a_request_that_is_edited(sdk: Sdk, evals_http: Layer7, ask: OpenAIAsk) -> None:
    """HIDDEN: who asks the one question is answered the other; nothing in the reply says so."""
    other = question(1)["messages"][0]["content"]
    attributes = {"pointer": "/messages/0/content", "action": "set", "value": other}
    said = Said()
    evals_http.inject("json_edit", attributes, stream="upstream")
    ask(sdk(), said)
    assert (said.text, said.finish) == (completion(item(1)), "stop")
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)
