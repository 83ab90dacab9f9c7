"""The toxics of layer 7: types, streams, attributes, units and bounds. Pure; shared with the client.

Durations are whole milliseconds, as Toxiproxy's are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["integer", "number", "text", "boolean", "json", "choice"]
Protocol = Literal["http", "sse", "websocket", "json-rpc", "json"]

DOWN: Final = ("downstream",)
UP: Final = ("upstream",)
BOTH: Final = ("downstream", "upstream")

_MILLISECONDS_MAX: Final = 2**31 - 1
_EVENTS_MAX: Final = 2**31 - 1
_BYTES_MAX: Final = 2**53
TEXT_MAX: Final = 64 * 1024
"""Characters in a text attribute, and in a JSON one when written."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute; `least` and `most` bound numbers, `choices` a choice. `default` holds when left out."""

    name: str
    kind: Kind
    default: Any
    says: str
    unit: str = ""
    least: float = 0
    most: float = 0
    choices: tuple[str, ...] = ()

    def problem(self, value: Any) -> str | None:
        """What is wrong with `value`, or None."""
        expected = self._expected(value)
        return f"attributes.{self.name}: expected {expected}, got {_shown(value)}" if expected else None

    def _expected(self, value: Any) -> str:
        match self.kind:
            case "integer" | "number":
                whole = self.kind == "integer"
                if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                    return "an integer" if whole else "a number"
                if not self.least <= value <= self.most:  # false for NaN, too
                    return f"{self.least:g} to {self.most:g} {self.unit}".strip()
            case "text":
                if not isinstance(value, str):
                    return "a string"
                if len(value) > TEXT_MAX:
                    return f"at most {TEXT_MAX} characters"
            case "boolean":
                if not isinstance(value, bool):
                    return "true or false"
            case "choice":
                if value not in self.choices:
                    return " or ".join(self.choices)
            case "json":
                pass
        return ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _ms(name: str, says: str) -> Attribute:
    return Attribute(name, "integer", 0, says, "ms", 0, _MILLISECONDS_MAX)


def _events(name: str, says: str) -> Attribute:
    return Attribute(name, "integer", 0, says, "events", 0, _EVENTS_MAX)


@dataclass(frozen=True, slots=True)
class Spec:
    """A type: on which streams it may be (the first is the default), and what it reads."""

    protocol: Protocol
    streams: tuple[str, ...]
    says: str
    attributes: tuple[Attribute, ...] = ()


_HOW: Final = Attribute(
    "how",
    "choice",
    "close",
    "close (FIN), reset (RST), or hang: nothing comes any more",
    choices=("close", "reset", "hang"),
)
_REACHED: Final = Attribute(
    "reached",
    "boolean",
    False,
    "whether the upstream gets the request first; its own reply is then discarded",
)
_PROVIDER: Final = Attribute(
    "provider",
    "choice",
    "none",
    "whose error body it has, where `body` is empty",
    choices=("none", "openai", "anthropic"),
)

