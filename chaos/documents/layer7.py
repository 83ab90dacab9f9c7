"""Faults at layer 7: what happens to single messages of HTTP, event streams, WebSocket and JSON-RPC.

One model for each type of `chaos.proxy.layer7.catalogue`, with the same type, attributes, defaults and bounds
(a test holds both equal), in the units of documents: durations and sizes carry theirs. Only the embedded
proxy can do them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, field_validator

from chaos.documents.fault import STREAM_SAYS, FaultBase, StreamWord, type_of
from chaos.proxy.layer7.catalogue import LAYER7
from slo.model import Model
from slo.quantities import Duration, Share, Size

Pattern = Annotated[str, Field(min_length=1)]
Pointer = Annotated[str, Field(pattern=r"^(/|$)", examples=["/data/reward"])]
"""A JSON Pointer (RFC 6901); the empty one is the whole document."""


class Where(Model):
    """Which messages a fault may strike: all that is given has to fit, and what is left out fits anything.

    Texts are patterns: they match whole and by case, * standing for any characters. Of the messages that fit,
    `nth`, `every` and `first` take some by the order in which they come.
    """

    method: Pattern | None = Field(None, description="The method of a request.", examples=["POST"])
    path: Pattern | None = Field(None, description="Its path, without the query.", examples=["/v1/*"])
    header: dict[str, str] | None = Field(None, description="Its headers, by name.")
    json_: dict[Pointer, JsonValue] | None = Field(
        None, alias="json", description="Values in the JSON of a request or a message, by JSON Pointer."
    )
    rpc: Pattern | None = Field(None, description="A JSON-RPC method.", examples=["tools/*"])
    tool: Pattern | None = Field(None, description="The tool of a `tools/call`.")
    message: Literal["text", "binary"] | None = Field(None, description="The type of a WebSocket message.")
    reply_to: dict[Pointer, JsonValue] | None = Field(
        None, description="Values in the WebSocket message that this one answers, by JSON Pointer."
    )
    nth: int | None = Field(None, ge=1, le=2**53, description="The one of this number, from 1, alone.")
    every: int | None = Field(None, ge=1, le=2**53, description="Each one whose number this divides.")
    first: int | None = Field(None, ge=1, le=2**53, description="So many, then none.")


class Id(Model):
    """What names a message, so that the same are struck in every run: a header, or a value in the JSON."""

    header: Annotated[str, Field(min_length=1)] | None = None
    json_: Annotated[str, Field(pattern=r"^/.*", examples=["/id"])] | None = Field(None, alias="json")


def _described(schema: dict[str, Any], model: type[Any]) -> None:
    """Adds the catalogue's words on each attribute to the JSON Schema."""
    for attribute in LAYER7[type_of(model)].attributes if "type" in model.model_fields else ():
        schema["properties"][attribute.name].setdefault("description", attribute.says)


class Layer7Base(FaultBase):
    """What the faults at layer 7 share."""

    model_config = ConfigDict(json_schema_extra=_described)

    toxicity: Share = Field(1.0, description="The share of the messages that `where` fits.")
    where: Where = Field(Where(), description="Which messages it may strike; any, if left out.")
    id: Id | None = Field(
        None, description="What names a message; the nonce or the whole of it, if left out."
    )
    persist: Literal["none", "request"] = Field(
        "none", description="request: a retry of a request meets what the first try met; none: it draws anew."
    )


class _EitherStream(Layer7Base):
    stream: StreamWord = Field("downstream", description=STREAM_SAYS)


How = Literal["close", "reset", "hang"]
Provider = Literal["none", "openai", "anthropic"]
Back = Annotated[int, Field(ge=1, le=100)]
Events = Annotated[int, Field(ge=0, le=2**31 - 1)]


# --- HTTP ---------------------------------------------------------------------------------------------------


class HttpReplyFault(Layer7Base):
    """Answers in the upstream's place: any status, headers and body."""

    type: Literal["http_reply"]
    status: int = Field(503, ge=200, le=599)
    retry_after: Duration | None = Field(
        None, ge=0, le=86_400, description="The header Retry-After, in whole seconds; none if left out."
    )
    provider: Provider = "none"
    content_type: str = "application/json"
    body: str = ""
    headers: dict[str, str] = Field(default_factory=dict, description="More headers.")
    reached: bool = False

    @field_validator("retry_after")
    @classmethod
    def _whole(cls, value: float | None) -> float | None:
        if value is not None and value != int(value):
            raise ValueError(f"expected whole seconds, as the header has them, got {value:g}s")
        return value


class HttpEmptyFault(Layer7Base):
    """Answers in the upstream's place with a success that says nothing."""

    type: Literal["http_empty"]
    what: Literal["completion", "body"] = "completion"
    reached: bool = False


class HttpDelayFault(_EitherStream):
    """Delays the first byte of the reply (upstream: of the request)."""

    type: Literal["http_delay"]
    delay: Duration = Field(0.0, ge=0)
    jitter: Duration = Field(0.0, ge=0)


class HttpTruncateFault(Layer7Base):
    """Cuts the body of the reply short."""

    type: Literal["http_truncate"]
    bytes: Size = Field(0.0, ge=0)
    length: Literal["right", "wrong"] = "right"


