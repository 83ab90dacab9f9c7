"""What the Anthropic SDK makes of requests and replies that are lost or doubled, and of faults within a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from uuid import uuid4

import anthropic
import httpx2
import pytest

from loadtests.items import completion, is_right, item
from tests.demo.serving import Running
from tests.taxonomy.layer7 import Layer7
from tests.taxonomy.place import WITHIN_S
from tests.taxonomy.said import (
    ITEM,
    AnthropicAsk,
    Said,
    anthropic_helped,
    anthropic_plain,
    anthropic_streamed,
    served,
    wait_served,
)

SHORT = anthropic.Timeout(WITHIN_S, read=1.0)
LOSSES = {"close": "RemoteProtocolError", "reset": "ReadError", "hang": "ReadTimeout"}
"""The ways in which a request or its reply is lost, and what the SDK's own HTTP client calls them."""

both = pytest.mark.parametrize("ask", [anthropic_plain, anthropic_streamed])
streams = pytest.mark.parametrize("ask", [anthropic_streamed, anthropic_helped])
lost = pytest.mark.parametrize("how", list(LOSSES))
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


def healed(place: Layer7, client: anthropic.Anthropic, ask: AnthropicAsk) -> bool:
    """Whether, once all is healed, the same client has the right answer."""
    place.heal()
    said = Said()
    ask(client, said)
    return said.whole


def loses(client: anthropic.Anthropic, ask: AnthropicAsk, how: str) -> None:
    """Ask, and see the loss told as it should be."""
    timeout = SHORT if how == "hang" else WITHIN_S
    with pytest.raises(anthropic.APIConnectionError) as told:
        ask(client.with_options(timeout=timeout), Said())
    # An APITimeoutError is an APIConnectionError too.
    expected = anthropic.APITimeoutError if how == "hang" else anthropic.APIConnectionError
    assert type(told.value) is expected
    assert type(told.value.__cause__).__name__ == LOSSES[how]


@both
@lost
def test_a_lost_request(sdk: Sdk, evals: Running, evals_http: Layer7, ask: AnthropicAsk, how: str) -> None:
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
def test_a_lost_reply(sdk: Sdk, evals: Running, evals_http: Layer7, ask: AnthropicAsk, how: str) -> None:
    """HIDDEN: a reply that is lost is the same error as a request that is, though the model has worked."""
    mark = uuid4().hex
    evals_http.inject("reply_lost", {"how": how})
    loses(sdk(default_query={"mark": mark}), ask, how)
    assert evals_http.struck == (1, 1)
    wait_served(evals, mark, 1)
    assert healed(evals_http, sdk(), ask)


