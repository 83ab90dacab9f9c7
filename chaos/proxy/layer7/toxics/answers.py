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
_ANTHROPIC_MESSAGES: Final = {
    "api_error": "Internal server error",
    "authentication_error": "invalid x-api-key",
    "not_found_error": "Not found",
    "overloaded_error": "Overloaded",
    "rate_limit_error": "Number of requests has exceeded your per-minute rate limit "
    "(https://docs.anthropic.com/en/api/rate-limits). Please try again later.",
    "request_too_large": "Request exceeds the maximum size",
}
_OPENAI_MESSAGES: Final = {
    401: "Incorrect API key provided.",
    429: "Rate limit reached for requests. Please try again later. "
    "Visit https://platform.openai.com/account/rate-limits to learn more.",
    503: "The engine is currently overloaded, please try again later",
}
"""Source: https://platform.openai.com/docs/guides/error-codes"""
_RESULTS_HAVE_TYPES: Final = "2026-07-28"
"""The version of MCP from which on a result that does not say `resultType` is refused by clients."""
_REQUEST_ID: Final = {"openai": "x-request-id", "anthropic": "request-id"}
"""The header by which the SDKs tell a caller the id of a request."""


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


def request_id(strike: Strike) -> str:
    """The id that an error bears: that of the hit, so that what a client logs leads to it."""
    return f"req_brownout_{strike.hit.number}"


def error_body(provider: str, status: int, ident: str) -> dict[str, Any]:
    """A provider's error, as its API words it; `ident` is the request's."""
    if provider == "anthropic":
        kind = _ANTHROPIC_ERRORS.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")
        message = _ANTHROPIC_MESSAGES.get(kind, kind.replace("_", " "))
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": ident}
    kind, code = "server_error", None
    message = _OPENAI_MESSAGES.get(status, "The server had an error while processing your request.")
    if status == 429:
        kind, code = "requests", "rate_limit_exceeded"
    elif 400 <= status < 500:
        kind, code = "invalid_request_error", "invalid_api_key" if status == 401 else None
        message = _OPENAI_MESSAGES.get(status, "Invalid request.")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def reply(strike: Strike, exchange: Exchange, room: Room) -> None:
    """`http_reply`."""
    its = strike.attributes
    status, provider, body = its["status"], its["provider"], its["body"].encode()
    more = list(its["headers"].items())
    given = {name.lower() for name in its["headers"]}
    if not body and provider != "none":
        body = json.dumps(error_body(provider, status, request_id(strike))).encode()
        if _REQUEST_ID[provider] not in given:
            more.append((_REQUEST_ID[provider], request_id(strike)))
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
    usage = isinstance(options := asked.get("stream_options"), dict) and options.get("include_usage") is True
    if anthropic:
        made = _anthropic(model, stream)
    elif request is not None and request.path.endswith("/responses"):
        made = _response(model, stream)
    else:
        made = _openai(model, stream, usage)
    answer = _answer(200, _EVENTS if stream else _JSON, made)
    _set(strike, exchange, answer, "answered with an empty completion", reached=reached)


def _openai(model: str, stream: bool, include_usage: bool) -> bytes:
    """Source: https://platform.openai.com/docs/api-reference/chat and /chat-streaming."""
    base = {"id": "chatcmpl-brownout", "created": int(time.time()), "model": model}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    if not stream:
        message = {"role": "assistant", "content": "", "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return json.dumps({**base, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    base["object"] = "chat.completion.chunk"
    deltas: tuple[tuple[dict[str, str], str | None], ...] = (
        ({"role": "assistant", "content": ""}, None),
        ({}, "stop"),
    )
    chunks: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    if include_usage:
        chunks.append({**base, "choices": [], "usage": usage})
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*events, "data: [DONE]\n\n"]).encode()


def _response(model: str, stream: bool) -> bytes:
    """Source: https://platform.openai.com/docs/api-reference/responses and /responses-streaming."""
    said = {"type": "output_text", "text": "", "annotations": []}
    message = {
        "id": "msg_brownout",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [said],
    }
    none = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    response: dict[str, Any] = {
        "id": "resp_brownout",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [message],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {**none, **details},
    }
    if not stream:
        return json.dumps(response).encode()
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "sequence_number": 0, "response": begun},
        {"type": "response.completed", "sequence_number": 1, "response": response},
    ]
    return _named(events)


def _named(events: list[dict[str, Any]]) -> bytes:
    """Events that are named by their type."""
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


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
    return _named(events)


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
        result: dict[str, Any] = {"content": content, "isError": True}
        version = exchange.request.get("mcp-protocol-version") if exchange.request is not None else ""
        if version >= _RESULTS_HAVE_TYPES:
            result["resultType"] = "complete"
        _rpc(strike, exchange, {"result": result}, "answered with isError")


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
