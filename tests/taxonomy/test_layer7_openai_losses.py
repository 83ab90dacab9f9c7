"""What the OpenAI SDK makes of requests and replies that are lost or doubled, and of faults within a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
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
    served,
    wait_served,
)

SHORT = openai.Timeout(WITHIN_S, read=1.0)
LOSSES = {"close": "RemoteProtocolError", "reset": "ReadError", "hang": "ReadTimeout"}
"""The ways in which a request or its reply is lost, and what the SDK's own HTTP client calls them."""

both = pytest.mark.parametrize("ask", [openai_plain, openai_streamed])
lost = pytest.mark.parametrize("how", list(LOSSES))
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


def healed(place: Layer7, client: openai.OpenAI, ask: OpenAIAsk) -> bool:
    """Whether, once all is healed, the same client has the right answer."""
    place.heal()
    said = Said()
    ask(client, said)
    return said.whole


def loses(client: openai.OpenAI, ask: OpenAIAsk, how: str) -> None:
    """Ask, and see the loss told as it should be."""
    timeout = SHORT if how == "hang" else WITHIN_S
    with pytest.raises(openai.APIConnectionError) as told:
        ask(client.with_options(timeout=timeout), Said())
    # An APITimeoutError is an APIConnectionError too.
    assert type(told.value) is (openai.APITimeoutError if how == "hang" else openai.APIConnectionError)
    assert type(told.value.__cause__).__name__ == LOSSES[how]


@both
@lost
def test_a_lost_request(sdk: Sdk, evals: Running, evals_http: Layer7, ask: OpenAIAsk, how: str) -> None:
    """A request that is lost is an APIConnectionError, or an APITimeoutError; the model has not seen it."""
    mark = uuid4().hex
    client = sdk(default_query={"mark": mark})
    evals_http.inject("request_lost", {"how": how})
    loses(client, ask, how)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, client, ask)
    wait_served(evals, mark, 1)  # the healed one alone


@both
@lost
def test_a_lost_reply(sdk: Sdk, evals: Running, evals_http: Layer7, ask: OpenAIAsk, how: str) -> None:
    """HIDDEN: a reply that is lost is the same error as a request that is, though the model has worked."""
    mark = uuid4().hex
    evals_http.inject("reply_lost", {"how": how})
    loses(sdk(default_query={"mark": mark}), ask, how)
    assert evals_http.struck == (1, 1)
    wait_served(evals, mark, 1)
    assert healed(evals_http, sdk(), ask)


@both
def test_a_lost_reply_is_asked_for_again(
    sdk: Sdk, evals: Running, evals_http: Layer7, ask: OpenAIAsk
) -> None:
    """HIDDEN: with a retry a lost reply is not told at all: the answer is right, and the model worked twice."""
    mark, said = uuid4().hex, Said()
    evals_http.inject("reply_lost", where={"first": 1})
    ask(sdk(max_retries=1, default_query={"mark": mark}), said)
    assert said.whole
    assert evals_http.struck == (2, 1)
    wait_served(evals, mark, 2)
    assert healed(evals_http, sdk(), ask)


@both
def test_a_request_that_comes_twice(sdk: Sdk, evals: Running, evals_http: Layer7, ask: OpenAIAsk) -> None:
    """HIDDEN: the client sends one request and has one right answer; the model has worked, and billed, twice."""
    mark, said = uuid4().hex, Said()
    evals_http.inject("request_twice")
    ask(sdk(default_query={"mark": mark}), said)
    assert said.whole
    wait_served(evals, mark, 2)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


@both
def test_a_reply_that_is_replayed(sdk: Sdk, evals: Running, evals_http: Layer7, ask: OpenAIAsk) -> None:
    """HIDDEN: each question has the answer to the one before it: a success, and wrong."""
    first, second = Said(), Said()
    evals_http.inject("reply_replayed")
    ask(sdk(), first, 0)
    ask(sdk(), second, 1)
    assert first.whole
    assert second == first
    assert not is_right(item(1), second.text)
    assert evals_http.struck == (2, 1)  # there was nothing to replay for the first
    assert healed(evals_http, sdk(), ask)


