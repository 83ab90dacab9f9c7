"""What the official SDKs do is what the chat users do: their requests, and when they try again."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import httpx2
import openai
import pytest

from loadtests import metrics
from loadtests.users.sdkretries import JITTER, SdkRetry
from tests.loadtests.locusts import locust, wait_until, workload
from tests.loadtests.unruly import Request, http

KEY = "sk-test-0123456789"
VARIABLE = "BROWNOUT_TEST_CHAT_KEY"
SYSTEM = "You are brief."
PROMPT = "What is 2 + 2?"
BODY: dict[str, dict[str, Any]] = {
    "openai": {"temperature": 0},
    "anthropic": {"stop_sequences": ["END"], "thinking": {"type": "disabled"}},
}
NOISE = {"user-agent", "accept", "accept-encoding", "connection", "host", "content-length", "traceparent"}
"""Headers that differ between any two clients, and say nothing of the protocol."""


class Captured:
    """A server that keeps each request, and refuses it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> None:
        """Keep it, and refuse it; the complaint repeats the key, as services do."""
        with self._lock:
            self.requests.append(request)
        complaint = {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "invalid"}}
        request.reply(401, json.dumps(complaint).encode(), Content_Type="application/json")

    @property
    def first(self) -> tuple[str, dict[str, str], Any]:
        """The request line, the headers that matter, and the body, of the first request."""
        request = self.requests[0]
        line, *lines = request.head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        kept = {
            name: value
            for name, value in headers.items()
            if name not in NOISE and not name.startswith("x-stainless")
        }
        return line, kept, json.loads(request.body)


def _ask(api: str, url: str, stream: bool) -> None:
    """The SDK's own request; it is refused."""
    asked: dict[str, Any] = {"model": "some-model", "max_tokens": 64, **BODY[api]}
    messages = [{"role": "user", "content": PROMPT}]
    if stream:
        asked["stream"] = True
    if api == "openai":
        messages = [{"role": "system", "content": SYSTEM}, *messages]
        if stream:
            asked["stream_options"] = {"include_usage": True}
        with (
            openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.chat.completions.create(messages=messages, **asked)
    else:
        with (
            anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0) as client,
            pytest.raises(anthropic.AuthenticationError),
        ):
            client.messages.create(messages=messages, system=SYSTEM, **asked)