@both
def test_a_lost_reply_is_asked_for_again(
    sdk: Sdk, evals: Running, evals_http: Layer7, ask: AnthropicAsk
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
def test_a_request_that_comes_twice(sdk: Sdk, evals: Running, evals_http: Layer7, ask: AnthropicAsk) -> None:
    """HIDDEN: the client sends one request and has one right answer; the model has worked, and billed, twice."""
    mark, said = uuid4().hex, Said()
    evals_http.inject("request_twice")
    ask(sdk(default_query={"mark": mark}), said)
    assert said.whole
    wait_served(evals, mark, 2)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


@both
def test_a_reply_that_is_replayed(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk) -> None:
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


@streams
def test_a_stream_that_ends_early(sdk: Sdk, evals: Running, evals_http: Layer7, ask: AnthropicAsk) -> None:
    """HIDDEN: a stream that ends early and in order is a success: a part of the text, and nothing tried again.

    The SDK, and its helper, miss neither the stop reason nor `message_stop`. Who scores such a text scores 0.
    """
    mark, said = uuid4().hex, Said()
    evals_http.inject("sse_cut", {"events": 6, "how": "clean"})
    ask(sdk(max_retries=2, default_query={"mark": mark}), said)
    assert said.part
    assert not is_right(ITEM, said.text)
    assert evals_http.struck == (1, 1)
    assert served(evals, mark) == 1
    assert healed(evals_http, sdk(), ask)


@streams
def test_a_stream_that_is_cut_with_a_right_length(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk) -> None:
    """HIDDEN: the same, cut in the middle of an event."""
    said = Said()
    evals_http.inject("http_truncate", {"bytes": 900})
    ask(sdk(max_retries=2), said)
    assert said.part
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


@streams
@pytest.mark.parametrize("how", ["frame", "close"])
def test_a_stream_that_breaks_off(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk, how: str) -> None:
    """A stream without its last chunk is told by the HTTP client's RemoteProtocolError, none of the SDK's own.

    Who catches the SDK's errors does not catch it. It comes after a part of the text; nothing is tried again.
    """
    said = Said()
    evals_http.inject("sse_cut", {"events": 6, "how": how})
    with pytest.raises(httpx2.RemoteProtocolError, match="incomplete chunked read") as told:
        ask(sdk(max_retries=2), said)
    assert not isinstance(told.value, anthropic.AnthropicError)
    assert said.part
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


@streams
@pytest.mark.parametrize("events", [0, 6])
def test_an_error_within_a_stream(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk, events: int) -> None:
    """An error event is an APIStatusError that says 200, after the text so far; it is not tried again."""
    said = Said()
    evals_http.inject("sse_error", {"events": events, "provider": "anthropic"})
    with pytest.raises(anthropic.APIStatusError, match="Overloaded") as told:
        ask(sdk(max_retries=2), said)
    assert type(told.value) is anthropic.APIStatusError  # no OverloadedError: its status was sent long ago
    assert told.value.status_code == 200
    assert said.part if events else said.text == ""
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


@streams
def test_an_error_in_another_format(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk) -> None:
    """HIDDEN: an error event without a name, as OpenAI's gateways send it, is skipped: a part, and a success."""
    said = Said()
    evals_http.inject("sse_error", {"events": 6, "provider": "openai"})
    ask(sdk(max_retries=2), said)
    assert said.part
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


@streams
def test_a_stream_without_its_end(sdk: Sdk, evals_http: Layer7, ask: AnthropicAsk) -> None:
    """HIDDEN: a stream without stop reason and `message_stop` is a success: was it whole? Nobody knows."""
    said = Said()
    evals_http.inject("sse_unfinished")
    ask(sdk(max_retries=2), said)
    assert (said.text, said.finish) == (completion(ITEM), None)
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), ask)


def test_a_stream_that_stalls(sdk: Sdk, evals_http: Layer7) -> None:
    """A stall that outlasts the time-out is the HTTP client's ReadTimeout, after the text so far."""
    said = Said()
    evals_http.inject("sse_stall", {"events": 6})
    with pytest.raises(httpx2.ReadTimeout) as told:
        anthropic_streamed(sdk(max_retries=2, timeout=SHORT), said)
    assert not isinstance(told.value, anthropic.AnthropicError)
    assert said.part
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), anthropic_streamed)


def test_a_stall_within_the_timeout(sdk: Sdk, evals_http: Layer7) -> None:
    """A stall that the time-out allows for costs time only."""
    said = Said()
    evals_http.inject("sse_stall", {"events": 6, "stall": 200})
    begun = monotonic()
    anthropic_streamed(sdk(), said)
    assert monotonic() - begun >= 0.2
    assert said.whole
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), anthropic_streamed)


def test_events_that_are_late_slip_under_the_timeout(sdk: Sdk, evals_http: Layer7) -> None:
    """HIDDEN: events that are late each may take longer than the time-out altogether, without an error."""
    said = Said()
    evals_http.inject("sse_delay", {"first": 80, "every": 80})
    begun = monotonic()
    anthropic_streamed(sdk(timeout=anthropic.Timeout(WITHIN_S, read=1.0)), said)
    assert monotonic() - begun > 1.0
    assert said.whole
    assert evals_http.struck == (1, 1)
    assert healed(evals_http, sdk(), anthropic_streamed)
