"""The evals service, by the providers' own SDKs."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from loadtests.items import completion, is_right, item, prompt
from tests.demo.serving import Metrics, Running, wait_for

ITEMS = [item(number) for number in range(8)]


@pytest.fixture
def openai_client(evals: Running) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK."""
    with openai.OpenAI(base_url=f"{evals.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(evals: Running) -> Iterator[anthropic.Anthropic]:
    """Anthropic's SDK."""
    with anthropic.Anthropic(base_url=evals.url, api_key="none", max_retries=0) as client:
        yield client


def post(evals: Running, path: str, body: bytes, method: str = "POST") -> tuple[int, Any]:
    """The status and JSON body of a request."""
    connection = http.client.HTTPConnection(evals.address, timeout=30)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_openai_plain(openai_client: openai.OpenAI) -> None:
    """OpenAI's SDK gets the right answer to each item, with a finish reason and usage."""
    for asked in ITEMS:
        reply = openai_client.chat.completions.create(
            model="demo-model", messages=[{"role": "user", "content": prompt(asked)}]
        )
        assert is_right(asked, reply.choices[0].message.content or "")
        assert reply.choices[0].finish_reason == "stop"
        assert reply.usage is not None
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        assert reply.usage.completion_tokens == len(completion(asked).split())


def test_openai_streamed(openai_client: openai.OpenAI) -> None:
    """Streamed, the same answer comes in several chunks, then the finish reason, then the usage."""
    for asked in ITEMS:
        stream = openai_client.chat.completions.create(
            model="demo-model",
            messages=[{"role": "user", "content": [{"type": "text", "text": prompt(asked)}]}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        pieces = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
        assert is_right(asked, "".join(pieces))
        assert len(pieces) > 10
        assert [c.choices[0].finish_reason for c in chunks[:-1] if c.choices[0].finish_reason] == ["stop"]
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == len(pieces)


def test_openai_stream_ends_with_done(evals: Running) -> None:
    """A stream ends with [DONE], and has no usage unless it was asked for."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt(item(1))}]}
    connection = http.client.HTTPConnection(evals.address, timeout=30)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    assert text.endswith("data: [DONE]\n\n")
    assert "usage" not in text


def test_anthropic_plain(anthropic_client: anthropic.Anthropic) -> None:
    """Anthropic's SDK gets the right answer to each item, with a stop reason and usage."""
    for asked in ITEMS:
        reply = anthropic_client.messages.create(
            model="demo-model", max_tokens=100, messages=[{"role": "user", "content": prompt(asked)}]
        )
        assert is_right(asked, "".join(block.text for block in reply.content if block.type == "text"))
        assert reply.stop_reason == "end_turn"
        assert reply.usage.output_tokens == len(completion(asked).split())


def test_anthropic_streamed(anthropic_client: anthropic.Anthropic) -> None:
    """Streamed, the events come in the documented order, and the SDK puts the same answer together."""
    for asked in ITEMS:
        with anthropic_client.messages.stream(
            model="demo-model",
            max_tokens=100,
            system="You answer.",
            messages=[{"role": "user", "content": [{"type": "text", "text": prompt(asked)}]}],
        ) as stream:
            kinds = [event.type for event in stream]
            message = stream.get_final_message()
        assert is_right(asked, message.content[0].text)
        assert message.stop_reason == "end_turn"
        assert message.usage.output_tokens == len(completion(asked).split())
        wire = [kind for kind in dict.fromkeys(kinds) if kind != "text"]
        assert wire == ["message_start", "content_block_start", "content_block_delta", "content_block_stop",
                        "message_delta", "message_stop"]  # fmt: skip


def test_max_tokens_cut_the_reply(
    openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> None:
    """A reply that was cut short by max_tokens says so, as the providers do."""
    said = prompt(item(0))
    one = openai_client.chat.completions.create(
        model="m", max_tokens=3, messages=[{"role": "user", "content": said}]
    )
    other = anthropic_client.messages.create(
        model="m", max_tokens=3, messages=[{"role": "user", "content": said}]
    )
    assert (one.choices[0].finish_reason, other.stop_reason) == ("length", "max_tokens")
    assert not is_right(item(0), one.choices[0].message.content or "")


def test_latest_question_counts(openai_client: openai.OpenAI) -> None:
    """In a conversation the latest item is answered; without any item the model says that it knows none."""
    reply = openai_client.chat.completions.create(
        model="m",
        messages=[
            {"role": "system", "content": prompt(item(3))},
            {"role": "user", "content": prompt(item(1))},
            {"role": "assistant", "content": completion(item(1))},
            {"role": "user", "content": prompt(item(2))},
        ],
    )
    assert is_right(item(2), reply.choices[0].message.content or "")
    reply = openai_client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}])
    assert "ANSWER" not in (reply.choices[0].message.content or "")


def test_sdk_errors(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> None:
    """The SDKs see bad requests as their own error types, with the field that is wrong."""
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.chat.completions.create(model="m", messages=[])
    assert refused.value.param == "messages"
    with pytest.raises(anthropic.BadRequestError, match="messages: "):
        anthropic_client.messages.create(model="m", max_tokens=1, messages=[])
    with pytest.raises(openai.NotFoundError):
        openai_client.embeddings.create(model="m", input="x")
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "x"}])