LAYER7: Final[dict[str, Spec]] = {
    "http_reply": Spec(
        "http",
        DOWN,
        "Answers in the upstream's place: any status, headers and body.",
        (
            Attribute("status", "integer", 503, "the status", "", 200, 599),
            Attribute("retry_after", "integer", -1, "the header Retry-After; -1: none", "s", -1, 86_400),
            _PROVIDER,
            Attribute("content_type", "text", "application/json", "the header Content-Type"),
            Attribute("body", "text", "", "the body"),
            Attribute("headers", "json", {}, "more headers, as an object of strings"),
            _REACHED,
        ),
    ),
    "http_empty": Spec(
        "http",
        DOWN,
        "Answers in the upstream's place with a success that says nothing.",
        (
            Attribute(
                "what",
                "choice",
                "completion",
                "completion: whole, in the format that was asked for, without content; body: no body at all",
                choices=("completion", "body"),
            ),
            _REACHED,
        ),
    ),
    "http_delay": Spec(
        "http",
        BOTH,
        "Delays the first byte of the reply (upstream: of the request).",
        (
            _ms("delay", "how long"),
            _ms("jitter", "uniform, give or take"),
        ),
    ),
    "http_truncate": Spec(
        "http",
        DOWN,
        "Cuts the body of the reply short.",
        (
            Attribute("bytes", "integer", 0, "how much of the body is left", "bytes", 0, _BYTES_MAX),
            Attribute(
                "length",
                "choice",
                "right",
                "right: the length is that of what is left, so nothing looks wrong; wrong: it is as before, "
                "and the connection closes",
                choices=("right", "wrong"),
            ),
        ),
    ),
    "json_edit": Spec(
        "json",
        BOTH,
        "Edits a value in JSON: the body of a reply (upstream: of a request), each event of a stream, or a "
        "WebSocket message.",
        (
            Attribute("pointer", "text", "", "where, as a JSON Pointer (RFC 6901)"),
            Attribute(
                "action",
                "choice",
                "drop",
                "drop, set (to `value`), nan (NaN, which is no JSON), scale (a number, by `factor`)",
                choices=("drop", "set", "nan", "scale"),
            ),
            Attribute("value", "json", None, "what `set` sets"),
            Attribute("factor", "number", 100.0, "what `scale` multiplies by", "", -1e12, 1e12),
        ),
    ),
    "request_lost": Spec("http", UP, "Loses the request before the upstream has seen it.", (_HOW,)),
    "reply_lost": Spec(
        "http", DOWN, "Loses the reply: the upstream has acted, and the client never learns.", (_HOW,)
    ),
    "request_twice": Spec(
        "http", UP, "Delivers the request to the upstream twice; the client gets the first one's reply."
    ),
    "reply_replayed": Spec(
        "http",
        DOWN,
        "Sends the reply to an earlier request that it struck; the upstream's own is kept for later.",
        (Attribute("back", "integer", 1, "how many requests earlier", "requests", 1, 100),),
    ),
    "sse_cut": Spec(
        "sse",
        DOWN,
        "Ends an event stream after `events` events.",
        (
            _events("events", "how many come whole"),
            Attribute(
                "how",
                "choice",
                "clean",
                "clean: as if it were whole; frame: in the middle of the next event; close: the connection "
                "closes without the terminating chunk",
                choices=("clean", "frame", "close"),
            ),
        ),
    ),
    "sse_error": Spec(
        "sse",
        DOWN,
        "Sends an error event after `events` events, and ends the stream.",
        (_events("events", "how many come before it"), _PROVIDER),
    ),
    "sse_unfinished": Spec(
        "sse",
        DOWN,
        "Leaves out the events that say that a stream is complete (finish_reason and [DONE]; message_delta "
        "with a stop_reason and message_stop).",
    ),
    "sse_stall": Spec(
        "sse",
        DOWN,
        "Sends nothing more after `events` events, for `stall`.",
        (_events("events", "how many come before it"), _ms("stall", "how long; 0: until it is healed")),
    ),
    "sse_delay": Spec(
        "sse",
        DOWN,
        "Delays the events of a stream.",
        (_ms("first", "delay of the first one"), _ms("every", "delay of each later one")),
    ),
    "ws_delay": Spec(
        "websocket",
        BOTH,
        "Delays a message; those behind it wait.",
        (_ms("delay", "how long"), _ms("jitter", "uniform, give or take")),
    ),
    "ws_drop": Spec("websocket", BOTH, "Loses a message."),
    "ws_duplicate": Spec("websocket", BOTH, "Sends a message twice."),
    "ws_reorder": Spec("websocket", BOTH, "Sends a message after the one that follows it."),
    "ws_replay": Spec(
        "websocket",
        BOTH,
        "Sends an earlier message of the connection in a message's place: a stale observation.",
        (Attribute("back", "integer", 1, "how many messages earlier", "messages", 1, 100),),
    ),
    "ws_half_open": Spec(
        "websocket",
        BOTH,
        "Swallows this message and all that follow on its stream; the connection stays open until the heal.",
    ),
    "ws_close": Spec(
        "websocket",
        BOTH,
        "Closes the WebSocket in both directions in the place of a message.",
        (
            Attribute("code", "integer", 1011, "the close code (RFC 6455, 7.4)", "", 1000, 4999),
            Attribute("reason", "text", "", "the close reason; at most 123 bytes"),
        ),
    ),
    "rpc_error": Spec(
        "json-rpc",
        DOWN,
        "Answers a JSON-RPC request with an error.",
        (
            Attribute("code", "integer", -32603, "the error's code", "", -(2**31), 2**31),
            Attribute("message", "text", "Internal error", "the error's message"),
            _REACHED,
        ),
    ),
    "tool_error": Spec(
        "json-rpc",
        DOWN,
        "Answers a tool call with a result that says `isError`.",
        (Attribute("message", "text", "the tool failed", "what the result says"), _REACHED),
    ),
    "rpc_malformed": Spec(
        "json-rpc",
        DOWN,
        "Answers a JSON-RPC request with what is no answer.",
        (
            Attribute(
                "what",
                "choice",
                "no_result",
                "no_result: neither result nor error; null_result; wrong_type: a result that is a number; "
                "other_id: the id of no request; cut: JSON that breaks off",
                choices=("no_result", "null_result", "wrong_type", "other_id", "cut"),
            ),
            _REACHED,
        ),
    ),
    "session_swap": Spec(
        "json-rpc",
        UP,
        "Sends another session's id in a request's header.",
        (
            Attribute("header", "text", "mcp-session-id", "the header"),
            Attribute(
                "to",
                "choice",
                "other",
                "other: the id that another client's requests carry; unknown: one that was never given out",
                choices=("other", "unknown"),
            ),
        ),
    ),
}


