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

Message = dict[str, str]
"""One message of a conversation: its role and its content."""


@dataclass(slots=True)
class Completion:
    """What a reply, or as much of it as came, says. Token counts are the service's own; None: not told."""

    parts: list[str] = field(default_factory=list)
    pieces: int = 0
    """Events that brought something generated: text, reasoning, a part of a tool call."""
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

    def body(self, options: ChatOptions, prompt: str) -> bytes:
        """The body of a request that asks one thing."""
        return self.conversation(options, [{"role": "user", "content": prompt}], None)

    def conversation(self, options: ChatOptions, messages: list[Message], system: str | None) -> bytes:
        """The body of a request that says all that was said so far."""
        asked = self.asked(options, messages, system)
        for key, value in options.body.items():
            if value is None:
                asked.pop(key, None)
            else:
                asked[key] = value
        return json.dumps(asked).encode()

    @abstractmethod
    def asked(self, options: ChatOptions, messages: list[Message], system: str | None) -> dict[str, Any]:
        """What a body says, before the options' own keys."""

    def authorized(self, key: str) -> Mapping[str, str]:
        """`headers` with an API key of the user's own, as both SDKs send it."""
        return {**self.headers, "Authorization": f"Bearer {key}"}

    @abstractmethod
    def whole(self, data: Any, into: Completion) -> None:
        """Take in a plain reply. Raises KeyError, TypeError, IndexError when it is no completion."""

    @abstractmethod
    def event(self, name: str, data: Any, into: Completion) -> None:
        """Take in one event of a stream. Raises Broken when it reports an error."""


def _base(options: ChatOptions, messages: list[Message]) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "model": options.model,
        "max_tokens": options.max_tokens,
        "messages": messages,
    }
    if options.stream:
        asked["stream"] = True
    return asked


class OpenAI(Api):
    """POST /v1/chat/completions."""

    provider = "openai"
    path = "/v1/chat/completions"
    headers: ClassVar[Mapping[str, str]] = {"Authorization": "Bearer brownout"}

    def asked(self, options: ChatOptions, messages: list[Message], system: str | None) -> dict[str, Any]:
        """The request; a streamed one asks for the usage, which comes in an event of its own."""
        said: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        asked = _base(options, said + messages)
        if options.stream:
            asked["stream_options"] = {"include_usage": True}
        return asked

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
            delta = choice.get("delta") or {}
            content = delta.get("content")
            if content:
                into.parts.append(content)
            if any(value for key, value in delta.items() if key != "role"):
                into.pieces += 1
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
    headers: ClassVar[Mapping[str, str]] = {
        "Authorization": "Bearer brownout",
        "anthropic-version": "2026-10-21",
    }

    def asked(self, options: ChatOptions, messages: list[Message], system: str | None) -> dict[str, Any]:
        """The request; what the system says is a key of its own."""
        asked = _base(options, messages)
        if system is not None:
            asked["system"] = system
        return asked

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
                into.pieces += 1
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
