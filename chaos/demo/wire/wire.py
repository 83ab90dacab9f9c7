"""What a wire format is: how a chat request is read, and how a reply and an error are written."""

from __future__ import annotations

import json
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from chaos.demo.model import Question, Reply

_UNION_TAGS = ("str", "list[Part]")


class BadRequest(ValueError):
    """A request that the provider would refuse; `field` is the path of what is wrong (`messages.0.role`)."""

    def __init__(self, message: str, field: str | None = None, missing: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.missing = missing


class Received(BaseModel):
    """A part of a request: what providers accept beyond what is read here is ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Part(Received):
    """A part of a message; parts that are not text say nothing to this model."""

    type: str
    text: str = ""


Content = str | list[Part]
Text = Annotated[str, Field(min_length=1)]


def _none_is_false(value: object) -> object:
    return False if value is None else value


Flag = Annotated[bool, BeforeValidator(_none_is_false)]


class Message(Received):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None


def said_by_user(messages: list[Message]) -> str:
    """All that the user said, in order."""
    return "\n".join(plain(message.content) for message in messages if message.role == "user")


def plain(content: Content | None) -> str:
    """The text of a message's content."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content)


def refusal(error: ValidationError) -> BadRequest:
    """The first thing that is wrong with a request."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"] if part not in _UNION_TAGS)
    return BadRequest(first["msg"], path or None, missing=first["type"] == "missing")


def dumps(value: object) -> str:
    """JSON without spaces, all ASCII."""
    return json.dumps(value, separators=(",", ":"))


class Wire(Protocol):
    """A provider's chat format. Streams are server-sent events."""

    @property
    def provider(self) -> str:
        """Its name in telemetry."""

    @property
    def request_id_header(self) -> str:
        """The reply's header that carries the request's id."""

    def question(self, payload: dict[str, object]) -> Question:
        """Read a request. Raises BadRequest."""

    def whole(self, question: Question, reply: Reply, ident: str) -> dict[str, object]:
        """A reply in one piece."""

    def begin(self, question: Question, reply: Reply, ident: str) -> str:
        """The events before the first chunk."""

    def chunk(self, question: Question, text: str, ident: str) -> str:
        """The event of one chunk."""

    def end(self, question: Question, reply: Reply, ident: str) -> str:
        """The events after the last chunk; the terminal one is among them."""

    def error(self, status: int, error: BadRequest, ident: str) -> dict[str, object]:
        """The body of an error."""
