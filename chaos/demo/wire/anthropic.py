"""Anthropic's messages, plain and streamed.

Source: https://docs.anthropic.com/en/api/messages, /messages-streaming and /errors.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from chaos.demo.model import Question, Reply
from chaos.demo.wire.wire import (
    BadRequest,
    Content,
    Flag,
    Message,
    Received,
    Text,
    dumps,
    refusal,
    said_by_user,
)

_ERROR_TYPES: Final = {404: "not_found_error", 413: "request_too_large"}


class _Message(Message):
    role: Literal["user", "assistant"]
    content: Content


class _Request(Received):
    model: Text
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    stream: Flag = False


class Anthropic:
    """The format of `POST /v1/messages`."""

    provider: Final = "anthropic"
    request_id_header: Final = "request-id"

    def question(self, payload: dict[str, object]) -> Question:
        """Read a request. Raises BadRequest."""
        try:
            request = _Request.model_validate(payload)
        except ValidationError as error:
            raise refusal(error) from error
        text = said_by_user(list[Message](request.messages))
        return Question(request.model, text, request.stream, True, request.max_tokens)

    def whole(self, question: Question, reply: Reply, ident: str) -> dict[str, object]:
        """A `message`."""
        return {
            **_head(question, ident),
            "content": [{"type": "text", "text": reply.text}],
            "stop_reason": _stop_reason(reply),
            "usage": _usage(reply, len(reply.chunks)),
        }

    def begin(self, question: Question, reply: Reply, ident: str) -> str:
        """`message_start`, the start of its only content block, and a ping as the provider sends it."""
        message = {**_head(question, ident), "content": [], "stop_reason": None, "usage": _usage(reply, 1)}
        block = {"type": "text", "text": ""}
        return (
            _event("message_start", message=message)
            + _event("content_block_start", index=0, content_block=block)
            + _event("ping")
        )

    def chunk(self, question: Question, text: str, ident: str) -> str:
        """A `content_block_delta`."""
        return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def end(self, question: Question, reply: Reply, ident: str) -> str:
        """The end of the block, `message_delta` with the stop reason and the usage, `message_stop`."""
        delta = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
        return (
            _event("content_block_stop", index=0)
            + _event("message_delta", delta=delta, usage={"output_tokens": len(reply.chunks)})
            + _event("message_stop")
        )

    def error(self, status: int, error: BadRequest, ident: str) -> dict[str, object]:
        """Anthropic's error body."""
        message = str(error) if error.field is None else f"{error.field}: {error}"
        kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": ident}


def _stop_reason(reply: Reply) -> str:
    return "max_tokens" if reply.cut_short else "end_turn"


def _usage(reply: Reply, output: int) -> dict[str, int]:
    return {
        "input_tokens": reply.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output,
    }


def _head(question: Question, ident: str) -> dict[str, object]:
    return {
        "id": f"msg_{ident}",
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "stop_sequence": None,
    }


def _event(name: str, **fields: object) -> str:
    return f"event: {name}\ndata: {dumps({'type': name, **fields})}\n\n"
