"""The two chat wire formats: what a request looks like, and what a reply says.

Invariant: a stream is complete only with its terminal event: a `finish_reason` (OpenAI), `message_stop`
(Anthropic). A connection that ends without it, however cleanly, has cut the answer short.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from loadtests.options.chat import ChatOptions
from loadtests.users.connect import Broken


@dataclass(slots=True)
class Completion:
    """What a reply, or as much of it as came, says. Token counts are the service's own; None: not told."""

    parts: list[str] = field(default_factory=list)
    terminal: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self.parts)


class Api(ABC):
    """A provider's wire format."""

    provider: ClassVar[str]
    path: ClassVar[str]
    headers: ClassVar[Mapping[str, str]]

    @abstractmethod
    def body(self, options: ChatOptions, prompt: str) -> bytes:
        """The request's body."""

    @abstractmethod
    def whole(self, data: Any, into: Completion) -> None:
        """Take in a plain reply. Raises KeyError, TypeError, IndexError when it is no completion."""

    @abstractmethod
    def event(self, name: str, data: Any, into: Completion) -> None:
        """Take in one event of a stream. Raises Broken when it reports an error."""


def _base(options: ChatOptions, prompt: str) -> dict[str, Any]:
    return {
        "model": options.model,
        "max_tokens": options.max_tokens,
        "messages": [{"role": "user", "content": prompt}],
        "stream": options.stream,
    }


class OpenAI(Api):
    """POST /v1/chat/completions."""

    provider = "openai"
    path = "/v1/chat/completions"
    headers: ClassVar[Mapping[str, str]] = {"Authorization": "Bearer brownout"}

    def body(self, options: ChatOptions, prompt: str) -> bytes:
        """The request; a streamed one asks for the usage, which comes in an event of its own."""
        asked = _base(options, prompt)
        if options.stream:
            asked["stream_options"] = {"include_usage": True}
        return json.dumps(asked).encode()

    def whole(self, data: Any, into: Completion) -> None:
        """Take in a `chat.completion`."""
        choice = data["choices"][0]
        into.parts.append(choice["message"].get("content") or "")
        into.terminal = choice.get("finish_reason") is not None
        self._usage(data, into)

    def event(self, name: str, data: Any, into: Completion) -> None:
        """Take in a `chat.completion.chunk`."""
        if name == "error" or "error" in data:
            raise Broken("incomplete_stream", f"the stream reports an error: {str(data)[:200]}", retry=False)
        for choice in data.get("choices") or ():
            content = (choice.get("delta") or {}).get("content")
            if content:
                into.parts.append(content)
            if choice.get("finish_reason") is not None:
                into.terminal = True
        self._usage(data, into)

    @staticmethod
    def _usage(data: Any, into: Completion) -> None:
        usage = data.get("usage")
        if usage:
            into.input_tokens = usage.get("prompt_tokens")
            into.output_tokens = usage.get("completion_tokens")


class Anthropic(Api):
    """POST /v1/messages."""

    provider = "anthropic"
    path = "/v1/messages"
    headers: ClassVar[Mapping[str, str]] = {"x-api-key": "brownout", "anthropic-version": "2023-06-01"}

    def body(self, options: ChatOptions, prompt: str) -> bytes:
        """The request."""
        return json.dumps(_base(options, prompt)).encode()

    def whole(self, data: Any, into: Completion) -> None:
        """Take in a `message`."""
        into.parts += [block.get("text", "") for block in data["content"]]
        into.terminal = data.get("stop_reason") is not None
        self._usage(data, into)

    def event(self, name: str, data: Any, into: Completion) -> None:
        """Take in an event, by its `type`."""
        match data.get("type") or name:
            case "error":
                raise Broken(
                    "incomplete_stream", f"the stream reports an error: {str(data)[:200]}", retry=False
                )
            case "message_start":
                self._usage(data.get("message") or {}, into)
            case "content_block_delta":
                into.parts.append((data.get("delta") or {}).get("text") or "")
            case "message_delta":
                self._usage(data, into)
            case "message_stop":
                into.terminal = True
            case _:
                pass

    @staticmethod
    def _usage(data: Any, into: Completion) -> None:
        usage = data.get("usage")
        if usage:
            into.input_tokens = usage.get("input_tokens", into.input_tokens)
            into.output_tokens = usage.get("output_tokens", into.output_tokens)


APIS: Final[dict[str, Api]] = {"openai": OpenAI(), "anthropic": Anthropic()}

_DONE: Final = "[DONE]"


def take_events(events: Iterable[tuple[str, str]], api: Api, into: Completion) -> Iterable[None]:
    """Take in a stream, and yield once for each event.

    Raises Broken: an event is no JSON object, or reports an error.
    """
    for name, text in events:
        if text != _DONE:
            try:
                data = json.loads(text)
                api.event(name, data, into)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise Broken(
                    "protocol_error", f"expected an event in JSON, got {text[:80]!r}", retry=False
                ) from error
        yield
