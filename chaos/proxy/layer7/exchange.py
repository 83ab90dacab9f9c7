"""One request and its reply, and what the toxics that strike it make of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from chaos.proxy.layer7.head import (
    CHUNKED,
    UNTIL_CLOSE,
    Header,
    ReplyHead,
    RequestHead,
    reply_head,
    request_head,
)

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Strike

BODY_MAX: Final = 1024 * 1024
"""Bytes of a body that are held where a toxic has to see the whole of it."""

Ending = Literal["whole", "close", "reset", "hang"]
"""How a reply ends: complete; or short of that by a close (FIN), a reset (RST), or nothing more at all."""
Lost = Literal["close", "reset", "hang"]


class Sink(Protocol):
    """Where a reply goes, part by part."""

    def head(self, head: ReplyHead) -> None:
        """Take the head; the body follows without its chunks."""

    def data(self, data: bytes) -> None:
        """Take a part of the body."""

    def end(self, ending: Ending) -> None:
        """Take the end."""

    def accepting(self) -> bool:
        """Whether there is room for more."""


class Filter:
    """Changes a reply on its way; this one changes nothing. `next` is set when the reply begins.

    Invariant: after `leave` (its toxic is gone) it holds nothing and changes nothing any more.
    """

    next: Sink

    def __init__(self, strike: Strike) -> None:
        self.strike = strike
        self.left = False

    def wants(self, head: ReplyHead) -> bool:
        """Whether the upstream's reply of this head is to come by here; else its bytes are not touched."""
        return not self.left

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        self.next.head(head)

    def data(self, data: bytes) -> None:
        """See Sink."""
        self.next.data(data)

    def end(self, ending: Ending) -> None:
        """See Sink."""
        self.next.end(ending)

    def accepting(self) -> bool:
        """See Sink."""
        return self.next.accepting()

    @property
    def stuck(self) -> bool:
        """Whether it holds until its toxic is gone."""
        return False

    def leave(self) -> None:
        """Let go of what is held."""
        self.left = True

    def stop(self) -> None:
        """The connection has ended: cancel timers."""


@dataclass(slots=True)
class Answer:
    """A reply that is made up: a head without what gives its length, and a body."""

    status_line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def head(self, method: str) -> ReplyHead:
        """The head, with its length. Raises ValueError where it is none."""
        lines = [self.status_line, *(f"{name}: {value}" for name, value in self.headers)]
        if not self.status_line.startswith(("HTTP/1.1 204", "HTTP/1.1 304")):
            lines.append(f"Content-Length: {len(self.body)}")
        made = reply_head(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"), method)
        if made is None:
            raise ValueError(f"no reply: {lines!r}")
        return made


class Exchange:
    """A request, and all that is to be done with it and with its reply.

    Acts set these before the request goes on: `lost` (it does not go on), `answer` (made up; `forward` says
    whether the upstream is asked all the same), `delay_s` before it goes on, `twice` (a delivery
    besides for each), `new_head` and `new_body` in the place of those that came, `filters` for the reply.
    """

    __slots__ = (
        "answer",
        "answered",
        "body",
        "body_seen",
        "delay_s",
        "filters",
        "forward",
        "hears_100",
        "last",
        "lost",
        "method",
        "new_body",
        "new_head",
        "parsed",
        "request",
        "sink",
        "strikes",
        "twice",
        "whole",
    )

    def __init__(self, request: RequestHead | None) -> None:
        self.request = request
        self.method = "GET" if request is None else request.method
        self.body = b""
        self.body_seen = False
        """Whether `body` is the request's, or it was not looked at."""
        self.parsed: object = None
        """The body from JSON; None where it is none."""
        self.strikes: list[Strike] = []
        self.lost: Lost | None = None
        self.answer: Answer | None = None
        self.forward = True
        self.delay_s = 0.0
        self.twice: list[Strike] = []
        self.new_head: bytes | None = None
        self.new_body: bytes | None = None
        self.filters: list[Filter] = []
        self.hears_100 = False
        """The client was told to go on with its body by us: the upstream's `100 Continue` is not for it."""
        self.last = False
        """The connection closes after its reply."""
        self.whole = False
        """The request has come as a whole, or nothing more of it will."""
        self.answered = False
        """The upstream's reply has come as a whole, or none is waited for."""
        self.sink: Sink | None = None
        """Where the reply goes, once it has begun: the first filter, or the writer."""

    @property
    def struck(self) -> bool:
        """Whether its reply is not just the upstream's."""
        return bool(self.filters) or self.answer is not None or self.lost is not None

    @property
    def passes(self) -> bool:
        """Whether its reply passes as it comes, and is framed as its head says."""
        return not (self.answered or self.filters or self.answer or self.method in ("HEAD", "CONNECT"))

    def parse(self, body: bytes) -> None:
        """Take the body, decoded, for what it says."""
        try:
            self.parsed = json.loads(body) if body else None
        except (ValueError, RecursionError):
            self.parsed = None

    def change_head(self, *, drop: tuple[str, ...], add: tuple[Header, ...]) -> None:
        """Edit the head that goes on."""
        head = self.request if self.new_head is None else request_head(self.new_head)
        if head is not None:
            self.new_head = head.edited(drop=drop, add=add)

    def change_body(self, body: bytes) -> None:
        """Let the request go on with another body."""
        self.new_body = body
        self.change_head(
            drop=("content-length", "transfer-encoding", "content-encoding", "expect"),
            add=(("Content-Length", str(len(body))),),
        )

    def essence(self) -> bytes:
        """The body, without what a JSON-RPC client makes up for each request: its id, and `_meta`."""
        call = self.parsed
        if not isinstance(call, dict) or "jsonrpc" not in call or "method" not in call:
            return self.body
        params = call.get("params")
        if isinstance(params, dict):
            params = {name: value for name, value in params.items() if name != "_meta"}
        try:
            return json.dumps([call["method"], params]).encode()
        except (ValueError, RecursionError):
            return self.body


PLAIN: Final = Exchange(None)
"""Stands for each request of the short way: it came whole, and nothing strikes it. It is never changed: a
reply that takes the long way puts an exchange of its own in its place.
"""
PLAIN.whole = True


def reframed(head: ReplyHead, length: int, method: str, drop: tuple[str, ...] = ()) -> ReplyHead:
    """The head with another framing: a length in bytes, CHUNKED, or UNTIL_CLOSE; and without some headers."""
    if length == CHUNKED and head.version_1_0:
        length = UNTIL_CLOSE
    add: tuple[tuple[str, str], ...] = ()
    dropped = {"content-length", "transfer-encoding", *drop}
    if length == CHUNKED:
        add = (("Transfer-Encoding", "chunked"),)
    elif length == UNTIL_CLOSE:
        dropped.add("connection")
        add = (("Connection", "close"),)
    else:
        add = (("Content-Length", str(length)),)
    made = reply_head(head.edited(drop=dropped, add=add), method)
    return head if made is None else made