def problem(toxic_type: str, attributes: Mapping[str, Any]) -> str | None:
    """What is wrong with `attributes` (all of them, of a known type) in one sentence, or None."""
    for attribute in LAYER7[toxic_type].attributes:
        complaint = attribute.problem(attributes.get(attribute.name, attribute.default))
        if complaint:
            return complaint
    return _beyond(toxic_type, attributes)


def _beyond(toxic_type: str, attributes: Mapping[str, Any]) -> str | None:
    """What one attribute alone cannot say."""
    pointer = attributes.get("pointer", "")
    if toxic_type == "json_edit" and not pointer.startswith("/"):
        return f"attributes.pointer: expected a JSON Pointer such as /data/reward, got {_shown(pointer)}"
    headers = attributes.get("headers", {})
    if not isinstance(headers, dict) or not all(
        _is_token(name) and isinstance(value, str) and _is_line(value) for name, value in headers.items()
    ):
        return f"attributes.headers: expected an object of names and one-line texts, got {_shown(headers)}"
    given = {name.lower() for name in headers}
    if given & {"content-length", "transfer-encoding"}:
        return "attributes.headers: expected no Content-Length and no Transfer-Encoding: the body has its own"
    for name in ("content_type", "header"):
        if not _is_line(str(attributes.get(name, ""))):
            return f"attributes.{name}: expected one line of Latin-1, got {_shown(attributes[name])}"
    reason = attributes.get("reason", "")
    if len(reason.encode()) > 123:
        return f"attributes.reason: expected at most 123 bytes, got {len(reason.encode())}"
    code = attributes.get("code", 1000)
    if toxic_type == "ws_close" and (code in (1004, 1005, 1006, 1015) or 1016 <= code < 3000):
        return f"attributes.code: expected a code that may be sent, such as 1011 or 4000, got {code}"
    return None


_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _is_token(name: str) -> bool:
    return bool(name) and all(character in _TOKEN for character in name)


def _is_line(text: str) -> bool:
    return all(31 < ord(character) < 256 and ord(character) != 127 for character in text)


def defaults(toxic_type: str) -> dict[str, Any]:
    """All attributes of a known type, at their defaults."""
    return {attribute.name: attribute.default for attribute in LAYER7[toxic_type].attributes}
