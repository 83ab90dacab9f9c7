"""Replies that are made up, in the upstream's place."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from chaos.proxy.layer7.exchange import Answer, Exchange

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Strike
    from chaos.proxy.layer7.toxics.holding import Room

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_ANTHROPIC_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Source: https://docs.anthropic.com/en/api/errors"""
_ANTHROPIC_MESSAGES: Final = {"overloaded_error": "Overloaded"}


def _set(strike: Strike, exchange: Exchange, answer: Answer, what: str, *, reached: bool) -> None:
    """Answer, unless a toxic before this one does."""
    if exchange.answer is None and exchange.lost is None:
        exchange.answer = answer
        exchange.forward = reached
        strike.applied(what, len(exchange.body))


def _answer(status: int, content_type: str, body: bytes, *more: tuple[str, str]) -> Answer:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Overloaded" if status == 529 else "Unknown"
    headers = (("Date", formatdate(usegmt=True)), *((("Content-Type", content_type),) if body else ()))
    return Answer(f"HTTP/1.1 {status} {phrase}", (*headers, *more), body)


def error_body(provider: str, status: int) -> dict[str, Any]:
    """A provider's error, as its API words it."""
    if provider == "anthropic":
        kind = _ANTHROPIC_ERRORS.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")
        message = _ANTHROPIC_MESSAGES.get(kind, kind.replace("_", " "))
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_brownout"}
    kind, code = "server_error", None
    message = "The server had an error while processing your request."
    if status == 429:
        kind, code, message = "requests", "rate_limit_exceeded", "Rate limit reached for requests."
    elif 400 <= status < 500:
        kind, message = "invalid_request_error", "Invalid request."
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def reply(strike: Strike, exchange: Exchange, room: Room) -> None:
    """`http_reply`."""
    its = strike.attributes
    status, body = its["status"], its["body"].encode()
    if not body and its["provider"] != "none":
        body = json.dumps(error_body(its["provider"], status)).encode()
    more = list(its["headers"].items())
    if its["retry_after"] >= 0:
        more.append(("Retry-After", str(its["retry_after"])))
    answer = _answer(status, its["content_type"], body, *more)
    _set(strike, exchange, answer, f"answered {status}", reached=its["reached"])


# --- empty --------------------------------------------------------------------------------------------------


def empty(strike: Strike, exchange: Exchange, room: Room) -> None:
    """`http_empty`."""
    reached = strike.attributes["reached"]
    if strike.attributes["what"] == "body":
        _set(strike, exchange, _answer(200, _JSON, b""), "answered with no body", reached=reached)
        return
    asked = exchange.parsed if isinstance(exchange.parsed, dict) else {}
    request = exchange.request
    anthropic = request is not None and (
        bool(request.get("anthropic-version")) or request.path.endswith("/messages")
    )
    model, stream = str(asked.get("model", "")), asked.get("stream") is True
    made = (_anthropic if anthropic else _openai)(model, stream)
    answer = _answer(200, _EVENTS if stream else _JSON, made)
    _set(strike, exchange, answer, "answered with an empty completion", reached=reached)


def _openai(model: str, stream: bool) -> bytes:
    """Source: https://platform.openai.com/docs/api-reference/chat and /chat-streaming."""
    base = {"id": "chatcmpl-brownout", "created": int(time.time()), "model": model}
    if not stream:
        message = {"role": "assistant", "content": "", "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return json.dumps({**base, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    deltas: tuple[tuple[dict[str, str], str | None], ...] = (
        ({"role": "assistant", "content": ""}, None),
        ({}, "stop"),
    )
    chunks = [
        {
            **base,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        for delta, reason in deltas
    ]
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*events, "data: [DONE]\n\n"]).encode()


def _anthropic(model: str, stream: bool) -> bytes:
    """Source: https://docs.anthropic.com/en/api/messages and /messages-streaming."""
    message: dict[str, Any] = {
        "id": "msg_brownout",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    if not stream:
        return json.dumps(message).encode()
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 0},
        },
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


# --- JSON-RPC -----------------------------------------------------------------------------------------------


def _call(exchange: Exchange) -> dict[str, Any] | None:
    """The JSON-RPC request that waits for an answer; None for a notification, or what is no call."""
    call = exchange.parsed
    return call if isinstance(call, dict) and "method" in call and call.get("id") is not None else None


def _rpc(strike: Strike, exchange: Exchange, fields: dict[str, Any], what: str) -> None:
    call = _call(exchange)
    if call is not None:
        body = json.dumps({"jsonrpc": "2.0", "id": call["id"], **fields}).encode()
        _set(strike, exchange, _answer(200, _JSON, body), what, reached=strike.attributes["reached"])


def rpc_error(strike: Strike, exchange: Exchange, room: Room) -> None:
    """`rpc_error`."""
    code = strike.attributes["code"]
    _rpc(
        strike,
        exchange,
        {"error": {"code": code, "message": strike.attributes["message"]}},
        f"answered with the error {code}",
    )


def tool_error(strike: Strike, exchange: Exchange, room: Room) -> None:
    """`tool_error`: calls of tools only."""
    call = _call(exchange)
    if call is not None and call["method"] == "tools/call":
        content = [{"type": "text", "text": strike.attributes["message"]}]
        _rpc(strike, exchange, {"result": {"content": content, "isError": True}}, "answered with isError")


def rpc_malformed(strike: Strike, exchange: Exchange, room: Room) -> None:
    """`rpc_malformed`."""
    what = strike.attributes["what"]
    call = _call(exchange)
    if call is None:
        return
    said = f"answered with {what}"
    match what:
        case "no_result":
            _rpc(strike, exchange, {}, said)
        case "null_result":
            _rpc(strike, exchange, {"result": None}, said)
        case "wrong_type":
            _rpc(strike, exchange, {"result": 0}, said)
        case "other_id":
            _rpc(strike, exchange, {"id": f"other-than-{call['id']}"[:200], "result": {}}, said)
        case _:
            body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {"content": []}}).encode()[:-9]
            _set(strike, exchange, _answer(200, _JSON, body), said, reached=strike.attributes["reached"])