class JsonEditFault(_EitherStream):
    """Edits a value in JSON: in the body of a reply (upstream: of a request), each event, or a message."""

    type: Literal["json_edit"]
    pointer: str = Field(pattern=r"^/.*", examples=["/data/reward"])
    action: Literal["drop", "set", "nan", "scale"] = "drop"
    value: JsonValue = None
    factor: float = Field(100.0, ge=-1e12, le=1e12)


class RequestLostFault(Layer7Base):
    """Loses the request before the upstream has seen it."""

    type: Literal["request_lost"]
    how: How = "close"


class ReplyLostFault(Layer7Base):
    """Loses the reply: the upstream has acted, and the client never learns."""

    type: Literal["reply_lost"]
    how: How = "close"


class RequestTwiceFault(Layer7Base):
    """Delivers the request to the upstream twice; the client gets the first one's reply."""

    type: Literal["request_twice"]


class ReplyReplayedFault(Layer7Base):
    """Sends the reply to an earlier request that it struck; the upstream's own is kept for later."""

    type: Literal["reply_replayed"]
    back: Back = 1


# --- event streams ------------------------------------------------------------------------------------------


class SseCutFault(Layer7Base):
    """Ends an event stream after `events` events."""

    type: Literal["sse_cut"]
    events: Events = 0
    how: Literal["clean", "frame", "close"] = "clean"


class SseErrorFault(Layer7Base):
    """Sends an error event after `events` events, and ends the stream."""

    type: Literal["sse_error"]
    events: Events = 0
    provider: Provider = "none"


class SseUnfinishedFault(Layer7Base):
    """Leaves out the events that say that a stream is complete."""

    type: Literal["sse_unfinished"]


class SseStallFault(Layer7Base):
    """Sends nothing more after `events` events, for `stall` (0s: until it is healed)."""

    type: Literal["sse_stall"]
    events: Events = 0
    stall: Duration = Field(0.0, ge=0)


class SseDelayFault(Layer7Base):
    """Delays the first event of a stream by `first`, each later one by `every`."""

    type: Literal["sse_delay"]
    first: Duration = Field(0.0, ge=0)
    every: Duration = Field(0.0, ge=0)


# --- WebSocket ----------------------------------------------------------------------------------------------


class WsDelayFault(_EitherStream):
    """Delays a message; those behind it wait."""

    type: Literal["ws_delay"]
    delay: Duration = Field(0.0, ge=0)
    jitter: Duration = Field(0.0, ge=0)


class WsDropFault(_EitherStream):
    """Loses a message."""

    type: Literal["ws_drop"]


class WsDuplicateFault(_EitherStream):
    """Sends a message twice."""

    type: Literal["ws_duplicate"]


class WsReorderFault(_EitherStream):
    """Sends a message after the one that follows it."""

    type: Literal["ws_reorder"]


class WsReplayFault(_EitherStream):
    """Sends an earlier message of the connection in a message's place: a stale observation."""

    type: Literal["ws_replay"]
    back: Back = 1


class WsHalfOpenFault(_EitherStream):
    """Swallows this message and all that follow on its stream; the connection stays open until the heal."""

    type: Literal["ws_half_open"]


class WsCloseFault(_EitherStream):
    """Closes the WebSocket in both directions in the place of a message."""

    type: Literal["ws_close"]
    code: int = Field(1011, ge=1000, le=4999)
    reason: str = ""


# --- JSON-RPC and MCP ---------------------------------------------------------------------------------------


class RpcErrorFault(Layer7Base):
    """Answers a JSON-RPC request with an error."""

    type: Literal["rpc_error"]
    code: int = Field(-32603, ge=-(2**31), le=2**31)
    message: str = "Internal error"
    reached: bool = False


class ToolErrorFault(Layer7Base):
    """Answers a tool call with a result that says `isError`."""

    type: Literal["tool_error"]
    message: str = "the tool failed"
    reached: bool = False


class RpcMalformedFault(Layer7Base):
    """Answers a JSON-RPC request with what is no answer."""

    type: Literal["rpc_malformed"]
    what: Literal["no_result", "null_result", "wrong_type", "other_id", "cut"] = "no_result"
    reached: bool = False


class SessionSwapFault(Layer7Base):
    """Sends another session's id in a request's header."""

    type: Literal["session_swap"]
    header: str = "mcp-session-id"
    to: Literal["other", "unknown"] = "other"


Layer7Fault = (
    HttpReplyFault
    | HttpEmptyFault
    | HttpDelayFault
    | HttpTruncateFault
    | JsonEditFault
    | RequestLostFault
    | ReplyLostFault
    | RequestTwiceFault
    | ReplyReplayedFault
    | SseCutFault
    | SseErrorFault
    | SseUnfinishedFault
    | SseStallFault
    | SseDelayFault
    | WsDelayFault
    | WsDropFault
    | WsDuplicateFault
    | WsReorderFault
    | WsReplayFault
    | WsHalfOpenFault
    | WsCloseFault
    | RpcErrorFault
    | ToolErrorFault
    | RpcMalformedFault
    | SessionSwapFault
)
