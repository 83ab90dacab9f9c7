"""What the OpenAI SDK makes of each fault between it and a model endpoint, plain and streamed.

By default it tries three times before it tells, and a fault that is over by then is not told at all. A stream
that has begun is never tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import uuid4

import openai
import pytest

from loadtests.items import completion, extract, is_right, item, prompt
from tests.demo.serving import Running, wait_for
from tests.taxonomy.place import WITHIN_S, Place

ITEM = item(0)
WHOLE = completion(ITEM)
QUESTION: Any = {"model": "demo-model", "messages": [{"role": "user", "content": prompt(ITEM)}]}
TRIES = 1 + openai.DEFAULT_MAX_RETRIES
SHORT_S = 0.2
SHORT = openai.Timeout(WITHIN_S, read=SHORT_S)


@dataclass
class Streamed:
    """What a caller has of a stream: the text, and the finish reason where one came."""

    text: str = ""
    finish_reason: str | None = None

    def read(self, client: openai.OpenAI, after_first: Callable[[], object] = lambda: None) -> None:
        """Ask, and read the stream to its end, or until the SDK raises."""
        for number, chunk in enumerate(client.chat.completions.create(stream=True, **QUESTION)):
            self.text += chunk.choices[0].delta.content or ""
            self.finish_reason = chunk.choices[0].finish_reason
            if number == 0:
                after_first()


def plain(client: openai.OpenAI) -> bool:
    """Whether the reply, asked for in one piece, is the right one."""
    choice = client.chat.completions.create(**QUESTION).choices[0]
    return is_right(ITEM, choice.message.content or "") and choice.finish_reason == "stop"


def streamed(client: openai.OpenAI) -> bool:
    """Whether the streamed reply is the right one, with its terminal event."""
    reply = Streamed()
    reply.read(client)
    return reply == Streamed(WHOLE, "stop")


Ask = Callable[[openai.OpenAI], bool]
both = pytest.mark.parametrize("ask", [plain, streamed])


@pytest.fixture(scope="module")
def sdk() -> Iterator[Callable[..., openai.OpenAI]]:
    """Makes clients: `max_retries` is the SDK's default unless given, the time-out is long unless given."""
    with openai.OpenAI(api_key="none", timeout=WITHIN_S) as client:
        yield lambda place, **options: client.with_options(base_url=f"{place.url}/v1", **options)


@dataclass
class Retries:
    """The SDK's own word on its retries, in its log and nowhere else; `first` is done at the first one."""

    told: int = 0
    first: Callable[[], object] = field(default=lambda: None)


@pytest.fixture
def retries() -> Iterator[Retries]:
    """Counts the SDK's retries by what it logs at level INFO."""
    counted = Retries()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Retrying request"):
                counted.told += 1
                if counted.told == 1:
                    counted.first()

    logger, listener = logging.getLogger("openai"), Listener()
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    yield counted
    logger.removeHandler(listener)
    logger.setLevel(level)


def served(evals: Running, mark: str) -> int:
    """How many requests with this mark the service has begun to answer, by its own log."""
    return evals.err.read_text().count(mark)


@both
def test_latency_within_the_timeout(
    sdk: Callable[..., openai.OpenAI], evals_place: Place, retries: Retries, ask: Ask
) -> None:
    """A delay that the time-out allows for costs time only; nothing is tried again."""
    client = sdk(evals_place)
    evals_place.inject("latency", latency=200)
    begun = monotonic()
    assert ask(client)
    assert monotonic() - begun >= 0.19
    evals_place.heal()
    assert ask(client)
    assert retries.told == 0


@both
def test_latency_beyond_the_timeout(sdk: Callable[..., openai.OpenAI], evals_place: Place, ask: Ask) -> None:
    """Without retries a reply that outlasts the time-out is an APITimeoutError; healed, the client works on."""
    client = sdk(evals_place, max_retries=0)
    evals_place.inject("latency", "upstream", latency=60_000)
    begun = monotonic()
    with pytest.raises(openai.APITimeoutError, match="timed out") as told:
        ask(client.with_options(timeout=SHORT))
    assert monotonic() - begun >= SHORT_S
    assert type(told.value.__cause__).__name__ == "ReadTimeout"
    evals_place.heal()
    assert ask(client)


def test_jitter_keeps_a_stream_in_order(
    sdk: Callable[..., openai.OpenAI], evals_place: Place, retries: Retries
) -> None:
    """Jitter makes chunks unequally late and never overtake each other; nothing is lost or tried again."""
    client = sdk(evals_place)
    evals_place.inject("latency", latency=40, jitter=40)
    delays = []
    for _ in range(3):
        begun = monotonic()
        assert streamed(client)
        delays.append(monotonic() - begun)
    assert max(delays) >= 0.02  # a stream has over 20 chunks, each 0 to 80 ms late
    evals_place.heal()
    assert streamed(client)
    assert retries.told == 0


