"""OpenAI's chat completions, plain and streamed.

Source: https://platform.openai.com/docs/api-reference/chat and /chat-streaming.
"""

from __future__ import annotations

import time
from typing import Annotated, Final

from pydantic import Field, ValidationError

from chaos.demo.model import Question, Reply
from chaos.demo.wire.wire import BadRequest, Flag, Message, Received, Text, dumps, refusal, said_by_user

_Count = Annotated[int, Field(ge=1)]


class _StreamOptions(Received):
    include_usage: Flag = False


class _Request(Received):
    model: Text
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: Flag = False
    stream_options: _StreamOptions | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None


class OpenAI:
    """The format of `POST /v1/chat/completions`."""

    provider: Final = "openai"
    request_id_header: Final = "x-request-id"

    def question(self, payload: dict[str, object]) -> Question:
        """Read a request. Raises BadRequest."""
        try:
            request = _Request.model_validate(payload)
        except ValidationError as error:
            raise refusal(error) from error
        options = request.stream_options
        return Question(
            model=request.model,
            text=said_by_user(request.messages),
            stream=request.stream,
            include_usage=options is not None and options.include_usage,
            max_tokens=request.max_completion_tokens or request.max_tokens,
        )

    def whole(self, question: Question, reply: Reply, ident: str) -> dict[str, object]:
        """A `chat.completion`."""
        message: dict[str, object] = {
            "role": "assistant",
            "content": reply.text,
            "refusal": None,
            "annotations": [],
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply)}
        return {**_head("chat.completion", question, ident), "choices": [choice], "usage": _usage(reply)}

    def begin(self, question: Question, reply: Reply, ident: str) -> str:
        """A chunk that says who speaks."""
        return _event(question, ident, {"role": "assistant", "content": "", "refusal": None})

    def chunk(self, question: Question, text: str, ident: str) -> str:
        """A `chat.completion.chunk` with some content."""
        return _event(question, ident, {"content": text})

    def end(self, question: Question, reply: Reply, ident: str) -> str:
        """The chunk with the finish reason, the usage where it was asked for, and `[DONE]`."""
        events = _event(question, ident, {}, _finish(reply))
        if question.include_usage:
            head = _head("chat.completion.chunk", question, ident)
            events += f"data: {dumps({**head, 'choices': [], 'usage': _usage(reply)})}\n\n"
        return events + "data: [DONE]\n\n"

    def error(self, status: int, error: BadRequest, ident: str) -> dict[str, object]:
        """OpenAI's error body."""
        message, code = str(error), None
        if error.missing:
            message, code = f"Missing required parameter: '{error.field}'.", "missing_required_parameter"
        elif error.field is not None:
            message, code = f"Invalid value for '{error.field}': {error}.", "invalid_value"
        kind = "invalid_request_error" if status < 500 else "server_error"
        return {"error": {"message": message, "type": kind, "param": error.field, "code": code}}


def _finish(reply: Reply) -> str:
    return "length" if reply.cut_short else "stop"


def _usage(reply: Reply) -> dict[str, int]:
    output = len(reply.chunks)
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": output,
        "total_tokens": reply.input_tokens + output,
    }


def _head(kind: str, question: Question, ident: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{ident}",
        "object": kind,
        "created": int(time.time()),
        "model": question.model,
        "system_fingerprint": "fp_demo",
    }


def _event(question: Question, ident: str, delta: dict[str, object], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {**_head("chat.completion.chunk", question, ident), "choices": [choice]}
    if question.include_usage:
        chunk["usage"] = None
    return f"data: {dumps(chunk)}\n\n"