def test_a_stream_that_ends_early(sdk: Sdk, evals: Running, evals_http: Layer7) -> None:
    """HIDDEN: a stream that ends early and in order is a success: a part of the text, and nothing tried again.

    The SDK misses neither the finish reason nor `[DONE]`. Who scores such a text scores 0.
    """
    mark, said = uuid4().hex, Said()
    evals_http.inject("sse_cut", {"events": 5, "how": "clean"})
    openai_streamed(sdk(max_retries=2, default_query={"mark": mark}), said)
    assert said.part
    assert said.parts == 5
    assert not is_right(ITEM, said.text)
    assert evals_http.struck == (1, 1)
    assert served(evals, mark) == 1
    assert healed(evals_http, sdk(), openai_streamed)


def test_a_stream_that_ends_before_its_first_event(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: a stream without any event is a success that says nothing."""
    said = Said()
    evals_http.inject("sse_cut", {"events": 0})
    openai_streamed(sdk(max_retries=2), said)
    assert said == Said("", None, parts=0)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)


@pytest.mark.parametrize("how", ["frame", "close"])
def test_a_stream_that_breaks_off(sdk: Sdk, evals_http: Layer7, how: str) -> None:
    """A stream without its last chunk is an APIConnectionError, after a part of the text; not tried again."""
    said = Said()
    evals_http.inject("sse_cut", {"events": 5, "how": how})
    with pytest.raises(openai.APIConnectionError) as told:
        openai_streamed(sdk(max_retries=2), said)
    assert "incomplete chunked read" in str(told.value.__cause__)
    assert said.part
    assert said.parts == 5
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)


def test_a_plain_reply_is_no_stream(sdk: Sdk, evals_http: Layer7) -> None:
    """A fault of streams does nothing to a plain reply, and does not count as one that acted."""
    said = Said()
    evals_http.inject("sse_cut", {"events": 0})
    openai_plain(sdk(), said)
    assert said.whole
    assert evals_http.struck == (1, 0)


@pytest.mark.parametrize("events", [0, 5])
def test_an_error_within_a_stream(sdk: Sdk, evals_http: Layer7, events: int) -> None:
    """An error event is an APIError after the text so far; it is not tried again, not even as the first event."""
    said = Said()
    evals_http.inject("sse_error", {"events": events, "provider": "openai"})
    with pytest.raises(openai.APIError, match="The server had an error") as told:
        openai_streamed(sdk(max_retries=2), said)
    assert type(told.value) is openai.APIError  # no InternalServerError: it has no status
    assert said.parts == events
    assert said.finish is None
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)


def test_a_stream_without_its_end(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: a stream without finish reason and `[DONE]` is a success: nobody knows whether it was whole."""
    said = Said()
    evals_http.inject("sse_unfinished")
    openai_streamed(sdk(max_retries=2), said)
    assert (said.text, said.finish) == (completion(ITEM), None)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)


def test_a_stream_that_stalls(sdk: Sdk, evals_http: Layer7) -> None:
    """A stall that outlasts the time-out is an APITimeoutError, after the text so far; not tried again."""
    said = Said()
    evals_http.inject("sse_stall", {"events": 5})
    with pytest.raises(openai.APITimeoutError):
        openai_streamed(sdk(max_retries=2, timeout=SHORT), said)
    assert said.part
    assert said.parts == 5
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)


def test_a_stall_within_the_timeout(sdk: Sdk, evals_http: Layer7) -> None:
    """A stall that the time-out allows for costs time only; so does one that is healed."""
    said = Said()
    evals_http.inject("sse_stall", {"events": 5, "stall": 200})
    begun = monotonic()
    openai_streamed(sdk(), said)
    assert monotonic() - begun >= 0.2
    assert said.whole
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)


def test_events_that_are_late_slip_under_the_timeout(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: events that are late each may take longer than the time-out altogether, without an error."""
    said = Said()
    evals_http.inject("sse_delay", {"first": 80, "every": 80})
    begun = monotonic()
    openai_streamed(sdk(timeout=openai.Timeout(WITHIN_S, read=1.0)), said)
    assert monotonic() - begun > 1.0
    assert said.whole
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)


def test_a_first_event_later_than_the_timeout(sdk: Sdk, evals: Running, evals_http: Layer7) -> None:
    """The first event's lateness is an APITimeoutError that is not tried again: the stream had begun."""
    said = Said()
    evals_http.inject("sse_delay", {"first": 60_000})
    with pytest.raises(openai.APITimeoutError):
        openai_streamed(sdk(max_retries=2, timeout=SHORT), said)
    assert said.parts == 0
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), openai_streamed)
