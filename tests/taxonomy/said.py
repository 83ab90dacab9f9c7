"""What a caller of a model has in hand, however the call ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import openai

from loadtests.items import completion, item, prompt
from tests.demo.serving import Running, wait_for

ITEM = item(0)
WHOLE = completion(ITEM)


def question(number: int = 0) -> Any:
    """A question about an item, in either wire format."""
    return {"model": "demo-model", "messages": [{"role": "user", "content": prompt(item(number))}]}


@dataclass
class Said:
    """The text so far, and why it ended where the caller was told. `parts` counts chunks, or events."""

    text: Any = ""
    finish: str | None = None
    parts: int = 0

    @property
    def whole(self) -> bool:
        """Whether it is the right answer to the first item, and says that it is complete."""
        return self.text == WHOLE and self.finish in ("stop", "end_turn")

    @property
    def part(self) -> bool:
        """Whether it is a beginning of the right answer that does not say that it is complete."""
        return bool(self.text) and self.text != WHOLE and WHOLE.startswith(self.text) and self.finish is None


def openai_plain(client: openai.OpenAI, said: Said, number: int = 0) -> None:
    """Ask for a completion in one piece."""
    choice = client.chat.completions.create(**question(number)).choices[0]
    said.text, said.finish = choice.message.content, choice.finish_reason


def openai_streamed(client: openai.OpenAI, said: Said, number: int = 0) -> None:
    """Ask for a stream, and read it to its end or until the SDK raises."""
    for chunk in client.chat.completions.create(stream=True, **question(number)):
        said.parts += 1
        said.text += chunk.choices[0].delta.content or ""
        said.finish = chunk.choices[0].finish_reason


def anthropic_plain(client: anthropic.Anthropic, said: Said, number: int = 0) -> None:
    """Ask for a message in one piece; the text is that of its first block, empty without any."""
    message = client.messages.create(max_tokens=100, **question(number))
    said.text = message.content[0].text if message.content else ""
    said.finish = message.stop_reason


def anthropic_streamed(client: anthropic.Anthropic, said: Said, number: int = 0) -> None:
    """Ask for a stream of events, and read it to its end or until the SDK raises."""
    for event in client.messages.create(max_tokens=100, stream=True, **question(number)):
        said.parts += 1
        if event.type == "content_block_delta":
            said.text += event.delta.text
        elif event.type == "message_delta":
            said.finish = event.delta.stop_reason


def anthropic_helped(client: anthropic.Anthropic, said: Said, number: int = 0) -> None:
    """Ask by the SDK's helper, which adds a message up from the events."""
    with client.messages.stream(max_tokens=100, **question(number)) as stream:
        for text in stream.text_stream:
            said.parts += 1
            said.text += text
        message = stream.get_final_message()
    assert said.text == "".join(getattr(block, "text", "") for block in message.content)
    said.finish = message.stop_reason


OpenAIAsk = Callable[..., None]
AnthropicAsk = Callable[..., None]


def served(evals: Running, mark: str) -> int:
    """How many requests with this mark the service has begun to answer, by its own log."""
    return evals.err.read_text().count(mark)


def wait_served(evals: Running, mark: str, times: int) -> None:
    """Wait until so many have been, and no more."""
    wait_for(f"{times} requests in the service's log", lambda: served(evals, mark) >= times)
    assert served(evals, mark) == times