def test_bandwidth_slips_under_the_timeout(
    sdk: Callable[..., openai.OpenAI], evals_place: Place, retries: Retries
) -> None:
    """HIDDEN: a squeezed stream may take longer than the time-out, without an error or a retry.

    The time-out is for each read, and a stream is read in pieces. Its 5 kB take 1.3 s at 4 kB/s.
    """
    client = sdk(evals_place)
    evals_place.inject("bandwidth", rate=4)
    begun = monotonic()
    assert streamed(client.with_options(timeout=openai.Timeout(WITHIN_S, read=1.0)))
    assert monotonic() - begun > 1.0
    evals_place.heal()
    assert streamed(client)
    assert retries.told == 0


@both
def test_refused(sdk: Callable[..., openai.OpenAI], evals_place: Place, ask: Ask) -> None:
    """Without retries a refused connection is an APIConnectionError."""
    client = sdk(evals_place, max_retries=0)
    evals_place.refuse()
    with pytest.raises(openai.APIConnectionError, match="Connection error") as told:
        ask(client)
    assert type(told.value.__cause__).__name__ == "ConnectError"
    evals_place.heal()
    assert ask(client)


@both
def test_reset(sdk: Callable[..., openai.OpenAI], evals_place: Place, ask: Ask) -> None:
    """Without retries a connection that is reset is an APIConnectionError."""
    client = sdk(evals_place, max_retries=0)
    evals_place.inject("reset_peer", timeout=0)
    with pytest.raises(openai.APIConnectionError, match="Connection error") as told:
        ask(client)
    assert type(told.value.__cause__).__name__ == "ReadError"
    evals_place.heal()
    assert ask(client)


def test_a_reset_is_served_three_times(
    sdk: Callable[..., openai.OpenAI], evals: Running, evals_place: Place, retries: Retries
) -> None:
    """HIDDEN: by default the endpoint does the work three times for the one error that is told."""
    mark = uuid4().hex
    client = sdk(evals_place, default_query={"mark": mark})
    evals_place.inject("reset_peer", timeout=0)
    with pytest.raises(openai.APIConnectionError):
        streamed(client)
    assert retries.told == openai.DEFAULT_MAX_RETRIES
    wait_for("the requests in the service's log", lambda: served(evals, mark) == TRIES)
    evals_place.heal()
    assert streamed(client)


@pytest.mark.parametrize(("fault", "ask"), [("refused", plain), ("reset", streamed), ("limit_data", plain)])
def test_retries_hide_a_short_fault(
    sdk: Callable[..., openai.OpenAI], evals_place: Place, retries: Retries, ask: Ask, fault: str
) -> None:
    """HIDDEN: a fault that is over at the first retry leaves no trace with the caller: the reply is right."""
    retries.first = evals_place.heal
    if fault == "refused":
        evals_place.refuse()
    elif fault == "reset":
        evals_place.inject("reset_peer", timeout=0)
    else:
        evals_place.inject("limit_data", bytes=10)
    assert ask(sdk(evals_place))
    assert retries.told == 1


@pytest.mark.parametrize(("stream", "ask"), [("downstream", plain), ("upstream", streamed)])
def test_black_hole(sdk: Callable[..., openai.OpenAI], evals_place: Place, ask: Ask, stream: str) -> None:
    """Without retries a black hole is an APITimeoutError after the time-out."""
    client = sdk(evals_place, max_retries=0)
    evals_place.inject("timeout", stream, timeout=0)
    begun = monotonic()
    with pytest.raises(openai.APITimeoutError, match="timed out"):
        ask(client.with_options(timeout=SHORT))
    assert monotonic() - begun >= SHORT_S
    evals_place.heal()
    assert ask(client)


def test_a_black_hole_takes_three_timeouts(
    sdk: Callable[..., openai.OpenAI], evals: Running, evals_place: Place, retries: Retries
) -> None:
    """HIDDEN: by default the caller hears of a black hole after three time-outs, and three served requests."""
    mark = uuid4().hex
    client = sdk(evals_place, default_query={"mark": mark})
    evals_place.inject("timeout", timeout=0)
    begun = monotonic()
    with pytest.raises(openai.APITimeoutError):
        plain(client.with_options(timeout=SHORT))
    assert monotonic() - begun >= TRIES * SHORT_S
    assert retries.told == openai.DEFAULT_MAX_RETRIES
    wait_for("the requests in the service's log", lambda: served(evals, mark) == TRIES)
    evals_place.heal()
    assert plain(client)