BAD_BODIES = [
    b"",
    b"{",
    b"[1]",
    b"null",
    b"{}",
    b"\xff\xfe",
    b"[" * 50_000,
    b'{"model": ' + b"9" * 5000 + b"}",
    b'{"model": "m", "max_tokens": 5, "messages": "hello"}',
    b'{"model": "m", "max_tokens": 5, "messages": [{"role": "king", "content": "x"}]}',
    b'{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": {"a": 1}}]}',
    b'{"model": "\\ud800", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}',
    b'{"model": "m", "max_tokens": -1, "messages": [{"role": "user", "content": "x"}]}',
    b'{"model": "m", "max_tokens": 5, "stream": "yes", "messages": [{"role": "user", "content": "x"}]}',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_bad_bodies(evals: Running, body: bytes) -> None:
    """Whatever is sent, the answer is a 400 in the provider's form, and nothing is logged as an error."""
    status, answer = post(evals, "/v1/chat/completions", body)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    status, answer = post(evals, "/v1/messages", body)
    assert (status, answer["type"], answer["error"]["type"]) == (400, "error", "invalid_request_error")
    for path in ("/score", "/score/batch"):
        status, answer = post(evals, path, body)
        assert (status, bool(answer["error"]["message"])) == (400, True)
    assert not [line for line in evals.log if line["level"] in ("error", "critical")]


def test_body_too_large(evals: Running) -> None:
    """A body beyond the bound is refused with 413, as the providers do."""
    status, answer = post(evals, "/v1/messages", b"[" + b" " * (17 * 2**20))
    assert (status, answer["error"]["type"]) == (413, "request_too_large")


def test_wrong_method_and_path(evals: Running) -> None:
    """Unknown paths are 404 and wrong methods 405, in JSON."""
    assert post(evals, "/v1/nothing", b"{}")[0] == 404
    assert post(evals, "/score", b"{}", method="PUT")[0] == 405


def test_scorer(evals: Running) -> None:
    """The scorer tells right from wrong and from missing answers."""
    for text, score, extracted in (
        (completion(ITEMS[0]), 1, ITEMS[0].answer),
        ("ANSWER: none of them", 0, "none"),
        ("This is about", 0, None),
        ("", 0, None),
    ):
        status, answer = post(evals, "/score", json.dumps({"item": "item-0", "completion": text}).encode())
        expected = {"item": "item-0", "score": score, "expected": ITEMS[0].answer, "extracted": extracted}
        assert (status, answer) == (200, expected)


def test_batch_scorer(evals: Running) -> None:
    """A batch is scored in order, with its accuracy; one bad sample spoils it all, and says where."""
    samples = [{"item": each.id, "completion": completion(each)} for each in ITEMS[:3]]
    samples.append({"item": "item-3", "completion": "cut sh"})
    status, answer = post(evals, "/score/batch", json.dumps({"samples": samples}).encode())
    assert status == 200
    assert [each["score"] for each in answer["scores"]] == [1, 1, 1, 0]
    assert answer["accuracy"] == 0.75
    samples[1]["item"] = "item-x"
    status, answer = post(evals, "/score/batch", json.dumps({"samples": samples}).encode())
    assert (status, "item-x" in answer["error"]["message"]) == (400, True)


def test_health_and_models(evals: Running, openai_client: openai.OpenAI) -> None:
    """It is healthy, and lists its model."""
    assert post(evals, "/healthz", b"", method="GET") == (200, {"status": "ok"})
    assert [model.id for model in openai_client.models.list()] == ["demo-model"]


def test_requests_are_measured(evals: Running, metrics: Metrics, openai_client: openai.OpenAI) -> None:
    """Requests are measured under semantic-convention names; names that clients make up are bounded."""
    for model in ("demo-model", "spaced out"):
        openai_client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}])
    post(evals, "/v1/messages", b"{}")
    name = "gen_ai.server.request.duration"
    for attributes in (
        {"gen_ai__request__model": "demo-model", "gen_ai__provider__name": "openai"},
        {"gen_ai__request__model": "_OTHER", "gen_ai__operation__name": "chat"},
        {"error__type": "400", "gen_ai__provider__name": "anthropic"},
    ):
        wait_for(f"{name} {attributes}", lambda wanted=attributes: bool(metrics.find(name, **wanted)))
    route = {"http__route": "/v1/messages", "http__response__status_code": 400}
    wait_for("the HTTP request", lambda: bool(metrics.find("http.server.request.duration", **route)))
    assert "demo-evals" in {resource["service.name"] for resource in metrics.resources}