CASES = [(api, stream) for api in ("openai", "anthropic") for stream in (True, False)]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, bool], Captured]]:
    """What our users ask in each format, with a prompt, a key and a body of their own."""
    folder = tmp_path_factory.mktemp("asked")
    prompts = folder / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": PROMPT, "system": SYSTEM}) + "\n")
    captured = {case: Captured() for case in CASES}
    with pytest.MonkeyPatch.context() as environment, contextlib.ExitStack() as stack:
        environment.setenv(VARIABLE, KEY)
        workloads = [
            workload(
                f"{api}-{'streamed' if stream else 'whole'}",
                stack.enter_context(http(captured[api, stream])),
                "chat",
                api=api,
                stream=stream,
                model="some-model",
                max_tokens=64,
                body=BODY[api],
                prompts=str(prompts),
                api_key_env=VARIABLE,
            )
            for api, stream in CASES
        ]
        load = stack.enter_context(locust(folder / "load", workloads=workloads))
        load.begin("baseline")
        wait_until(lambda: all(each.requests for each in captured.values()), "requests")
        assert load.stop() == 0, load.log
        assert load.receiver.count(metrics.CHAT_DURATION, type="401") >= len(CASES)
        yield captured
        written = [path for path in folder.rglob("*") if path.is_file()]
        assert written
        assert [path for path in written if KEY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(("api", "stream"), CASES)
def test_requests_are_those_of_the_sdks(
    asked: dict[tuple[str, bool], Captured], api: str, stream: bool
) -> None:
    """The same request line, the same headers that matter (the key among them), the same body."""
    theirs = Captured()
    with http(theirs) as url:
        _ask(api, url, stream)
    ours = asked[api, stream].first
    assert ours[0] == theirs.first[0]
    assert ours[2] == theirs.first[2]
    assert ours[1] == theirs.first[1]
    assert ours[1]["authorization"] == f"Bearer {KEY}"


def test_a_key_is_never_written_down(asked: dict[tuple[str, bool], Captured]) -> None:
    """It reached each service, and no file of the load (plan, log, history) holds it: see the fixture's end."""
    for captured in asked.values():
        assert all(KEY in request.head for request in captured.requests)


SDKS: dict[str, Any] = {
    "openai": lambda: openai.OpenAI(api_key="none"),
    "anthropic": lambda: anthropic.Anthropic(api_key="none"),
}
HEADERS: list[dict[str, str]] = [
    {},
    {"retry-after": "2"},
    {"retry-after": "0.25"},
    {"retry-after": "0"},
    {"retry-after": "-3"},
    {"retry-after": "60"},
    {"retry-after": "61"},
    {"retry-after": "120"},
    {"retry-after": "121"},
    {"retry-after": "100000000"},
    {"retry-after": "soon"},
    {"retry-after": "nan"},
    {"retry-after-ms": "250", "retry-after": "9"},
    {"retry-after-ms": "soon", "retry-after": "9"},
    {"x-should-retry": "true"},
    {"x-should-retry": "false"},
    {"x-should-retry": "maybe"},
    {"x-should-retry": "true", "retry-after": "200"},
    {"x-should-retry": "false", "retry-after": "1"},
]


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504, 529])
def test_refusals_are_tried_again_when_the_sdk_would(
    api: Literal["openai", "anthropic"], status: int
) -> None:
    """By the SDK's own functions, over statuses and headers: whether, and after how long."""
    ours = SdkRetry(api, most=2, first_s=0.5, heed=True)
    with SDKS[api]() as client:
        for headers in HEADERS:
            response = httpx2.Response(status, headers=headers)
            failure = ours.refusal(status, headers, "")
            for number in range(3):
                theirs = number < 2 and client._should_retry(response)
                pause = ours.pause_s(number, failure, random.Random(1))
                assert (pause is not None) == theirs, (headers, number)
                if pause is None:
                    continue
                options = openai._models.FinalRequestOptions.construct(method="post", url="/", max_retries=2)
                exact = [
                    client._calculate_retry_timeout(2 - number, options, response.headers) for _ in range(30)
                ]
                assert min(exact) * (1 - JITTER) - 1e-9 <= pause <= max(exact) / (1 - JITTER) + 1e-9
                if len(set(exact)) == 1:
                    assert pause == exact[0]
                else:
                    full = 0.5 * 2**number
                    assert all(full * (1 - JITTER) <= each <= full for each in (*exact, pause))


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_client_that_ignores_retry_after_goes_by_its_backoff(api: Literal["openai", "anthropic"]) -> None:
    """Neither Retry-After nor x-should-retry has a say; the pause doubles from the first one."""
    ours = SdkRetry(api, most=2, first_s=0.5, heed=False)
    failure = ours.refusal(429, {"retry-after": "30", "x-should-retry": "false"}, "")
    for number in range(2):
        pause = ours.pause_s(number, failure, random.Random(1))
        assert pause is not None
        assert 0.5 * 2**number * (1 - JITTER) <= pause <= 0.5 * 2**number
    assert ours.pause_s(2, failure, random.Random(1)) is None


def test_the_sdks_defaults_are_ours() -> None:
    """Two retries, half a second to eight."""
    for sdk in (openai, anthropic):
        assert sdk.DEFAULT_MAX_RETRIES == 2
        constants = sdk._constants
        assert (constants.INITIAL_RETRY_DELAY, constants.MAX_RETRY_DELAY) == (0.5, 8.0)