def test_limit_data_within_a_plain_reply(sdk: Callable[..., openai.OpenAI], evals_place: Place) -> None:
    """A body shorter than its Content-Length is an APIConnectionError whose cause says so."""
    client = sdk(evals_place, max_retries=0)
    evals_place.inject("limit_data", bytes=400)
    with pytest.raises(openai.APIConnectionError) as told:
        plain(client)
    assert "without sending complete message body" in str(told.value.__cause__)
    evals_place.heal()
    assert plain(client)


def test_limit_data_within_a_stream(
    sdk: Callable[..., openai.OpenAI], evals: Running, evals_place: Place, retries: Retries
) -> None:
    """A chunked stream that is cut is told after the text so far, and is not tried again.

    The caller holds a part of the text, without a finish reason, when the APIConnectionError comes.
    """
    mark, reply = uuid4().hex, Streamed()
    client = sdk(evals_place, default_query={"mark": mark})
    evals_place.inject("limit_data", bytes=2500)
    with pytest.raises(openai.APIConnectionError) as told:
        reply.read(client)
    assert "incomplete chunked read" in str(told.value.__cause__)
    assert (retries.told, served(evals, mark)) == (0, 1)
    assert reply.finish_reason is None
    assert reply.text
    assert WHOLE.startswith(reply.text)
    assert extract(reply.text) is None
    evals_place.heal()
    assert streamed(client)


def test_limit_data_without_chunks_is_silent(
    sdk: Callable[..., openai.OpenAI], gateway_place: Place, retries: Retries
) -> None:
    """HIDDEN: where a stream ends with its connection, one that is cut just ends: no error, no answer.

    The SDK does not miss the finish reason nor `[DONE]`. Who scores such a text scores 0.
    """
    client, reply = sdk(gateway_place), Streamed()
    assert streamed(client)
    gateway_place.inject("limit_data", bytes=2500)
    reply.read(client)
    assert reply.finish_reason is None
    assert reply.text
    assert WHOLE.startswith(reply.text)
    assert not is_right(ITEM, reply.text)
    assert retries.told == 0
    gateway_place.heal()
    assert streamed(client)


@pytest.mark.parametrize("fault", ["black hole", "reset", "refused"])
def test_a_fault_within_a_stream(
    sdk: Callable[..., openai.OpenAI], slow_evals_place: Place, retries: Retries, fault: str
) -> None:
    """What comes in the middle of a stream is told after the text so far, and is not tried again."""

    def inject() -> None:
        if fault == "black hole":
            slow_evals_place.inject("timeout", timeout=0)
        elif fault == "reset":
            slow_evals_place.inject("reset_peer", timeout=0)
        else:
            slow_evals_place.refuse()

    reply = Streamed()
    client = sdk(
        slow_evals_place, timeout=openai.Timeout(WITHIN_S, read=1.0 if fault == "black hole" else WITHIN_S)
    )
    with pytest.raises(openai.APIConnectionError) as told:
        reply.read(client, after_first=inject)
    # An APITimeoutError is an APIConnectionError too.
    expected = openai.APITimeoutError if fault == "black hole" else openai.APIConnectionError
    assert type(told.value) is expected
    assert reply.finish_reason is None
    assert reply.text != WHOLE
    assert WHOLE.startswith(reply.text)
    assert retries.told == 0
    slow_evals_place.heal()
    assert [model.id for model in sdk(slow_evals_place).models.list()] == ["demo-model"]


@both
def test_slicer_costs_time_only(
    sdk: Callable[..., openai.OpenAI], evals_place: Place, retries: Retries, ask: Ask
) -> None:
    """A reply in pieces of some 64 bytes, 4 ms apart, comes late and whole: no event is torn."""
    client = sdk(evals_place)
    evals_place.inject("slicer", average_size=64, delay=4_000)
    begun = monotonic()
    assert ask(client)
    assert monotonic() - begun >= 0.02  # the smaller reply has over 600 bytes
    evals_place.heal()
    assert ask(client)
    assert retries.told == 0


@both
def test_slow_close_is_not_felt(
    sdk: Callable[..., openai.OpenAI], evals_place: Place, retries: Retries, ask: Ask
) -> None:
    """Where closing is slow nothing is noticed."""
    client = sdk(evals_place)
    evals_place.inject("slow_close", delay=600_000)
    assert ask(client)
    assert ask(client)
    evals_place.heal()
    assert ask(client)
    assert retries.told == 0
